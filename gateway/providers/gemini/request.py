"""Build a generateContent request from a canonical body. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from gateway.errors import InvalidRequest
from gateway.providers import authorization, calling, fields, leftovers
from gateway.providers.gemini import contents
from gateway.providers.protocol import Endpoint, UpstreamRequest

Json = dict[str, Any]

_PLAIN = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_CARRIED = frozenset(
    {
        *_PLAIN,
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "tools",
        "tool_choice",
        "response_format",
        "service_tier",
        "functions",
        "function_call",
        *fields.REASONING,
    }
)
_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_TIERS = {"flex": "flex", "priority": "priority", "default": "standard", "standard": "standard", "auto": ""}
MAX_STOPS = 5
LEAST_PRO_BUDGET = 128  # Gemini 2.5 Pro cannot stop thinking


def build(body: Mapping[str, Any], *, endpoint: Endpoint, is_stream: bool) -> UpstreamRequest:
    """Return the request.

    Raises:
        InvalidRequest: the body asks for what the protocol cannot say.
    """
    match = _VERSION.search(endpoint.upstream_model)
    generation = int(match[1]) if match else 2
    dropped = leftovers.dropped(body, carried=_CARRIED)
    system, said = contents.split(body.get("messages") or [], needs_signatures=generation >= 3)
    made: Json = {"contents": said}
    if system:
        made["systemInstruction"] = {"parts": system}
    _add_tools(made, body)
    config: Json = {}
    _add_sampling(config, body, dropped=dropped)
    _add_format(config, body, has_tools="tools" in made, generation=generation, dropped=dropped)
    _add_thinking(config, body, model=endpoint.upstream_model, generation=generation, dropped=dropped)
    if config:
        made["generationConfig"] = config
    tier = _TIERS.get(str(body.get("service_tier") or "auto"))
    if tier:
        made["serviceTier"] = tier
    elif tier is None:
        dropped.append("service_tier")
    method = "streamGenerateContent?alt=sse" if is_stream else "generateContent"
    path = f"/models/{quote(endpoint.upstream_model, safe='')}:{method}"
    headers = (("content-type", "application/json"), *authorization.headers(endpoint))
    return UpstreamRequest(path, headers, orjson.dumps(made), tuple(dict.fromkeys(dropped)))


def _add_tools(made: Json, body: Mapping[str, Any]) -> None:
    functions = calling.functions(body)
    if not functions:
        return
    choice = calling.choice(body)
    if choice.names and choice.mode == "auto":
        functions = [function for function in functions if function["name"] in choice.names]
    made["tools"] = [{"functionDeclarations": [_declaration(function) for function in functions]}]
    if choice.is_given:
        wanted: Json = {"mode": {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]}
        if choice.mode == "required" and choice.names:
            wanted["allowedFunctionNames"] = list(choice.names)
        made["toolConfig"] = {"functionCallingConfig": wanted}


def _declaration(function: Json) -> Json:
    declared: Json = {"name": function["name"]}
    if function.get("description"):
        declared["description"] = function["description"]
    parameters = function.get("parameters")
    if parameters and parameters.get("properties"):  # an object without properties is refused
        declared["parametersJsonSchema"] = parameters
    return declared


def _add_sampling(config: Json, body: Mapping[str, Any], *, dropped: list[str]) -> None:
    for name, theirs in _PLAIN.items():
        if body.get(name) is not None and not (name == "n" and body[name] == 1):
            config[theirs] = leftovers.number(body, name)
    limit = leftovers.output_limit(body)
    if limit is not None:
        config["maxOutputTokens"] = limit
    stop = body.get("stop")
    words = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    usable = [word for word in words if isinstance(word, str) and word][:MAX_STOPS]
    if usable:
        config["stopSequences"] = usable
    if len(usable) < len(words):
        dropped.append("stop")


def _add_format(config: Json, body: Mapping[str, Any], *, has_tools: bool, generation: int, dropped: list[str]) -> None:
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in ("json_schema", "json_object") or not isinstance(wanted, dict):
        return
    if has_tools and generation < 3:  # refused together by Gemini 2.5
        dropped.append("response_format")
        return
    config["responseMimeType"] = "application/json"
    if kind == "json_schema":
        schema = (wanted.get("json_schema") or {}).get("schema")
        if not isinstance(schema, dict):
            raise InvalidRequest("A schema is needed.", param="response_format.json_schema.schema")
        config["responseJsonSchema"] = schema


def _add_thinking(config: Json, body: Mapping[str, Any], *, model: str, generation: int, dropped: list[str]) -> None:
    wish = fields.reasoning(body)
    if wish is None:
        return
    if wish.is_off:
        if generation >= 3:
            config["thinkingConfig"] = {"thinkingLevel": "MINIMAL" if "flash" in model else "LOW"}
            if "flash" not in model:  # the nearest that these models can do is not what was asked for
                dropped.extend(name for name in fields.REASONING if body.get(name) is not None)
        else:
            config["thinkingConfig"] = {"thinkingBudget": LEAST_PRO_BUDGET if "pro" in model else 0}
        return
    made: Json = {"includeThoughts": not wish.is_hidden}
    if generation >= 3:
        made["thinkingLevel"] = {"xhigh": "HIGH", "max": "HIGH"}.get(wish.effort_word(), wish.effort_word().upper())
    else:
        made["thinkingBudget"] = wish.budget_tokens()
    config["thinkingConfig"] = made
