"""The request fields that the gateway reads itself, and the one wish behind the many names of reasoning. Pure.

A provider never sees a gateway field: OpenAI and others answer 400 to names that they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SIMULATOR_ONLY = frozenset({"kairosroute_fault", "mock_response"})
GATEWAY_ONLY = SIMULATOR_ONLY | {
    "kairosroute",
    "kairos",
    # OpenRouter
    "models",
    "provider",
    "plugins",
    "route",
    "transforms",
    "usage",
    "session_id",
    "trace",
    "preset",
    "debug",
    # LiteLLM, Vercel, Martian, KairosRoute's own pages
    "fallbacks",
    "api_base",
    "api_key",
    "api_version",
    "base_url",
    "num_retries",
    "timeout",
    "stream_timeout",
    "drop_params",
    "cache",
    "providerOptions",
    "max_cost",
    "max_cost_per_million_tokens",
    "willingness_to_pay",
    "data_collection",
    "zdr",
    "preferred_max_latency",
    "preferred_min_throughput",
    "quantization",
    "quantizations",
}
REASONING = ("reasoning_effort", "reasoning", "include_reasoning", "thinking")
MESSAGE_REASONING = frozenset({"reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"})

BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}


@dataclass(frozen=True, slots=True)
class ReasoningWish:
    """How much the client wants the model to think: an effort word, a token budget, or off."""

    effort: str = ""
    max_tokens: int | None = None
    is_off: bool = False
    is_hidden: bool = False

    def budget_tokens(self) -> int:
        """Return the budget in tokens; words are translated by `BUDGETS`."""
        return self.max_tokens if self.max_tokens else BUDGETS.get(self.effort, BUDGETS["medium"])

    def effort_word(self) -> str:
        """Return an effort word; budgets are translated to the nearest lower one."""
        if self.effort:
            return self.effort
        if self.max_tokens is None:
            return "medium"
        return next((word for word, tokens in reversed(BUDGETS.items()) if tokens <= self.max_tokens), "low")

    def as_openrouter(self) -> dict[str, Any]:
        """Return the wish as OpenRouter's `reasoning` object."""
        wish: dict[str, Any] = {"enabled": False} if self.is_off else {}
        if self.effort:
            wish["effort"] = self.effort
        if self.max_tokens:
            wish["max_tokens"] = self.max_tokens
        if self.is_hidden:
            wish["exclude"] = True
        return wish or {"enabled": True}


def reasoning(body: Mapping[str, Any]) -> ReasoningWish | None:
    """Read OpenAI's `reasoning_effort`, OpenRouter's `reasoning` and Anthropic's `thinking`; None when none is set."""
    effort = body.get("reasoning_effort")
    if isinstance(effort, str):
        return ReasoningWish(is_off=True) if effort == "none" else ReasoningWish(effort=effort)
    wish = body.get("reasoning")
    if isinstance(wish, dict) and wish:
        word = wish.get("effort")
        return ReasoningWish(
            effort=word if isinstance(word, str) and word != "none" else "",
            max_tokens=_count(wish.get("max_tokens")),
            is_off=word == "none" or wish.get("enabled") is False,
            is_hidden=wish.get("exclude") is True,
        )
    thinking = body.get("thinking")
    if isinstance(thinking, dict):
        kind = thinking.get("type")
        return ReasoningWish(max_tokens=_count(thinking.get("budget_tokens")), is_off=kind == "disabled")
    return None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
