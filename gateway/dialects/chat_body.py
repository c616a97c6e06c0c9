"""Read OpenAI's chat body and the headers beside it: what is asked, and who it is charged to. Pure.

The body is checked in one typed pass and not decoded further: a call that is passed through never needs more. Our own
request options stand in the body's `kairosroute` object or in `X-KairosRoute-*` headers; the body wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import orjson

from gateway import errors, estimation
from gateway.context import NOBODY, NOTHING, Attribution, ChatCall

MAX_DEPTH = 64
_MAX_TAGS = 32
_MAX_TEXT = 256
_MAX_MODEL = 256

_Object = dict[str, Any]
_Raw = msgspec.Raw


class _Message(msgspec.Struct, gc=False):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Raw] | None = None


class _Body(msgspec.Struct, gc=False):
    """The fields whose types we vouch for; all others go to the provider as they are."""

    model: str
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _Object | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    tools: list[_Object] | None = None
    functions: list[_Object] | None = None
    tool_choice: str | _Object | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Object | None = None
    metadata: _Object | None = None
    user: str | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None
    kairosroute: _Raw = _Raw()


class _Options(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Our own options, as documented in docs/reference/api.md."""

    quality_bar: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max_cost_usd: Annotated[float, msgspec.Meta(ge=0)] | None = None
    task: str | None = None
    agent: str | None = None
    feature: str | None = None
    agent_run: str | None = None
    session: str | None = None
    workspace: str | None = None
    tags: _Object | None = None
    experiment: str | None = None
    candidates: list[str] | None = None
    exclude: list[str] | None = None
    baseline: str | None = None
    explain: Literal["none", "summary", "full"] | None = None
    dry_run: bool | None = None
    fault: str | None = None


class _PlainMessage(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: _Raw = _Raw()
    tool_call_id: str | None = None


class _PlainBody(_Body, gc=False, forbid_unknown_fields=True):
    """A body with OpenAI's own fields only: nothing in it needs to be taken out or fitted for OpenAI's providers."""

    messages: Annotated[list[_PlainMessage], msgspec.Meta(min_length=1)]  # type: ignore[assignment]
    logit_bias: _Raw = _Raw()
    modalities: _Raw = _Raw()
    prediction: _Raw = _Raw()
    prompt_cache_key: _Raw = _Raw()
    safety_identifier: _Raw = _Raw()
    store: _Raw = _Raw()
    verbosity: _Raw = _Raw()


_decode_plain = msgspec.json.Decoder(_PlainBody).decode
_decode = msgspec.json.Decoder(_Body).decode
_decode_options = msgspec.json.Decoder(_Options | None).decode
_OPTION_NAMES = ", ".join(sorted(set(_Options.__struct_fields__) - {"fault"}))

_EXPECTED = {
    "model": "the name of a model, or `auto`",
    "messages": "a list with at least one message",
    "messages[].role": "one of system, developer, user, assistant or tool",
    "messages[].content": "a string or a list of parts",
    "stop": "a string or a list of strings",
    "tool_choice": "a string or an object",
    "kairosroute.quality_bar": "a number from 0 to 1",
    "kairosroute.max_cost_usd": "a number of US dollars",
    "kairosroute.explain": "`none`, `summary` or `full`",
}
_TYPE_WORDS = {
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "str": "a string",
    "array": "a list",
    "object": "an object",
}
_PATH = re.compile(r" - at `\$\.?(.*?)`$")
_TYPE = re.compile(r"Expected `([a-z]+)")
_MISSING = re.compile(r"missing required field `(\w+)`")
_UNKNOWN = re.compile(r"unknown field `(.*?)`")
_INDEX = re.compile(r"\[(\d+|\.\.\.)\]")
_POSITION = re.compile(r"\(byte (\d+)\)")

_ATTRIBUTION_HEADERS = (
    b"x-kairosroute-agent",
    b"x-kairosroute-feature",
    b"x-kairosroute-agent-run",
    b"x-kairosroute-session",
    b"x-kairosroute-tags",
    b"x-session-id",
)


def parse_chat(raw: bytes, headers: Mapping[bytes, bytes], *, is_test: bool, dialect: str = "openai") -> ChatCall:
    """Return the call that a chat completions body asks for.

    `is_test` says whether a test key sent it; only those may ask the simulator for faults.

    Raises:
        errors.InvalidRequest: the body is not JSON, too deep, or a field has the wrong type; the message names it.
    """
    is_plain = True
    try:
        asked: _Body = _decode_plain(raw)
    except msgspec.ValidationError:
        asked, is_plain = _decode_leniently(raw), False
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _not_json(str(error), raw) from None
    if not asked.model:
        raise errors.InvalidRequest("`model` is missing: name a model, or `auto`.", param="model", code="missing_model")
    if len(asked.model) > _MAX_MODEL:
        raise errors.InvalidRequest(
            f"`model` is longer than {_MAX_MODEL} characters: no model is named like that.", param="model"
        )
    if not is_plain or _holds_unread(asked):
        _require_readable(raw)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_too_deep(raw):
        raise errors.InvalidRequest(f"The JSON body nests deeper than {MAX_DEPTH} levels.", code="json_too_deep")
    options = NOTHING
    if asked.kairosroute:
        options, raw = _take_options(asked, raw, is_test=is_test)
        is_plain = False
    task = options.get("task")
    shape = _shape(asked)
    return ChatCall(
        raw=raw,
        dialect=dialect,
        requested_model=asked.model,
        is_stream=asked.stream is True,
        wants_usage=asked.stream_options is not None and asked.stream_options.get("include_usage") is True,
        task_type=task[:40] if task else _task_of(shape),
        task_source="request" if task else "shape",
        attribution=_attribution(asked, options, headers),
        options=options,
        shape=shape,
        is_plain=is_plain and asked.reasoning_effort is None,
        output_tokens=estimation.output_bound(asked.max_completion_tokens or asked.max_tokens, asked.n),
    )


def _decode_leniently(raw: bytes) -> _Body:
    try:
        return _decode(raw)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _not_json(str(error), raw) from None


def _holds_unread(asked: Any) -> bool:
    """Return whether a plain body has parts that the typed pass did not look into."""
    return bool(
        asked.kairosroute
        or asked.logit_bias
        or asked.modalities
        or asked.prediction
        or asked.prompt_cache_key
        or asked.safety_identifier
        or asked.store
        or asked.verbosity
        or any(message.tool_calls for message in asked.messages)
    )


def _require_readable(raw: bytes) -> None:
    """Raise for what the typed pass skipped and later steps could not read: a call fails here or not at all."""
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _not_json(str(error), raw) from None


def _shape(asked: _Body) -> dict[str, Any]:
    if asked.response_format is None and not asked.tools and not asked.functions:
        return NOTHING
    found: dict[str, Any] = {}
    if asked.response_format is not None:
        found["response_format"] = asked.response_format
    if asked.tools:
        found["tools"] = asked.tools
    if asked.functions:
        found["functions"] = asked.functions
    return found


def _task_of(shape: Mapping[str, Any]) -> str:
    if not shape:
        return "general"
    if "tools" in shape or "functions" in shape:
        return "tool_calling"
    is_json = shape["response_format"].get("type") in ("json_object", "json_schema")
    return "structured_output" if is_json else "general"


def _take_options(asked: _Body, raw: bytes, *, is_test: bool) -> tuple[dict[str, Any], bytes]:
    """Return our options, and the body without them."""
    try:
        decoded = _decode_options(asked.kairosroute)
    except msgspec.ValidationError as error:
        raise _wrong_option(str(error)) from None
    options: dict[str, Any] = {} if decoded is None else msgspec.to_builtins(decoded)
    body = orjson.loads(raw)
    body.pop("kairosroute", None)
    if "fault" in options:
        if not is_test:
            raise errors.InvalidRequest(
                "`kairosroute.fault` works with test keys only.", param="kairosroute.fault", code="test_key_required"
            )
        body["kairosroute_fault"] = options["fault"]
    return options, orjson.dumps(body)


def _attribution(asked: _Body, options: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Attribution:
    if options is NOTHING and asked.user is None and not asked.metadata:
        for name in _ATTRIBUTION_HEADERS:
            if name in headers:
                break
        else:
            return NOBODY
    tags: dict[str, str] = {}
    if asked.metadata:
        _add_tags(tags, asked.metadata)
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
        end_user=_text(asked.user, None),
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


def _is_too_deep(raw: bytes) -> bool:
    """Walk level by level: each round replaces the containers of one level by those inside them."""
    try:
        level: list[Any] = [orjson.loads(raw)]
    except orjson.JSONDecodeError:
        return True
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for container in level:
            values = container.values() if type(container) is dict else container
            inner += [value for value in values if type(value) is dict or type(value) is list]
        if not inner:
            return False
        level = inner
    return True


# -- from the decoder's words to ours: nothing of the body itself is repeated


def _wrong(message: str) -> errors.InvalidRequest:
    missing = _MISSING.search(message)
    path = _PATH.search(message)
    where = path[1] if path else ""
    name = where
    if missing:
        name = f"{where}.{missing[1]}" if where else missing[1]
    if not name:
        return errors.InvalidRequest("The body must be a JSON object.", code="invalid_json")
    code = f"missing_{missing[1]}" if missing and not where else "invalid_type"
    if name == "messages" and "length" in message:
        code = "missing_messages"
    if name.endswith("].role"):
        code = "invalid_role"
    return errors.InvalidRequest(f"`{name}` must be {_expected(name, message)}.", param=name, code=code)


def _expected(name: str, message: str) -> str:
    known = _EXPECTED.get(_INDEX.sub("[]", name))
    if known:
        return known
    found = _TYPE.search(message)
    return _TYPE_WORDS.get(found[1], "of another type") if found else "of another type"


def _wrong_option(message: str) -> errors.InvalidRequest:
    unknown = _UNKNOWN.search(message)
    if unknown:
        return errors.InvalidRequest(
            f"`kairosroute.{unknown[1][:64]}` is not an option. Options are: {_OPTION_NAMES}.",
            param=f"kairosroute.{unknown[1][:64]}",
            code="unknown_option",
        )
    path = _PATH.search(message)
    name = f"kairosroute.{path[1]}" if path and path[1] else "kairosroute"
    return errors.InvalidRequest(f"`{name}` must be {_expected(name, message)}.", param=name, code="invalid_type")


def _not_json(message: str, raw: bytes) -> errors.InvalidRequest:
    if not raw:
        return errors.InvalidRequest("The request has no body. Send a JSON object.", code="invalid_json")
    if "recursion" in message.lower():
        return errors.InvalidRequest(f"The JSON body nests deeper than {MAX_DEPTH} levels.", code="json_too_deep")
    position = _POSITION.search(message)
    where = f" (byte {position[1]})" if position else ""
    return errors.InvalidRequest(f"The body is not valid JSON{where}.", code="invalid_json")
