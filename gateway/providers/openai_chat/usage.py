"""Read token counts out of an OpenAI-shaped answer, wherever the provider put them. Pure.

Seen places: `usage` (all), `x_groq.usage` (Groq streams), `choices[0].usage` (Moonshot streams). Seen shapes:
OpenAI's details, DeepSeek's `prompt_cache_hit_tokens`, a bare `cached_tokens`, xAI's reasoning outside the completion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.providers.protocol import Usage


def find(chunk: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the usage object of an answer or chunk, or None."""
    usage = chunk.get("usage")
    if isinstance(usage, dict) and usage:
        return usage
    groq = chunk.get("x_groq")
    if isinstance(groq, dict) and isinstance(groq.get("usage"), dict):
        return groq["usage"]  # type: ignore[no-any-return]
    for choice in chunk.get("choices") or ():
        if isinstance(choice, dict) and isinstance(choice.get("usage"), dict):
            return choice["usage"]  # type: ignore[no-any-return]
    return None


def read(usage: Mapping[str, Any], *, counts_reasoning_apart: bool = False) -> Usage:
    """Return the counts. Missing, negative and non-integer ones are 0; parts never exceed their whole."""
    prompt = usage.get("prompt_tokens_details")
    output = usage.get("completion_tokens_details")
    prompt = prompt if isinstance(prompt, dict) else {}
    output = output if isinstance(output, dict) else {}
    input_tokens = _count(usage.get("prompt_tokens"))
    output_tokens = _count(usage.get("completion_tokens"))
    reasoning = _count(output.get("reasoning_tokens")) or _count(usage.get("reasoning_tokens"))
    if counts_reasoning_apart and _count(usage.get("total_tokens")) != input_tokens + output_tokens:
        output_tokens += reasoning
    cached = (
        _count(prompt.get("cached_tokens"))
        or _count(usage.get("prompt_cache_hit_tokens"))
        or _count(usage.get("cached_tokens"))
    )
    cached = min(cached, input_tokens)
    return Usage(
        input_tokens=input_tokens,
        cached_read_tokens=cached,
        cache_write_tokens=min(_count(prompt.get("cache_write_tokens")), input_tokens - cached),
        output_tokens=output_tokens,
        reasoning_tokens=min(reasoning, output_tokens),
        audio_input_tokens=min(_count(prompt.get("audio_tokens")), input_tokens),
        audio_output_tokens=min(_count(output.get("audio_tokens")), output_tokens),
    )


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
