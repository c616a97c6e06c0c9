"""Settings become providers, and models become endpoints."""

from __future__ import annotations

import pytest

from gateway.catalog import loader
from gateway.providers import quirks, registry
from gateway.providers.authorization import headers
from gateway.providers.registry import ProviderMisconfigured


def _base_url(url: str, *, name: str = "OPENAI", **more: str) -> str:
    built = registry.build({f"KAIROS_PROVIDER_{name}_BASE_URL": url, **more})
    provider = built.get(name)
    assert provider is not None
    return provider.base_url


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("OPENAI", "http://127.0.0.1:9000", "http://127.0.0.1:9000/v1"),
        ("OPENAI", "http://127.0.0.1:9000/", "http://127.0.0.1:9000/v1"),
        ("OPENAI", "http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1"),
        ("OPENAI", "https://proxy.example.com/team-a", "https://proxy.example.com/team-a"),
        ("FIREWORKS", "http://127.0.0.1:9000", "http://127.0.0.1:9000/inference/v1"),
        ("AZURE", "https://acme.openai.azure.com", "https://acme.openai.azure.com/openai/v1"),
        ("ANTHROPIC", "http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("ANTHROPIC", "http://127.0.0.1:9000/v1/", "http://127.0.0.1:9000"),
        ("ANTHROPIC", "http://127.0.0.1:9000/anthropic", "http://127.0.0.1:9000/anthropic"),
        ("GOOGLE", "http://127.0.0.1:9000", "http://127.0.0.1:9000/v1beta"),
        ("GOOGLE", "http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1"),
        ("GOOGLE", "http://127.0.0.1:9000/gemini/v1beta", "http://127.0.0.1:9000/gemini/v1beta"),
        ("MY_VLLM", "http://127.0.0.1:9000", "http://127.0.0.1:9000/v1"),
    ],
)
def test_a_base_url_may_leave_the_version_out(name: str, url: str, expected: str) -> None:
    assert _base_url(url, name=name) == expected


@pytest.mark.parametrize(
    ("variable", "provider"),
    [
        ("KAIROS_PROVIDER_OPENAI_API_KEY", "openai"),
        ("KAIROS_PROVIDER_XAI_API_KEY", "x-ai"),
        ("KAIROS_PROVIDER_X_AI_API_KEY", "x-ai"),
        ("KAIROS_PROVIDER_X-AI_API_KEY", "x-ai"),
        ("kairos_provider_mistral_api_key", "mistralai"),
        ("KAIROS_PROVIDER_MISTRALAI_API_KEY", "mistralai"),
        ("KAIROS_PROVIDER_Z_AI_API_KEY", "z-ai"),
        ("KAIROS_PROVIDER_GEMINI_API_KEY", "google"),
    ],
)
def test_names_are_compared_without_case_and_dashes(variable: str, provider: str) -> None:
    built = registry.build({variable: "key", "KAIROS_SECRET_KEY": "x", "PATH": "/bin"})
    assert built.names() == (provider,)
    assert built.get(provider.upper().replace("-", "_")) is not None


def test_nothing_is_configured_by_nothing() -> None:
    assert (
        registry.build({"KAIROS_PROVIDER_OPENAI_API_KEY": "  ", "KAIROS_PROVIDER_OPENAI_PROTOCOL": "gemini"}).names()
        == ()
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"KAIROS_PROVIDER_OPENAI_BASE_URL": "ftp://example.com"},
        {"KAIROS_PROVIDER_OPENAI_BASE_URL": "example.com"},
        {"KAIROS_PROVIDER_OPENAI_BASE_URL": "http://"},
        {"KAIROS_PROVIDER_OPENAI_BASE_URL": "http://user:pass@example.com"},
        {"KAIROS_PROVIDER_OPENAI_BASE_URL": "http://example.com/?key=1"},
        {"KAIROS_PROVIDER_OPENAI_BASE_URL": "http://example.com:99999"},
        {"KAIROS_PROVIDER_OPENAI_BASE_URL": "http://exam ple.com"},
        {"KAIROS_PROVIDER_OPENAI_API_KEY": "key\r\nx-evil: 1"},
        {"KAIROS_PROVIDER_OPENAI_API_KEY": "schlüssel"},
        {"KAIROS_PROVIDER_AZURE_API_KEY": "key"},
        {"KAIROS_PROVIDER_MY_VLLM_API_KEY": "key"},
        {"KAIROS_PROVIDER_OPENAI_API_KEY": "key", "KAIROS_PROVIDER_OPENAI_PROTOCOL": "soap"},
        {"KAIROS_PROVIDER_MISTRAL_API_KEY": "a", "KAIROS_PROVIDER_MISTRALAI_API_KEY": "b"},
    ],
)
def test_unusable_settings_are_refused_by_name_and_without_the_key(settings: dict[str, str]) -> None:
    with pytest.raises(ProviderMisconfigured) as caught:
        registry.build(settings)
    name = next(iter(settings)).rsplit("_", 2)[0]
    assert name.split("_")[2][:7] in str(caught.value)
    assert "x-evil" not in str(caught.value)


def test_every_catalog_model_has_an_endpoint_when_all_providers_are_configured() -> None:
    catalog = loader.load_catalog()
    settings = {
        f"KAIROS_PROVIDER_{model.provider.upper().replace('-', '_')}_BASE_URL": "http://127.0.0.1:1"
        for model in catalog
    }
    built = registry.build(settings)
    for model in catalog:
        endpoint = built.endpoint_for(model=model.id, provider=model.provider, upstream_model=model.upstream)
        assert endpoint is not None, model.id
        assert endpoint.provider == model.provider
        assert endpoint.protocol in registry.ADAPTERS
        assert quirks.of(model.provider).genai_provider == model.priced_as, model.id
    assert registry.build({}).endpoint_for(model="a/b", provider="a", upstream_model="b") is None


def test_claude_on_bedrock_speaks_anthropics_protocol() -> None:
    built = registry.build(
        {"KAIROS_PROVIDER_BEDROCK_BASE_URL": "https://mantle.example.com", "KAIROS_PROVIDER_BEDROCK_API_KEY": "k"}
    )
    claude = built.endpoint_for(
        model="bedrock/c", provider="bedrock", upstream_model="global.anthropic.claude-sonnet-5-5"
    )
    nova = built.endpoint_for(model="bedrock/n", provider="bedrock", upstream_model="amazon.nova-pro-v1:0")
    assert claude is not None
    assert nova is not None
    assert (claude.protocol, claude.base_url) == ("anthropic_messages", "https://mantle.example.com/anthropic")
    assert (nova.protocol, nova.base_url) == ("openai_chat", "https://mantle.example.com/v1")
    assert headers(claude) == (("x-api-key", "k"),)
    assert headers(nova) == (("authorization", "Bearer k"),)


def test_an_unknown_provider_is_addressed_by_its_name() -> None:
    built = registry.build({"KAIROS_PROVIDER_MY_VLLM_BASE_URL": "http://127.0.0.1:9000"})
    endpoint = built.addressed("my-vllm/org/model")
    assert endpoint is not None
    assert (endpoint.model, endpoint.upstream_model, endpoint.provider) == ("my-vllm/org/model", "org/model", "my-vllm")
    assert headers(endpoint) == ()
    assert built.addressed("my-vllm") is None
    assert built.addressed("my-vllm/") is None
    assert built.addressed("other/model") is None


def test_a_known_provider_is_addressed_through_the_catalog_only() -> None:
    built = registry.build({"KAIROS_PROVIDER_OPENAI_API_KEY": "k", "KAIROS_PROVIDER_OPENROUTER_API_KEY": "k"})
    assert built.addressed("openai/secret-model") is None
    endpoint = built.addressed("openrouter/meta/llama")
    assert endpoint is not None
    assert endpoint.upstream_model == "meta/llama"


def test_a_provider_can_be_wired_with_another_protocol() -> None:
    built = registry.build(
        {
            "KAIROS_PROVIDER_ANTHROPIC_BASE_URL": "http://127.0.0.1:9000",
            "KAIROS_PROVIDER_ANTHROPIC_API_KEY": "k",
            "KAIROS_PROVIDER_ANTHROPIC_PROTOCOL": "openai_chat",
        }
    )
    endpoint = built.endpoint_for(model="anthropic/c", provider="anthropic", upstream_model="c")
    assert endpoint is not None
    assert (endpoint.protocol, endpoint.base_url) == ("openai_chat", "http://127.0.0.1:9000/v1")
    assert headers(endpoint) == (("authorization", "Bearer k"),)


def test_a_key_never_shows_in_a_representation() -> None:
    built = registry.build({"KAIROS_PROVIDER_OPENAI_API_KEY": "sk-canary-key"})
    endpoint = built.endpoint_for(model="openai/m", provider="openai", upstream_model="m")
    assert "canary" not in repr(endpoint)
    assert "canary" not in repr(built.get("openai"))
    assert "canary" not in repr(built)
