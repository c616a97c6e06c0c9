"""Build a Messages request from a canonical body. Pure.

JSON schema answers use the native `output_config.format` on models that have it (Claude 4.5 and later), because it
works beside tools, thinking and streaming; on older ones a forced tool named `ANSWER_TOOL` takes the answer and its
input is given back as the content. JSON mode without a schema always takes the forced tool, and is left to the
prompt (and named as dropped) where the request brings its own tools or thinking.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.errors import InvalidRequest
from gateway.providers import authorization, calling, fields, leftovers
from gateway.providers.anthropic_messages import messages, models
from gateway.providers.anthropic_messages.models import Generation
from gateway.providers.protocol import Endpoint, UpstreamRequest

Json = dict[str, Any]

ANSWER_TOOL = "give_json_answer"
VERSION = "2023-06-01"
MIN_THINKING_TOKENS = 1024

_CARRIED = frozenset(
    {
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "user",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "service_tier",
        "cache_control",
        "functions",
        "function_call",
        *fields.REASONING,
    }
)


def build(body: Mapping[str, Any], *, endpoint: Endpoint, is_stream: bool) -> UpstreamRequest:
    """Return the request.

    Raises:
        InvalidRequest: the body asks for what the protocol cannot say, such as several choices or audio.
    """
    if body.get("n") not in (None, 1):
        raise InvalidRequest("This model gives one choice only: `n` must be 1.", param="n")
    generation = models.of(endpoint.upstream_model)
    dropped = leftovers.dropped(body, carried=_CARRIED)
    system, turns = messages.split(body.get("messages") or [])
    limit = leftovers.output_limit(body)
    made: Json = {"model": endpoint.upstream_model, "max_tokens": limit or generation.default_max_tokens}
    if system:
        made["system"] = system
    made["messages"] = turns
    if is_stream:
        made["stream"] = True
    _add_tools(made, body)
    _add_format(made, body, generation=generation, dropped=dropped)
    _add_thinking(made, body, generation=generation, has_limit=bool(limit), dropped=dropped)
    _add_sampling(made, body, generation=generation, dropped=dropped)
    _add_rest(made, body, dropped=dropped)
    headers = (("content-type", "application/json"), ("anthropic-version", VERSION), *authorization.headers(endpoint))
    return UpstreamRequest("/v1/messages", headers, orjson.dumps(made), tuple(dict.fromkeys(dropped)))


def _add_tools(made: Json, body: Mapping[str, Any]) -> None:
    functions = calling.functions(body)
    if not functions:
        return
    choice = calling.choice(body)
    if len(choice.names) > 1 or (choice.names and choice.mode == "auto"):
        functions = [function for function in functions if function["name"] in choice.names]
    made["tools"] = [_tool(function) for function in functions]
    wanted: Json = {"type": {"auto": "auto", "none": "none", "required": "any"}[choice.mode]}
    if choice.mode == "required" and len(choice.names) == 1:
        wanted = {"type": "tool", "name": choice.names[0]}
    if body.get("parallel_tool_calls") is False and choice.mode != "none":
        wanted["disable_parallel_tool_use"] = True
    if choice.is_given or len(wanted) > 1:
        made["tool_choice"] = wanted


def _tool(function: Json) -> Json:
    tool: Json = {"name": function["name"], "input_schema": {"type": "object", **(function.get("parameters") or {})}}
    for name in ("description", "cache_control", "strict"):
        if function.get(name):
            tool[name] = function[name]
    return tool


def _add_format(made: Json, body: Mapping[str, Any], *, generation: Generation, dropped: list[str]) -> None:
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema" and isinstance(wanted, dict):
        schema = (wanted.get("json_schema") or {}).get("schema")
        if not isinstance(schema, dict):
            raise InvalidRequest("A schema is needed.", param="response_format.json_schema.schema")
        if generation.has_output_format:
            made["output_config"] = {"format": {"type": "json_schema", "schema": calling.closed(schema)}}
            return
    elif kind == "json_object":
        schema = {"type": "object"}
    else:
        return
    if "tools" in made or _wants_thinking(body):
        dropped.append("response_format")
        return
    description = "Give the answer as JSON by calling this tool."
    made["tools"] = [{"name": ANSWER_TOOL, "description": description, "input_schema": schema}]
    made["tool_choice"] = {"type": "tool", "name": ANSWER_TOOL}


def _wants_thinking(body: Mapping[str, Any]) -> bool:
    wish = fields.reasoning(body)
    return wish is not None and not wish.is_off


def _add_thinking(
    made: Json, body: Mapping[str, Any], *, generation: Generation, has_limit: bool, dropped: list[str]
) -> None:
    wish = fields.reasoning(body)
    if wish is None or wish.is_off:
        return
    is_forced = made.get("tool_choice", {}).get("type") in ("any", "tool")
    names = [name for name in fields.REASONING if body.get(name) is not None]
    if is_forced:  # refused together; the demanded call matters more than the thinking
        dropped += names
        return
    display = {"display": "omitted" if wish.is_hidden else "summarized"}
    if not generation.has_thinking_budget:
        made["thinking"] = {"type": "adaptive", **display}
        effort = {"minimal": "low"}.get(wish.effort_word(), wish.effort_word())
        made.setdefault("output_config", {})["effort"] = effort
        return
    budget = wish.budget_tokens()
    if not has_limit:
        made["max_tokens"] += budget
    elif budget >= made["max_tokens"]:
        budget = made["max_tokens"] // 2
    if budget < MIN_THINKING_TOKENS or not messages.has_thinking(made["messages"]):
        dropped += names
        return
    made["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _add_sampling(made: Json, body: Mapping[str, Any], *, generation: Generation, dropped: list[str]) -> None:
    given = [name for name in ("temperature", "top_p", "top_k") if body.get(name) is not None]
    if not generation.has_sampling or "thinking" in made:
        dropped += given
        return
    if not generation.has_both_samplings and "temperature" in given and "top_p" in given:
        given.remove("top_p")
        dropped.append("top_p")
    for name in given:
        # OpenAI's temperature goes to 2, Anthropic's to 1.
        number = leftovers.number(body, name)
        made[name] = min(1.0, number) if name == "temperature" else number


def _add_rest(made: Json, body: Mapping[str, Any], *, dropped: list[str]) -> None:
    stop = body.get("stop")
    words = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    usable = [word for word in words if isinstance(word, str) and word.strip()]  # blank ones are refused
    if usable:
        made["stop_sequences"] = usable
    if len(usable) < len(words):
        dropped.append("stop")
    if isinstance(body.get("user"), str) and body["user"]:
        made["metadata"] = {"user_id": body["user"]}
    tier = body.get("service_tier")
    if tier in _TIERS:
        made["service_tier"] = _TIERS[tier]
    elif tier is not None:
        dropped.append("service_tier")
    if body.get("cache_control"):
        made["cache_control"] = body["cache_control"]


_TIERS = {"auto": "auto", "priority": "auto", "default": "standard_only", "standard_only": "standard_only"}
