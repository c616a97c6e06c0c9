"""Read what an OpenAI client sends: the chat body, and who it is charged to. Pure.

Our own request options stand in the body's `kairosroute` object or in `X-KairosRoute-*` headers; the body wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway import errors
from gateway.context import Attribution, ChatCall

MAX_DEPTH = 64
_MAX_TAGS = 32
_MAX_TEXT = 256

_NUMBER = (int, float)
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "messages": ((list,), "a list of messages"),
    "model": ((str,), "a string"),
    "stream": ((bool,), "true or false"),
    "stream_options": ((dict,), "an object"),
    "temperature": (_NUMBER, "a number"),
    "top_p": (_NUMBER, "a number"),
    "n": ((int,), "a whole number"),
    "max_tokens": ((int,), "a whole number"),
    "max_completion_tokens": ((int,), "a whole number"),
    "stop": ((str, list), "a string or a list of strings"),
    "tools": ((list,), "a list of tools"),
    "tool_choice": ((str, dict), "a string or an object"),
    "parallel_tool_calls": ((bool,), "true or false"),
    "response_format": ((dict,), "an object"),
    "metadata": ((dict,), "an object"),
    "user": ((str,), "a string"),
    "seed": ((int,), "a whole number"),
    "logprobs": ((bool,), "true or false"),
    "top_logprobs": ((int,), "a whole number"),
    "frequency_penalty": (_NUMBER, "a number"),
    "presence_penalty": (_NUMBER, "a number"),
    "reasoning_effort": ((str,), "a string"),
    "service_tier": ((str,), "a string"),
    "kairosroute": ((dict,), "an object"),
}
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_OPTION_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "quality_bar": (_NUMBER, "a number from 0 to 1"),
    "max_cost_usd": (_NUMBER, "a number of US dollars"),
    "task": ((str,), "a string"),
    "agent": ((str,), "a string"),
    "feature": ((str,), "a string"),
    "agent_run": ((str,), "a string"),
    "session": ((str,), "a string"),
    "workspace": ((str,), "a string"),
    "tags": ((dict,), "an object of strings"),
    "experiment": ((str,), "an experiment's id, or `off`"),
    "candidates": ((list,), "a list of model names"),
    "exclude": ((list,), "a list of model names"),
    "baseline": ((str,), "a model name"),
    "explain": ((str,), "`none`, `summary` or `full`"),
    "dry_run": ((bool,), "true or false"),
    "fault": ((str,), "a string"),
}
_OPTION_NAMES = ", ".join(sorted(set(_OPTION_TYPES) - {"fault"}))


def parse_chat(raw: bytes, headers: Mapping[bytes, bytes], *, is_test: bool) -> ChatCall:
    """Return the call that a chat completions body asks for.

    `is_test` says whether a test key sent it; only those may ask the simulator for faults.

    Raises:
        errors.InvalidRequest: the body is not JSON, too deep, or a field has the wrong type; the message names it.
    """
    body = _load(raw)
    for name, value in body.items():
        expected = _TYPES.get(name)
        if expected is not None and value is not None and not _is(value, expected[0]):
            raise errors.InvalidRequest(f"`{name}` must be {expected[1]}.", param=name, code="invalid_type")
    model = body.get("model")
    if not model:
        raise errors.InvalidRequest("`model` is missing: name a model, or `auto`.", param="model", code="missing_model")
    _check_messages(body.get("messages"))
    options: dict[str, Any] = {}
    if "kairosroute" in body:
        options = body.pop("kairosroute") or {}
        _check_options(options)
        if "fault" in options and not is_test:
            raise errors.InvalidRequest(
                "`kairosroute.fault` works with test keys only.", param="kairosroute.fault", code="test_key_required"
            )
        if "fault" in options:
            body["kairosroute_fault"] = options["fault"]
        raw = orjson.dumps(body)  # the client's bytes no longer say what goes to the provider
    stream_options = body.get("stream_options")
    task = options.get("task") or ""
    return ChatCall(
        raw=raw,
        body=body,
        requested_model=model,
        is_stream=body.get("stream") is True,
        wants_usage=stream_options is not None and stream_options.get("include_usage") is True,
        task_type=task[:40] or _task_of_shape(body),
        task_source="request" if task else "shape",
        attribution=_attribution(body, options, headers),
        options=options,
    )


def _load(raw: bytes) -> dict[str, Any]:
    if not raw:
        raise errors.InvalidRequest("The request has no body. Send a JSON object.", code="invalid_json")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise errors.InvalidRequest(
            f"The body is not valid JSON (line {error.lineno}, column {error.colno}).", code="invalid_json"
        ) from None
    if type(body) is not dict:
        raise errors.InvalidRequest("The body must be a JSON object.", code="invalid_json")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_too_deep(body):
        raise errors.InvalidRequest(f"The JSON body nests deeper than {MAX_DEPTH} levels.", code="json_too_deep")
    return body


def _is_too_deep(body: dict[str, Any]) -> bool:
    """Walk level by level: each round replaces the containers of one level by those inside them."""
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for container in level:
            values = container.values() if type(container) is dict else container
            inner += [value for value in values if type(value) is dict or type(value) is list]
        if not inner:
            return False
        level = inner
    return True


def _is(value: object, types: tuple[type, ...]) -> bool:
    if type(value) is bool:
        return bool in types
    return isinstance(value, types)


def _check_messages(messages: object) -> None:
    if not messages or type(messages) is not list:
        raise errors.InvalidRequest(
            "`messages` must be a list with at least one message.", param="messages", code="missing_messages"
        )
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise errors.InvalidRequest(
                f"`messages[{index}]` must be an object.", param=f"messages[{index}]", code="invalid_type"
            )
        if message.get("role") not in _ROLES:
            raise errors.InvalidRequest(
                f"`messages[{index}].role` must be one of system, developer, user, assistant or tool.",
                param=f"messages[{index}].role",
                code="invalid_role",
            )
        content = message.get("content")
        if content is not None and type(content) is not str and type(content) is not list:
            raise errors.InvalidRequest(
                f"`messages[{index}].content` must be a string or a list of parts.",
                param=f"messages[{index}].content",
                code="invalid_type",
            )


def _check_options(options: dict[str, Any]) -> None:
    for name, value in options.items():
        expected = _OPTION_TYPES.get(name)
        if expected is None:
            raise errors.InvalidRequest(
                f"`kairosroute.{name}` is not an option. Options are: {_OPTION_NAMES}.",
                param=f"kairosroute.{name}",
                code="unknown_option",
            )
        if value is not None and not _is(value, expected[0]):
            raise errors.InvalidRequest(
                f"`kairosroute.{name}` must be {expected[1]}.", param=f"kairosroute.{name}", code="invalid_type"
            )


def _task_of_shape(body: dict[str, Any]) -> str:
    if body.get("tools"):
        return "tool_calling"
    response_format = body.get("response_format")
    if response_format is not None and response_format.get("type") in {"json_object", "json_schema"}:
        return "structured_output"
    return "general"


def _attribution(body: dict[str, Any], options: dict[str, Any], headers: Mapping[bytes, bytes]) -> Attribution:
    tags: dict[str, str] = {}
    metadata = body.get("metadata")
    if metadata:
        _add_tags(tags, metadata)
    header_tags = headers.get(b"x-kairosroute-tags")
    if header_tags:
        _add_tags(tags, _header_tags(header_tags))
    if options.get("tags"):
        _add_tags(tags, options["tags"])
    return Attribution(
        agent=_text(options.get("agent"), headers.get(b"x-kairosroute-agent")),
        feature=_text(options.get("feature"), headers.get(b"x-kairosroute-feature")),
        agent_run=_text(options.get("agent_run"), headers.get(b"x-kairosroute-agent-run")),
        session=_text(options.get("session"), headers.get(b"x-kairosroute-session") or headers.get(b"x-session-id")),
        end_user=_text(body.get("user"), None),
        tags=tags,
    )


def _text(value: str | None, header: bytes | None) -> str:
    if value:
        return value[:_MAX_TEXT]
    return header.decode("utf-8", "replace")[:_MAX_TEXT] if header else ""


def _add_tags(tags: dict[str, str], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if len(tags) >= _MAX_TAGS:
            return
        if type(value) in (str, int, float, bool):
            tags[name[:64]] = str(value)[:_MAX_TEXT]


def _header_tags(value: bytes) -> dict[str, str]:
    """Read `name=value,name=value`, or a JSON object."""
    text = value.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
