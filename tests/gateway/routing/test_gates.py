"""No endpoint serves a call that a gate would stop, first choice or fallback; a refusal says what to change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.catalog.models import Catalog, Model
from gateway.catalog.prices import PriceBook
from gateway.context import PolicySnapshot
from gateway.preferences import MaxPrice, Preferences
from gateway.routing import gates
from tests.factories.calls import make_key
from tests.gateway.routing.field import NOON, call, decide, router

EVERYONE = (
    "openai", "anthropic", "google", "deepseek", "mistralai", "x-ai", "meta", "groq", "together", "fireworks", "cohere",
    "moonshotai", "z-ai", "minimax", "cerebras", "bedrock", "azure",
)  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "f"}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
PICTURE = [
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 99}}]}
]


class Long(list[Any]):
    """Messages of three million letters that no report repeats."""

    def __repr__(self) -> str:
        return "Long()"


LONG = Long([{"role": "user", "content": "x" * 3_000_000}])
DOLLAR = 1_000_000_000

bodies = st.fixed_dictionaries(
    {},
    optional={
        "tools": st.just(TOOLS),
        "response_format": st.just(SCHEMA),
        "messages": st.sampled_from([PICTURE, LONG]),
        "max_tokens": st.sampled_from([1, 5_000, 70_000, 200_000]),
        "reasoning_effort": st.sampled_from(["none", "high"]),
    },
)
wishes = st.fixed_dictionaries(
    {},
    optional={
        "models": st.lists(
            st.sampled_from(["gpt-oss-120b", "claude-haiku-4-5", "deepseek-flash", "auto", "no-such-model"]), max_size=3
        ).map(tuple),
        "provider_order": st.lists(st.sampled_from(EVERYONE), max_size=2).map(tuple),
        "provider_only": st.lists(st.sampled_from(EVERYONE), min_size=1, max_size=8).map(tuple),
        "provider_ignore": st.lists(st.sampled_from(EVERYONE), max_size=3).map(tuple),
        "allows_fallbacks": st.booleans(),
        "requires_zdr": st.booleans(),
        "denies_data_collection": st.booleans(),
        "requires_parameters": st.booleans(),
        "quantizations": st.sampled_from([(), ("fp8",), ("unknown", "fp16")]),
        "capabilities": st.sampled_from([(), ("tools",), ("images", "reasoning")]),
        "allowed_models": st.sampled_from([(), ("openai/*",), ("*flash*", "anthropic/claude-*")]),
        "excluded_models": st.sampled_from([(), ("*mini*",)]),
        "sort": st.sampled_from(["", "price", "throughput", "latency"]),
        "max_price": st.builds(
            MaxPrice, prompt_nanousd_per_mtok=st.sampled_from([None, DOLLAR // 5, 3 * DOLLAR]),
            completion_nanousd_per_mtok=st.sampled_from([None, DOLLAR]),
        ),
        "max_cost_nanousd": st.sampled_from([0, 10_000, 1_000_000, DOLLAR]),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def everywhere(catalog: Catalog, book: PriceBook) -> Any:
    return router(catalog, book, *EVERYONE)


def violations(model: Model, catalog: Catalog, book: PriceBook, wish: Preferences, body: dict[str, Any], *, auto: bool,
               fits: bool) -> list[str]:  # fmt: skip
    """Return what a model breaks of the wishes, worked out without the gates."""
    provider = catalog.providers[model.provider]
    row = book.row(model.id, NOON)
    assert row is not None
    found = []
    if wish.provider_only and model.provider not in wish.provider_only:
        found.append("only")
    if model.provider in wish.provider_ignore:
        found.append("ignore")
    if wish.provider_order and not wish.allows_fallbacks and model.provider not in wish.provider_order:
        found.append("order")
    if wish.requires_zdr and not (provider.zero_data_retention and not model.needs_retention):
        found.append("zdr")
    if wish.denies_data_collection and provider.may_train is not False:
        found.append("training")
    if wish.quantizations and model.quantization not in wish.quantizations:
        found.append("quantization")
    if auto and wish.allowed_models == ("openai/*",) and model.provider != "openai" and model.vendor != "openai":
        found.append("allowed")
    if auto and wish.excluded_models and "mini" in model.id:
        found.append("excluded")
    if model.deprecated_on is not None and (auto or model.deprecated_on <= "2026-11-22"):
        found += ["deprecated"] if gates.retires_within(model, day="2026-11-22") else []
    needs = set(wish.capabilities)
    if fits:
        needs |= {"tools"} if "tools" in body else set()
        needs |= {"json_schema"} if "response_format" in body else set()
        needs |= {"images"} if body.get("messages") is PICTURE else set()
        needs |= {"reasoning"} if body.get("reasoning_effort") == "high" else set()
        if body.get("messages") is LONG and 1_000_000 + body.get("max_tokens", 0) > (model.context_tokens or 0):
            found.append("context")
        if body.get("max_tokens", 0) > (model.max_output_tokens or 10**9):
            found.append("max_output")
    found += sorted(needs - model.capabilities)
    read = 1_000_000 if body.get("messages") is LONG else 1
    rates = row.rates_for(read)
    if wish.max_price is not None:
        most = wish.max_price.prompt_nanousd_per_mtok
        found += ["prompt price"] if most is not None and rates.input > most else []
        most = wish.max_price.completion_nanousd_per_mtok
        found += ["completion price"] if most is not None and rates.output > most else []
    if wish.max_cost_nanousd is not None:
        least = read * rates.input + min(body.get("max_tokens", 500), model.max_output_tokens or 10**9) * rates.output
        found += ["budget"] if least // 1_000_000 > wish.max_cost_nanousd else []
    return found


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(["auto", "gpt-oss-120b", "gpt-5.4-mini", "claude-haiku-4-5", "deepseek-v4.1-flash",
                             "gpt-oss-120b:floor", "kimi-k3", "auto:nitro"]), body=bodies, wish=wishes)  # fmt: skip
def test_every_endpoint_of_a_plan_passes_every_gate(
    everywhere: Any, catalog: Catalog, book: PriceBook, name: str, body: dict[str, Any], wish: dict[str, Any]
) -> None:
    try:
        decision = decide(everywhere, call(name, body=body, wishes=wish))
    except (errors.InvalidRequest, errors.PaymentRequired):
        return
    eligible = {one.model for one in decision.candidates if not one.gate}
    assert {endpoint.model for endpoint in decision.endpoints} <= eligible
    assert len(set(decision.endpoints)) == len(decision.endpoints)
    # A model that was named and is alone is its provider's to refuse: no fallback hangs on it.
    is_alone = not wish and len(decision.endpoints) == 1
    fits = not is_alone and not any("waived" in said for said in decision.applied)
    asked = Preferences(**wish)
    for endpoint in decision.endpoints:
        broken = violations(
            catalog.models[endpoint.model], catalog, book, asked, body, auto=name.startswith("auto"), fits=fits
        )
        assert broken == [], endpoint.model


@pytest.mark.parametrize(
    ("name", "parts", "status", "code", "words"),
    [
        ("deepseek-flash", {"wishes": {"requires_zdr": True}}, 404, "no_private_provider", "zero data retention"),
        ("grok-4.7", {"wishes": {"denies_data_collection": True}}, 404, "no_private_provider", "not to train"),
        ("claude-fable-5-2", {"wishes": {"requires_zdr": True}}, 404, "no_private_provider", "keeps data"),
        ("gpt-5.4", {"wishes": {"provider_only": ("groq",)}}, 404, "no_allowed_provider", "`only`"),
        ("gpt-5.4", {"wishes": {"quantizations": ("fp8",)}}, 404, "no_such_quantization", "add `unknown`"),
        ("command-r7b", {"wishes": {"capabilities": ("images",)}}, 400, "no_capable_model", "images"),
        ("auto", {"body": {"messages": [{"role": "user", "content": "x" * 9_000_000}]}}, 400, "context_length_exceeded",
         "about 3000"),
        ("auto", {"body": {"max_tokens": 5_000_000}}, 400, "context_length_exceeded", "lower `max_tokens`"),
        ("gpt-5.5", {"wishes": {"max_price": MaxPrice(prompt_nanousd_per_mtok=1)}}, 402, "max_price_exceeded",
         "input costs \\$5 a million"),
        ("gpt-5.5", {"wishes": {"max_cost_nanousd": 1_000}}, 402, "COST_LIMIT_EXCEEDED", "\\$0.000001"),
        ("auto", {"wishes": {"allowed_models": ("nobody/*",)}}, 404, "no_allowed_model", "allowed_models"),
        ("claude-haiku-4-5", {"wishes": {"requires_parameters": True}, "body": {"logit_bias": {"1": 1}}}, 400,
         "unsupported_parameters", "logit_bias"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_gate_and_what_to_change(
    everywhere: Any, name: str, parts: dict[str, Any], status: int, code: str, words: str
) -> None:
    with pytest.raises(errors.GatewayError, match=words) as caught:
        decide(everywhere, call(name, **parts))
    assert (caught.value.http_status, caught.value.code) == (status, code)
    assert sum(caught.value.metadata["gates"].values()) >= 1


def test_a_named_model_is_the_callers_word_against_our_catalog(everywhere: Any) -> None:
    """The catalog says nothing of tools for this model; its provider may still do them."""
    decision = decide(everywhere, call("claude-fable-5-2", body={"tools": TOOLS}))
    assert decision.endpoints[0].model == "anthropic/claude-fable-5-2"
    assert decision.applied == ("gates waived for a named model: capability",)


def test_an_endpoint_that_cannot_do_it_is_no_fallback_of_one_that_can(everywhere: Any, catalog: Catalog) -> None:
    free = decide(everywhere, call("deepseek-v4.1-flash"))
    assert len(free.endpoints) == 2
    picture = decide(everywhere, call("deepseek-v4.1-flash", body={"messages": PICTURE}))
    assert [endpoint.provider for endpoint in picture.endpoints] == ["fireworks"]
    assert {one.provider: one.gate for one in picture.candidates} == {"fireworks": "", "together": "capability"}


def test_asked_for_providers_come_first_and_the_rest_follows(everywhere: Any) -> None:
    ordered = decide(everywhere, call("gpt-oss-120b", wishes={"provider_order": ("together", "groq")}))
    assert [endpoint.provider for endpoint in ordered.endpoints][:2] == ["together", "groq"]
    assert len(ordered.endpoints) == 3
    assert ordered.is_order_fixed
    strict = decide(
        everywhere, call("gpt-oss-120b", wishes={"provider_order": ("together",), "allows_fallbacks": False})
    )
    assert [endpoint.provider for endpoint in strict.endpoints] == ["together"]
    alone = decide(everywhere, call("gpt-oss-120b", wishes={"allows_fallbacks": False}))
    assert len(alone.endpoints) == 1


def test_further_models_follow_in_order_and_a_name_without_meaning_is_noted(everywhere: Any) -> None:
    decision = decide(everywhere, call("gpt-5.4", wishes={"models": ("nonsense", "claude-haiku-4-5", "gpt-5.4-mini")}))
    assert [endpoint.model for endpoint in decision.endpoints] == [
        "openai/gpt-5.4", "azure/gpt-5.4", "anthropic/claude-haiku-4-5", "openai/gpt-5.4-mini",
    ]  # fmt: skip
    assert ("nonsense", "model") in {(one.model, one.gate) for one in decision.candidates}


def test_a_retired_model_is_refused_and_a_retiring_one_is_warned_of(everywhere: Any) -> None:
    day = 86_400.0
    nano = "openai/gpt-5.4-nano"  # retires on 2027-04-01
    assert decide(everywhere, call(nano)).warnings == ()
    soon = decide(everywhere, call(nano), at=NOON + 60 * day)
    assert soon.warnings == ((nano, "2027-04-01"),)
    assert nano not in {one.model for one in decide(everywhere, call("auto"), at=NOON + 60 * day).endpoints}
    with pytest.raises(errors.ModelNotFound, match="retired"):
        decide(everywhere, call(nano), at=NOON + 200 * day)


def test_auto_goes_to_the_cheapest_for_this_very_call(everywhere: Any, catalog: Catalog, book: PriceBook) -> None:
    decision = decide(everywhere, call("auto"))
    costs = [one.cost_nanousd for one in decision.candidates if not one.gate]
    assert decision.estimated_cost_nanousd == min(cost for cost in costs if cost is not None)
    assert len(decision.endpoints) == 3


def test_slow_endpoints_are_put_off_and_unknown_ones_are_not(catalog: Catalog, book: PriceBook) -> None:
    known = {"groq": (100.0, 500.0, "closed"), "together": (900.0, 50.0, "closed")}
    route = router(catalog, book, "groq", "together", "cerebras", health_of=lambda one: known.get(one.provider))

    def order(**wish: Any) -> list[str]:
        return [one.provider for one in decide(route, call("gpt-oss-120b", wishes=wish)).endpoints]

    assert order(sort="latency") == ["groq", "together", "cerebras"]
    assert order(sort="throughput") == ["groq", "together", "cerebras"]
    assert order(preferred_max_latency_ms=500.0, provider_ignore=("groq",)) == ["cerebras", "together"]
    assert order(preferred_min_throughput=100.0)[-1] == "together"


def test_a_policy_does_not_stand_above_a_gate(catalog: Catalog, book: PriceBook) -> None:
    key = make_key(policy=PolicySnapshot(version="pol_1", default_model="deepseek/deepseek-flash"))
    route = router(catalog, book, *EVERYONE)
    assert decide(route, call("auto"), key).endpoints[0].model == "deepseek/deepseek-flash"
    decision = decide(route, call("auto", wishes={"denies_data_collection": True}), key)
    assert decision.route_reason == "cheapest-capable"
    assert all(catalog.providers[endpoint.provider].may_train is False for endpoint in decision.endpoints)
    assert ("deepseek/deepseek-flash", "privacy") in {(one.model, one.gate) for one in decision.candidates}


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [("openai/*", True), ("*mini", True), ("gpt-5.4-mini", True), ("openai/gpt-5*mini", True),
     ("OPENAI/GPT-5.4-MINI", True),
     ("openai/gpt", False), ("*nano*", False), ("a*a", False), ("*" * 200, True)],
)  # fmt: skip
def test_patterns_with_stars(catalog: Catalog, pattern: str, *, matches: bool) -> None:
    assert gates.matches(pattern, catalog.models["openai/gpt-5.4-mini"]) is matches
