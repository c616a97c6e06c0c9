"""Every name form of the gateways that we take clients from leads to the model that it meant there."""

from __future__ import annotations

import timeit

import pytest

from gateway.catalog import models, names
from gateway.catalog.models import Catalog, Model, Provider
from gateway.catalog.prices import PriceBook


def ids(catalog: Catalog, name: str) -> list[str]:
    return [model.id for model in catalog.resolve(name).models]


def make_model(model_id: str, *, vendor: str = "", name: str = "", upstream: str = "") -> Model:
    provider, _, local = model_id.partition("/")
    return Model(
        id=model_id,
        provider=provider,
        upstream=upstream or local,
        vendor=vendor or provider,
        name=name or local,
        display_name=local,
        protocol="openai_chat",
        priced_as=provider,
        context_tokens=1000,
        max_output_tokens=100,
        capabilities=frozenset(),
        deprecated_on=None,
        added_on="2026-11-20",
        aliases=(),
    )


def make_catalog(*made: Model, ranks: dict[str, int] | None = None) -> Catalog:
    slugs = dict.fromkeys(model.provider for model in made)
    providers = [Provider(slug=slug, name=slug, aliases=(), may_train=None, zero_data_retention=None) for slug in slugs]
    return Catalog(providers=providers, models=made, cost_ranks=ranks)


def test_the_catalog_has_66_chat_models_and_every_id_is_its_own_name(catalog: Catalog) -> None:
    assert len(catalog.of_kind("chat")) == 66
    assert all(ids(catalog, model.id) == [model.id] for model in catalog)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # vendor/model and bare, as OpenRouter and OpenAI write them
        ("openai/gpt-5.4-mini", ["openai/gpt-5.4-mini"]),
        ("gpt-5.4-mini", ["openai/gpt-5.4-mini"]),
        ("GPT-5.4-Mini", ["openai/gpt-5.4-mini"]),
        (" gpt-5.4-mini ", ["openai/gpt-5.4-mini"]),
        ("anthropic/claude-haiku-4.5", ["anthropic/claude-haiku-4-5"]),
        ("claude-haiku-4-5", ["anthropic/claude-haiku-4-5"]),
        ("x-ai/grok-4.7", ["x-ai/grok-4.7"]),
        ("meta-llama/llama-4-maverick", ["bedrock/meta.llama4-maverick-17b-instruct-v1:0"]),
        # any-llm
        ("openai:gpt-4o-mini", ["openai/gpt-4o-mini"]),
        ("azure:gpt-4o-mini", ["azure/gpt-4o-mini"]),
        ("mistral:mistral-large-4", ["mistralai/mistral-large-4"]),
        # LiteLLM
        ("azure/gpt-4o-mini", ["azure/gpt-4o-mini"]),
        ("gemini/gemini-2.5-pro", ["google/gemini-2.5-pro"]),
        ("xai/grok-4.3", ["x-ai/grok-4.3"]),
        ("together_ai/openai/gpt-oss-120b", ["together/gpt-oss-120b"]),
        ("groq/openai/gpt-oss-120b", ["groq/gpt-oss-120b"]),
        ("fireworks_ai/accounts/fireworks/models/glm-5p3", ["fireworks/glm-5p3"]),
        ("bedrock/global.anthropic.claude-sonnet-5-5", ["bedrock/global.anthropic.claude-sonnet-5-5"]),
        ("mistral/codestral-2508", ["mistralai/codestral-2508"]),
        ("zai/glm-5.3", ["z-ai/glm-5.3"]),
        # Portkey
        ("@openai/gpt-5.4", ["openai/gpt-5.4"]),
        ("@anthropic/claude-opus-5-5", ["anthropic/claude-opus-5-5"]),
        ("@cerebras/gpt-oss-120b", ["cerebras/gpt-oss-120b"]),
        # the provider's own names
        ("accounts/fireworks/models/kimi-k3", ["fireworks/kimi-k3"]),
        ("deepseek-ai/DeepSeek-V4.1-Flash", ["together/deepseek-v4.1-flash"]),
        ("MiniMax-M3", ["minimax/minimax-m3"]),
        ("amazon.nova-pro-v1:0", ["bedrock/amazon.nova-pro-v1:0"]),
    ],
)
def test_it_knows_the_name_forms_of_other_gateways(catalog: Catalog, name: str, expected: list[str]) -> None:
    resolution = catalog.resolve(name)
    assert [model.id for model in resolution.models] == expected
    assert resolution.is_known
    assert not resolution.is_auto


@pytest.mark.parametrize("name", ["gpt-oss-120b", "openai/gpt-oss-120b", "openai/GPT-OSS-120b"])
def test_a_model_at_several_providers_lists_them_cheapest_first(catalog: Catalog, name: str) -> None:
    assert ids(catalog, name) == ["groq/gpt-oss-120b", "together/gpt-oss-120b", "cerebras/gpt-oss-120b"]


def test_cost_decides_the_order_of_the_providers_of_a_model() -> None:
    dear, cheap = (make_model(f"{provider}/m", vendor="lab", name="m") for provider in ("dear", "cheap"))
    assert ids(make_catalog(dear, cheap, ranks={"dear/m": 2, "cheap/m": 1}), "m") == ["cheap/m", "dear/m"]
    assert ids(make_catalog(dear, cheap, ranks={"dear/m": 1, "cheap/m": 2}), "m") == ["dear/m", "cheap/m"]


def test_at_the_same_price_the_vendor_comes_first() -> None:
    guest, vendor = make_model("host/m", vendor="lab", name="m"), make_model("lab/m")
    assert ids(make_catalog(guest, vendor, ranks={"host/m": 1, "lab/m": 1}), "m") == ["lab/m", "host/m"]
    assert ids(make_catalog(guest, vendor), "m") == ["lab/m", "host/m"]


def test_ranking_anew_leaves_the_names_as_they_are(catalog: Catalog) -> None:
    ranked = catalog.ranked({"groq/gpt-oss-120b": 9, "together/gpt-oss-120b": 8, "cerebras/gpt-oss-120b": 7})
    assert ids(ranked, "gpt-oss-120b") == ["cerebras/gpt-oss-120b", "together/gpt-oss-120b", "groq/gpt-oss-120b"]
    assert set(ranked.models) == set(catalog.models)


def test_an_id_names_one_endpoint_even_where_others_serve_the_model(catalog: Catalog) -> None:
    assert ids(catalog, "openai/gpt-6.1-sol") == ["openai/gpt-6.1-sol"]
    assert ids(catalog, "gpt-6.1-sol") == ["openai/gpt-6.1-sol", "azure/gpt-6.1-sol"]


@pytest.mark.parametrize("name", [*names.AUTO, "AUTO", "kr-auto:free", "openrouter/auto:nitro"])
def test_the_automatic_names_name_no_model(catalog: Catalog, name: str) -> None:
    resolution = catalog.resolve(name)
    assert resolution.is_auto
    assert resolution.is_known
    assert resolution.models == ()


@pytest.mark.parametrize("suffix", sorted(names.IGNORED_SUFFIXES))
def test_a_suffix_that_changes_nothing_is_reported(catalog: Catalog, suffix: str) -> None:
    resolution = catalog.resolve(f"openai/gpt-5.4:{suffix}")
    assert resolution.ignored_suffix == suffix
    assert resolution.suffix == ""
    assert [model.id for model in resolution.models] == ["openai/gpt-5.4"]


def test_the_floor_suffix_is_honoured(catalog: Catalog) -> None:
    resolution = catalog.resolve("gpt-oss-120b:floor")
    assert resolution.suffix == "floor"
    assert resolution.ignored_suffix == ""
    assert resolution.models[0].id == "groq/gpt-oss-120b"


def test_a_dated_name_keeps_its_date_for_the_provider_and_its_price_id(catalog: Catalog) -> None:
    (model,) = catalog.resolve("anthropic/claude-haiku-4-5-20251001").models
    assert model.id == "anthropic/claude-haiku-4-5"
    assert model.upstream == "claude-haiku-4-5-20251001"
    (model,) = catalog.resolve("openai:gpt-5.4-2026-03-05:nitro").models
    assert model.upstream == "gpt-5.4-2026-03-05"


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("gpt-5-4mini", "openai/gpt-5.4-mini"),
        ("claude-hiaku-4-5", "anthropic/claude-haiku-4-5"),
        ("antropic/claude-opus-5-5", "anthropic/claude-opus-5-5"),
        ("gemni-2.5-pro", "google/gemini-2.5-pro"),
        ("@openai/gpt-41", "openai/gpt-4.1"),
        ("deepseek-v4-por:floor", "deepseek/deepseek-v4-pro"),
    ],
)
def test_an_unknown_name_gives_the_nearest_ones(catalog: Catalog, typo: str, meant: str) -> None:
    resolution = catalog.resolve(typo)
    assert not resolution.is_known
    assert resolution.models == ()
    assert meant in resolution.nearest
    assert len(resolution.nearest) == 3


def test_the_nearest_names_are_of_different_models(catalog: Catalog) -> None:
    nearest = catalog.nearest("gpt-54")
    assert len({catalog.models[model_id].family for model_id in nearest}) == len(nearest)


@pytest.mark.parametrize(
    "name", ["", " ", ":", "/", "@", "@/", "openai/", "auto/gpt", "\x00", "x" * 100_000, "a:b:c:free"]
)
def test_nonsense_is_unknown_and_never_an_error(catalog: Catalog, name: str) -> None:
    assert not catalog.resolve(name).is_known


def test_unknown_names_do_not_fill_the_memory(catalog: Catalog) -> None:
    fresh = catalog.ranked({})
    for number in range(50):
        fresh.resolve(f"no-such-model-{number}")
    assert not fresh._remembered
    fresh.resolve("gpt-5.4:floor")
    assert list(fresh._remembered) == ["gpt-5.4:floor"]


def test_a_known_name_costs_a_lookup(catalog: Catalog) -> None:
    best = min(timeit.repeat(lambda: catalog.resolve("openai/gpt-5.4"), number=2_000, repeat=7)) / 2_000
    assert best < 0.5e-6 * 4  # measured 0.06 µs; the margin is for a busy machine


@pytest.mark.parametrize(
    ("spelling", "slug"),
    [
        ("OPENAI", "openai"),
        ("X_AI", "x-ai"),
        ("xai", "x-ai"),
        ("Mistral", "mistralai"),
        ("TOGETHER_AI", "together"),
        ("aws", "bedrock"),
        ("nobody", None),
    ],
)
def test_providers_go_by_several_spellings(catalog: Catalog, spelling: str, slug: str | None) -> None:
    assert catalog.provider_slug(spelling) == slug


def test_data_policies_are_known_or_said_to_be_unknown(catalog: Catalog) -> None:
    policies = {slug: (p.may_train, p.zero_data_retention) for slug, p in catalog.providers.items()}
    for slug in ("openai", "anthropic", "google", "mistralai"):
        assert policies[slug] == (False, True)
    for slug in ("groq", "together", "fireworks"):
        assert policies[slug] == (False, False)
    assert policies["deepseek"] == (True, False)
    assert policies["cerebras"] == (None, None)


def test_a_document_comes_back_as_the_catalog_it_describes() -> None:
    document = {
        "providers": {"lab": {"name": "Lab", "aliases": ["l"], "may_train": None, "zero_data_retention": None}},
        "models": [
            {
                "id": "lab/one",
                "provider": "lab",
                "upstream": "one-v1",
                "vendor": "lab",
                "name": "one",
                "display_name": "One",
                "protocol": "openai_chat",
                "priced_as": "lab",
                "context_tokens": 1000,
                "max_output_tokens": None,
                "capabilities": ["tools"],
                "deprecated_on": None,
                "added_on": "2026-11-20",
                "aliases": ["uno"],
            }
        ],
    }
    catalog = models.from_document(document)
    assert ids(catalog, "l/uno") == ids(catalog, "one-v1") == ids(catalog, "@lab/one") == ["lab/one"]
    assert catalog.models["lab/one"].capabilities == {"tools"}


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("text-embedding-3-large", "openai/text-embedding-3-large"),
        ("mistral/mistral-embed", "mistralai/mistral-embed"),
        ("cohere/embed-v4.0", "cohere/embed-v4.0"),
        ("voyageai/voyage-4", "voyage/voyage-4"),
        ("gemini-embedding-001", "google/gemini-embedding-001"),
    ],
)
def test_embedding_models_have_a_kind_a_price_and_all_spellings(
    catalog: Catalog, book: PriceBook, name: str, model_id: str
) -> None:
    model = catalog.resolve(name).models[0]
    assert (model.id, model.kind) == (model_id, "embedding")
    row = book.row(model.id, 1_795_000_000)
    assert row is not None
    assert row.rates.input > 0


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("~anthropic/claude-sonnet-latest", "anthropic/claude-sonnet-5-5"),
        ("~openai/gpt-sol-latest", "openai/gpt-6.1-sol"),
        ("~google/gemini-flash-latest", "google/gemini-3.8-flash"),
        ("~mistral/mistral-large-latest", "mistralai/mistral-large-4"),
    ],
)
def test_the_latest_of_a_family_is_named_with_a_tilde(catalog: Catalog, name: str, model_id: str) -> None:
    assert ids(catalog, name)[0] == model_id
    assert ids(catalog, name.removeprefix("~")) == []


def test_a_family_that_does_not_exist_names_the_nearest(catalog: Catalog) -> None:
    resolution = catalog.resolve("~anthropic/claude-sonett-latest")
    assert not resolution.is_known
    assert any("claude-sonnet" in name for name in resolution.nearest)
