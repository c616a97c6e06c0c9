"""Read the tool side of a canonical request, for protocols that say it in other words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.errors import InvalidRequest

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """What `tool_choice` asks for. `mode` is auto, none or required; `names` limits which tools may be called."""

    mode: str = "auto"
    names: tuple[str, ...] = ()
    is_given: bool = False


def functions(body: Mapping[str, Any]) -> list[Json]:
    """Return the function objects of `tools`, each with the tool's `cache_control` if it has one.

    Raises:
        InvalidRequest: a tool of another type, or the retired `functions`.
    """
    if body.get("functions") or body.get("function_call"):
        raise InvalidRequest("`functions` is retired and not translated; use `tools`.", param="functions")
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        raise InvalidRequest("`tools` must be a list.", param="tools")
    found: list[Json] = []
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or tool.get("type", "function") != "function" or not function.get("name"):
            raise InvalidRequest("Only tools of type function with a name are supported here.", param=f"tools[{index}]")
        if not isinstance(function.get("parameters") or {}, dict):
            raise InvalidRequest("A tool's parameters must be a JSON schema.", param=f"tools[{index}].parameters")
        found.append({**function, **({"cache_control": tool["cache_control"]} if tool.get("cache_control") else {})})
    return found


def choice(body: Mapping[str, Any]) -> Choice:
    """Return what `tool_choice` asks for, in all of its forms.

    Raises:
        InvalidRequest: it has no known form.
    """
    wanted = body.get("tool_choice")
    if wanted is None:
        return Choice()
    if wanted in ("auto", "none", "required"):
        return Choice(wanted, is_given=True)
    if wanted == "any":
        return Choice("required", is_given=True)
    if isinstance(wanted, dict):
        allowed = wanted.get("allowed_tools")
        if wanted.get("type") == "allowed_tools" and isinstance(allowed, dict):
            names = tuple(_name(tool) for tool in allowed.get("tools") or ())
            return Choice("required" if allowed.get("mode") == "required" else "auto", names, is_given=True)
        name = _name(wanted)
        if name:
            return Choice("required", (name,), is_given=True)
    raise InvalidRequest(
        "`tool_choice` must be auto, none, required, a named function or allowed_tools.", param="tool_choice"
    )


def arguments(call: Json, *, param: str) -> Json:
    """Return a replayed tool call's arguments as an object; none are `{}`.

    Raises:
        InvalidRequest: they are not a JSON object.
    """
    written = (call.get("function") or {}).get("arguments")
    if isinstance(written, dict):
        return written
    try:
        decoded = orjson.loads(written) if written else {}
    except (orjson.JSONDecodeError, TypeError) as error:
        raise InvalidRequest("A tool call's arguments must be a JSON object.", param=param) from error
    if not isinstance(decoded, dict):
        raise InvalidRequest("A tool call's arguments must be a JSON object.", param=param)
    return decoded


def closed(schema: Any) -> Any:
    """Return a JSON schema whose objects say `additionalProperties: false` where they say nothing."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(part) if name not in ("enum", "const", "default") else part for name, part in schema.items()}
    if "properties" in made and "additionalProperties" not in made and isinstance(made.get("properties"), dict):
        made["additionalProperties"] = False
    return made


def _name(tool: Any) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else tool.get("name") if isinstance(tool, dict) else None
    return name if isinstance(name, str) else ""
