"""Turn a list of model facts into the slim catalog that the gateway reads: `slim`.

The facts (limits, capabilities, deprecation) come from outside; who made a model, what it is called across
providers, how it is shown and what a provider does with prompts is decided here. Prices are not part of it:
they come from `genai-prices` (see `gateway.catalog.flatten`). Pure: the command `build_catalog` does the reading and
writing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

VERSION = 1
SOURCES = (
    "Prices: genai-prices (MIT), read at start, not part of this file.",
    "Limits, capabilities, deprecation: price and context file of LiteLLM 1.109.1 (MIT), seen 2026-11-20.",
    "Data policy of providers: docs/advanced-routing of kairosroute.com, seen 2026-11-22; null is unknown.",
)

# When the facts were seen: the day on which a model without a day of its own came into the catalog.
_SEEN_ON = "2026-11-20"

_CAPABILITIES = {
    "tools": "tools",
    "vision": "images",
    "json_schema": "json_schema",
    "reasoning": "reasoning",
    "prompt_cache": "prompt_cache",
    "pdf": "files",
    "audio_in": "audio_input",
    "has_dimensions": "dimensions",
}
_PROTOCOLS = {"openai": "openai_chat", "anthropic": "anthropic_messages", "gemini": "gemini"}

# How long prompts are kept without an agreement (days), and who says so.
_RETENTION = {
    "openai": (30, "https://developers.openai.com/docs/guides/your-data"),
    "anthropic": (30, "https://privacy.anthropic.com, commercial customers"),
}
_POLICY_PAGE = "docs/advanced-routing of kairosroute.com"
# Models that are left out of their provider's zero retention: Anthropic keeps what goes to Claude Fable 5 for 30 days,
# and no source says otherwise of its successors.
_NEED_RETENTION = frozenset({"anthropic/claude-fable-5-2"})

# slug: (name shown, other spellings in use at other gateways, may train on prompts, offers zero data retention)
_PROVIDERS: dict[str, tuple[str, tuple[str, ...], bool | None, bool | None]] = {
    "openai": ("OpenAI", (), False, True),
    "anthropic": ("Anthropic", ("claude",), False, True),
    "google": ("Google", ("gemini", "google-ai-studio", "google_ai_studio", "google-gemini"), False, True),
    "deepseek": ("DeepSeek", (), True, False),
    "mistralai": ("Mistral", ("mistral", "mistral-ai", "mistral_ai"), False, True),
    "x-ai": ("xAI", ("xai", "x_ai", "grok"), None, None),
    "meta": ("Meta", ("meta_llama", "meta-llama", "llama"), None, None),
    "groq": ("Groq", (), False, False),
    "together": ("Together AI", ("together_ai", "together-ai", "togetherai"), False, False),
    "fireworks": ("Fireworks AI", ("fireworks_ai", "fireworks-ai", "fireworksai"), False, False),
    "cohere": ("Cohere", ("cohere_chat",), None, None),
    "moonshotai": ("Moonshot AI", ("moonshot", "kimi"), None, None),
    "z-ai": ("Z.ai", ("zai", "z_ai", "zhipu", "zhipuai"), None, None),
    "minimax": ("MiniMax", (), None, None),
    "cerebras": ("Cerebras", (), None, None),
    "bedrock": ("Amazon Bedrock", ("aws", "amazon-bedrock", "amazon_bedrock"), None, None),
    "azure": ("Azure OpenAI", ("azure-openai", "azure_openai", "azure_ai"), None, None),
    "voyage": ("Voyage AI", ("voyageai", "voyage-ai", "voyage_ai"), None, None),
}

# id: (vendor, name) where a provider serves a model that somebody else made, or spells its name in its own way
_MADE_ELSEWHERE = {
    "groq/gpt-oss-120b": ("openai", "gpt-oss-120b"),
    "groq/gpt-oss-20b": ("openai", "gpt-oss-20b"),
    "groq/qwen3.8-27b": ("qwen", "qwen3.8-27b"),
    "together/gpt-oss-120b": ("openai", "gpt-oss-120b"),
    "together/deepseek-v4-pro-0813": ("deepseek", "deepseek-v4-pro-0813"),
    "together/qwen3.8-flash": ("qwen", "qwen3.8-flash"),
    "together/deepseek-v4.1-flash": ("deepseek", "deepseek-v4.1-flash"),
    "fireworks/kimi-k3": ("moonshotai", "kimi-k3"),
    "fireworks/deepseek-v4p1-flash": ("deepseek", "deepseek-v4.1-flash"),
    "fireworks/qwen3p8-max": ("qwen", "qwen3.8-max"),
    "fireworks/glm-5p3": ("z-ai", "glm-5.3"),
    "cerebras/gpt-oss-120b": ("openai", "gpt-oss-120b"),
    "cerebras/qwen-3.8-27b": ("qwen", "qwen3.8-27b"),
    "bedrock/global.anthropic.claude-sonnet-5-5": ("anthropic", "claude-sonnet-5-5"),
    "bedrock/amazon.nova-pro-v1:0": ("amazon", "nova-pro-v1"),
    "bedrock/global.amazon.nova-2-lite-v1:0": ("amazon", "nova-2-lite-v1"),
    "bedrock/meta.llama4-maverick-17b-instruct-v1:0": ("meta", "llama4-maverick-17b-instruct"),
    "bedrock/qwen.qwen3-coder-480b-a35b-v1:0": ("qwen", "qwen3-coder-480b-a35b"),
    "azure/gpt-5.4": ("openai", "gpt-5.4"),
    "azure/gpt-6.1-sol": ("openai", "gpt-6.1-sol"),
    "azure/gpt-4o-mini": ("openai", "gpt-4o-mini"),
    "azure/text-embedding-3-small": ("openai", "text-embedding-3-small"),
}
# Names in use that no rule yields. Never a "-latest" name: what it means moves, and the price with it.
_ALIASES = {
    "google/gemini-3.1-pro-preview": ("gemini-3.1-pro",),
    "cohere/command-a": ("command-a-03-2025",),
    "cohere/command-r7b": ("command-r7b-12-2024",),
    "bedrock/amazon.nova-pro-v1:0": ("nova-pro", "amazon/nova-pro-v1"),
    "bedrock/global.amazon.nova-2-lite-v1:0": ("nova-2-lite", "amazon/nova-2-lite-v1"),
    "bedrock/meta.llama4-maverick-17b-instruct-v1:0": ("llama-4-maverick", "meta-llama/llama-4-maverick"),
    "bedrock/qwen.qwen3-coder-480b-a35b-v1:0": ("qwen3-coder", "qwen/qwen3-coder"),
}
_WORDS = {
    "gpt": "GPT", "glm": "GLM", "oss": "OSS", "deepseek": "DeepSeek", "minimax": "MiniMax", "r7b": "R7B",
    "claude": "Claude", "gemini": "Gemini", "mistral": "Mistral", "grok": "Grok", "muse": "Muse", "kimi": "Kimi",
}  # fmt: skip


def slim(facts: Any) -> dict[str, Any]:
    """Return the catalog document for a list of facts, one per model at a provider.

    Raises:
        ValueError: it is not a list of objects, a fact lacks a field or names an unknown provider, an id occurs twice.
    """
    if not isinstance(facts, list) or not all(isinstance(fact, dict) for fact in facts):
        raise ValueError("expected a JSON list of objects.")
    models = [_model(fact) for fact in facts]
    ids = [model["id"] for model in models]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise ValueError(f"These ids occur more than once: {', '.join(twice)}.")
    return {
        "version": VERSION,
        "sources": list(SOURCES),
        "providers": {
            slug: {
                "name": name,
                "aliases": list(aliases),
                "may_train": may_train,
                "zero_data_retention": retention,
                "retention_days": _RETENTION.get(slug, (None,))[0],
                "region": "",
                "policy_source": _RETENTION[slug][1]
                if slug in _RETENTION
                else ""
                if may_train is None
                else _POLICY_PAGE,
            }
            for slug, (name, aliases, may_train, retention) in _PROVIDERS.items()
        },
        "models": models,
    }


def _model(fact: Mapping[str, Any]) -> dict[str, Any]:
    try:
        model_id: str = fact["id"]
        provider: str = fact["provider"]
        upstream: str = fact["upstream"]
        priced_as: str = fact["genai_provider"]
        limits = {"context_tokens": fact["context"], "max_output_tokens": fact["max_output"]}
        capabilities = [ours for theirs, ours in _CAPABILITIES.items() if fact.get(theirs)]
        deprecated_on: str | None = fact["deprecation"]
        adapter: str = fact["adapter"]
    except KeyError as error:
        raise ValueError(f"The facts of {fact.get('id', 'a model')} lack the field {error.args[0]!r}.") from error
    if provider not in _PROVIDERS:
        raise ValueError(f"{model_id} names the provider {provider!r}; add it to gateway/catalog/curation.py first.")
    vendor, name = _MADE_ELSEWHERE.get(model_id, (provider, model_id.partition("/")[2]))
    return {
        "id": model_id,
        "provider": provider,
        "upstream": upstream,
        "vendor": vendor,
        "name": name,
        "display_name": _display_name(name),
        "kind": fact.get("kind", "chat"),
        "protocol": _protocol(adapter, vendor),
        "priced_as": priced_as,
        **limits,
        "dimensions": fact.get("dimensions"),
        "capabilities": capabilities,
        "deprecated_on": deprecated_on,
        "added_on": fact.get("added", _SEEN_ON),
        "quantization": fact.get("quantization", "unknown"),
        "needs_retention": model_id in _NEED_RETENTION,
        "aliases": sorted({*_ALIASES.get(model_id, ()), *_spellings(name)}),
    }


def _protocol(adapter: str, vendor: str) -> str:
    # Bedrock's endpoint speaks Anthropic's protocol for Claude and OpenAI's for everything else.
    if "mantle" in adapter:
        return _PROTOCOLS["anthropic" if vendor == "anthropic" else "openai"]
    if adapter not in _PROTOCOLS:
        raise ValueError(f"Unknown adapter {adapter!r}; known are {', '.join(_PROTOCOLS)}.")
    return _PROTOCOLS[adapter]


def _spellings(name: str) -> set[str]:
    """Return the name with version dots as dashes, and the reverse: gateways write both `haiku-4.5` and `haiku-4-5`."""
    return {re.sub(r"(?<=\d)-(?=\d(?!\d))", ".", name), re.sub(r"(?<=\d)\.(?=\d)", "-", name)} - {name}


def _display_name(name: str) -> str:
    name = re.sub(r"(?<=\d)-(?=\d(?!\d))", ".", name)
    words = [_WORDS.get(word, word if word[:1].isdigit() else word.capitalize()) for word in name.split("-")]
    shown = re.sub(r"(?<=\d)b\b", "B", " ".join(words))  # parameter counts: 120b → 120B
    return re.sub(r"^(GPT|GLM) ", r"\1-", shown)
