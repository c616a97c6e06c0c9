"""Translate Anthropic's tools and tool choice into canonical functions. Pure.

A tool with an `input_schema` is a function anywhere. Tools that Anthropic defines (bash, text editor, computer, memory)
or runs itself (web search, code execution, …) mean something only to its models: they make the call native only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.dialects import json_body
from gateway.dialects.anthropic.turns import Found

Json = dict[str, Any]

_KNOWN = frozenset({"type", "name", "description", "input_schema", "cache_control", "strict"})


def translate(body: Mapping[str, Any], found: Found) -> Json:
    """Return `tools`, `tool_choice` and `parallel_tool_calls` as the body has them. Raises `InvalidRequest`."""
    made: Json = {}
    given = body.get("tools")
    tools = []
    for index, tool in enumerate(json_body.items(given, "tools") if given is not None else ()):
        function = _function(json_body.mapping(tool, f"tools[{index}]"), f"tools[{index}]", found)
        if function is not None:
            tools.append(function)
    if tools:
        made["tools"] = tools
    choice = body.get("tool_choice")
    if choice is not None:
        _choose(made, json_body.mapping(choice, "tool_choice"), has_tools=bool(tools))
    return made


def _function(tool: Json, place: str, found: Found) -> Json | None:
    kind = tool.get("type")
    if kind not in (None, "custom"):
        found.need(f"{place} ({str(kind)[:40]})")
        return None
    function: Json = {"name": json_body.text(tool.get("name"), f"{place}.name")}
    if tool.get("description"):
        function["description"] = json_body.text(tool["description"], f"{place}.description")
    function["parameters"] = json_body.mapping(tool.get("input_schema"), f"{place}.input_schema")
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    for name in tool.keys() - _KNOWN:
        found.lose(f"tools.{name}"[:64])
    made: Json = {"type": "function", "function": function}
    if tool.get("cache_control"):
        made["cache_control"] = tool["cache_control"]
    return made


def _choose(made: Json, choice: Json, *, has_tools: bool) -> None:
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        raise json_body.wrong("tool_choice.type", "auto, any, tool or none")
    if not has_tools:
        return
    if kind == "tool":
        name = json_body.text(choice.get("name"), "tool_choice.name")
        made["tool_choice"] = {"type": "function", "function": {"name": name}}
    else:
        made["tool_choice"] = {"auto": "auto", "any": "required", "none": "none"}[kind]
    if choice.get("disable_parallel_tool_use") is True and kind != "none":
        made["parallel_tool_calls"] = False
