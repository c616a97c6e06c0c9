"""Name the fields that a protocol cannot carry, and check those that a translation computes with. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gateway.errors import InvalidRequest
from gateway.providers import fields

# Values that ask for what happens anyway: not worth a word when the field is left out.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "store": (False,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "service_tier": ("auto", "default"),
    "verbosity": ("medium",),
    "metadata": ({},),
    "tools": ([],),
}
_TRANSPORT = frozenset({"model", "messages", "stream", "stream_options"})


def dropped(body: Mapping[str, Any], *, carried: Collection[str]) -> list[str]:
    """Return the names of fields with a meaning that are not in `carried`, in the order of the body."""
    return [
        name
        for name, value in body.items()
        if name not in carried
        and name not in _TRANSPORT
        and name not in fields.GATEWAY_ONLY
        and value is not None
        and value not in _HARMLESS.get(name, ())
    ]


def output_limit(body: Mapping[str, Any]) -> int | None:
    """Return `max_completion_tokens`, else `max_tokens`, else None.

    Raises:
        InvalidRequest: it is not a positive whole number.
    """
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if value is not None:
            if type(value) is not int or value < 1:
                raise InvalidRequest(f"`{name}` must be a positive whole number.", param=name)
            return value
    return None


def number(body: Mapping[str, Any], name: str) -> float:
    """Return a field that must be a number.

    Raises:
        InvalidRequest: it is not one.
    """
    value = body.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InvalidRequest(f"`{name}` must be a number.", param=name)
    return value
