"""Translate the tools of OpenAI's Responses API into canonical functions. Pure.

Functions are functions. A custom tool, whose input is free text, becomes a function with the one parameter `input`, so
that every provider can call it; the answer says it as a custom call again. Tools that OpenAI runs itself cannot be had
from a chat model: a search or picture tool beside functions is left out and named in the receipt, any other is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.dialects import json_body

Json = dict[str, Any]

# Tools that help where they are there; the caller's own functions go on working without them.
_HELPFUL = ("web_search", "web_search_preview", "image_generation", "tool_search")
_PARAMETER = "input"


def custom_names(body: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the body's custom tools."""
    tools = body.get("tools")
    return frozenset(
        tool["name"]
        for tool in (tools if isinstance(tools, list) else ())
        if isinstance(tool, dict) and tool.get("type") == "custom" and isinstance(tool.get("name"), str)
    )


def custom_input(arguments: str) -> str:
    """Return the text that a call of a custom tool was given; arguments of another form are the text themselves."""
    try:
        decoded = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    given = decoded.get(_PARAMETER) if isinstance(decoded, dict) else None
    return given if isinstance(given, str) else arguments


def custom_arguments(text: str) -> str:
    """Return the arguments that a custom call's text is as a function's."""
    return orjson.dumps({_PARAMETER: text}).decode()


def translate(body: Mapping[str, Any], *, needs: list[str], not_applied: list[str]) -> Json:
    """Return `tools`, `tool_choice` and `parallel_tool_calls` as the body has them.

    What only OpenAI can run is added to `needs`, what is left out to `not_applied`.

    Raises:
        InvalidRequest: a tool or the choice has no known form.
    """
    functions: list[Json] = []
    helpful: list[str] = []
    given = body.get("tools")
    for index, tool in enumerate(json_body.items(given, "tools") if given is not None else ()):
        place = f"tools[{index}]"
        kind = json_body.mapping(tool, place).get("type")
        if kind == "function":
            functions.append(_function(tool, place))
        elif kind == "custom":
            functions.append(_custom(tool, place))
        elif isinstance(kind, str) and kind.startswith(_HELPFUL):
            helpful.append(f"{place} ({kind[:40]})")
        else:
            needs.append(f"{place} ({str(kind)[:40]})")
    (not_applied if functions else needs).extend(helpful)
    made: Json = {}
    if functions:
        made["tools"] = functions
        if json_body.optional(body, "parallel_tool_calls", bool, "true or false") is False:
            made["parallel_tool_calls"] = False
    choice = body.get("tool_choice")
    if choice is not None:
        chosen = _choice(choice, needs)
        if functions and chosen is not None:
            made["tool_choice"] = chosen
    return made


def _function(tool: Json, place: str) -> Json:
    function: Json = {"name": json_body.text(tool.get("name"), f"{place}.name")}
    for name in ("description", "parameters", "strict"):
        if tool.get(name) is not None:
            function[name] = tool[name]
    return {"type": "function", "function": function}


def _custom(tool: Json, place: str) -> Json:
    said = [tool["description"]] if isinstance(tool.get("description"), str) else []
    form = tool.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar":
        said.append(f"The input must follow this {form.get('syntax')} grammar:\n{form.get('definition')}")
    parameters = {
        "type": "object",
        "properties": {_PARAMETER: {"type": "string", "description": "The tool's input as plain text."}},
        "required": [_PARAMETER],
        "additionalProperties": False,
    }
    function: Json = {"name": json_body.text(tool.get("name"), f"{place}.name"), "parameters": parameters}
    if said:
        function["description"] = "\n\n".join(said)
    return {"type": "function", "function": function}


def _choice(choice: Any, needs: list[str]) -> Any:
    if choice in ("auto", "none", "required"):
        return choice
    kind = json_body.mapping(choice, "tool_choice").get("type")
    if kind in ("function", "custom"):
        name = json_body.text(choice.get("name"), "tool_choice.name")
        return {"type": "function", "function": {"name": name}}
    if kind == "allowed_tools":
        allowed = [
            {"type": "function", "function": {"name": tool["name"]}}
            for tool in json_body.items(choice.get("tools"), "tool_choice.tools")
            if isinstance(tool, dict) and isinstance(tool.get("name"), str)
        ]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode", "auto"), "tools": allowed}}
    needs.append(f"tool_choice ({str(kind)[:40]})")
    return None
