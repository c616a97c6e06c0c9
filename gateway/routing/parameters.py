"""Which request parameters a model heeds at its provider, in OpenAI's and OpenRouter's words: `supported`. Pure.

Source: the model's capabilities in the catalog, the fields that each wire protocol carries, and what the provider's
quirks say that it refuses.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from gateway.catalog.models import EMBEDDING, Model
from gateway.providers import quirks

_ALWAYS: Final = frozenset({"max_tokens", "max_completion_tokens", "stop", "stream"})
_SAMPLING: Final = frozenset({"temperature", "top_p"})
_OPENAI_SAMPLING: Final = frozenset(
    {"frequency_penalty", "presence_penalty", "seed", "logprobs", "top_logprobs", "logit_bias", "n"}
)
_OF_PROTOCOL: Final = {
    quirks.OPENAI_CHAT: _OPENAI_SAMPLING,
    quirks.ANTHROPIC_MESSAGES: frozenset({"top_k", "cache_control"}),
    quirks.GEMINI: frozenset({"top_k", "seed", "n", "frequency_penalty", "presence_penalty"}),
}
_OPENAI_PLATFORM: Final = frozenset(
    {"modalities", "prediction", "prompt_cache_key", "safety_identifier", "service_tier", "verbosity"}
)
_TOOLS: Final = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
_SCHEMA: Final = frozenset({"response_format", "structured_outputs"})
_REASONING: Final = frozenset({"reasoning", "reasoning_effort", "include_reasoning", "thinking"})


@lru_cache(maxsize=2048)
def supported(model: Model) -> frozenset[str]:
    """Return the request parameters that a model heeds."""
    if model.kind == EMBEDDING:
        return frozenset({"encoding_format"} | ({"dimensions"} & model.capabilities))
    row = quirks.of(model.provider)
    is_openai = model.provider in {"openai", "azure"}
    found = set(_ALWAYS)
    # OpenAI's reasoning models refuse sampling parameters.
    if not (is_openai and "reasoning" in model.capabilities):
        found |= _SAMPLING | _OF_PROTOCOL[model.protocol]
    if is_openai:
        found |= _OPENAI_PLATFORM
    if "tools" in model.capabilities:
        found |= _TOOLS - ({"parallel_tool_calls"} if model.protocol == quirks.GEMINI else set())
    if "json_schema" in model.capabilities:
        found |= _SCHEMA
    if "reasoning" in model.capabilities:
        found |= _REASONING
    return frozenset(found - row.dropped)
