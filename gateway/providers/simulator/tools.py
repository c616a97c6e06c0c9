"""Decide which tools a simulated model calls and with what arguments. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import orjson

from gateway.providers import shape
from gateway.providers.simulator import json_values

Json = dict[str, Any]

_WORDS = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{3,}")
_ARGUMENT = re.compile(r"""\s*(?:([A-Za-z_]\w*)\s*=\s*)?("[^"]*"|'[^']*'|[^,]+)""")
_TOO_COMMON = frozenset(
    {"get", "set", "the", "for", "tool", "function", "call", "use", "and", "with", "answer", "response"}
)
MAX_CALLS = 8


def calls(body: Mapping[str, Any], *, prompt: str, rng: Random, call_ids: str, is_wrong: bool) -> list[Json]:
    """Return the tool calls of the answer, empty for an answer in words.

    A tool is called when `tool_choice` demands it or when the prompt names it; values in the prompt are copied where
    they fit. `is_wrong` leaves out a required argument, as weak models do.
    """
    functions = [tool["function"] for tool in body.get("tools") or () if isinstance(tool, dict) and _is_function(tool)]
    if not functions:
        return []
    picked = _picked(body.get("tool_choice"), functions, prompt=prompt, is_answering=_is_answering(body))
    if body.get("parallel_tool_calls") is False:
        picked = picked[:1]
    made: list[Json] = []
    for function, hints in picked[:MAX_CALLS]:
        parameters = function.get("parameters")
        arguments = json_values.generate(parameters, hints=hints, rng=rng) if parameters else {}
        if not isinstance(arguments, dict):
            arguments = {}
        if is_wrong and arguments:
            required = (parameters or {}).get("required") or list(arguments)
            arguments.pop(rng.choice(required), None)
        made.append(
            shape.tool_call(
                call_id=f"call_{call_ids}{len(made)}", name=function["name"], arguments=orjson.dumps(arguments).decode()
            )
        )
    return made


def _is_function(tool: Json) -> bool:
    function = tool.get("function")
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _is_answering(body: Mapping[str, Any]) -> bool:
    messages = body.get("messages") or [{}]
    return isinstance(messages[-1], dict) and messages[-1].get("role") == "tool"


def _picked(
    choice: Any, functions: Sequence[Json], *, prompt: str, is_answering: bool
) -> list[tuple[Json, json_values.Hints]]:
    if choice == "none":
        return []
    if isinstance(choice, dict):
        chosen = choice.get("function") or choice
        allowed = choice.get("allowed_tools")
        if isinstance(allowed, dict):
            names = {tool.get("function", {}).get("name") for tool in allowed.get("tools", ())}
            functions = [function for function in functions if function["name"] in names]
            return _picked(allowed.get("mode", "auto"), functions, prompt=prompt, is_answering=is_answering)
        named = [function for function in functions if function["name"] == chosen.get("name")]
        return [pick for function in named for pick in _written(function, prompt)]
    # Tool results are answered in words, unless another call is demanded.
    spoken = [] if is_answering else _spoken(functions, prompt)
    if not spoken and choice == "required" and functions:
        return _written(functions[0], prompt)
    return [pick for function in spoken for pick in _written(function, prompt)]


def _spoken(functions: Sequence[Json], prompt: str) -> list[Json]:
    """Return the tools that the prompt names, in its order: by full name, else by a telling word of it."""
    lowered = prompt.lower()
    places = [(lowered.find(function["name"].lower()), function) for function in functions]
    full = [(place, function) for place, function in places if place >= 0]
    if full:
        return [function for _, function in sorted(full, key=lambda pair: pair[0])]
    words = set(re.findall(r"[a-z]{3,}", lowered))
    partly: list[Json] = []
    for function in functions:
        telling = {word.lower() for word in _WORDS.findall(function["name"])} - _TOO_COMMON
        if telling & words:
            partly.append(function)
    return partly


def _written(function: Json, prompt: str) -> list[tuple[Json, json_values.Hints]]:
    """Return one pick for each call that is written out in the prompt, as `name(3)`; else one without such hints."""
    found = re.findall(rf"\b{re.escape(function['name'])}\(([^()]*)\)", prompt)
    if not found:
        return [(function, json_values.Hints(prompt))]
    picks = []
    for written in dict.fromkeys(found):
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for name, text in _ARGUMENT.findall(written):
            if name:
                named[name] = json_values.literal(text)
            elif text.strip():
                positional.append(json_values.literal(text))
        picks.append((function, json_values.Hints(prompt, tuple(positional), named)))
    return picks
