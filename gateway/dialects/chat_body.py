"""Read OpenAI's chat body and the headers beside it: what is asked, and who it is charged to. Pure.

The body is checked in one typed pass and not decoded further: a call that is passed through never needs more. A body
with OpenAI's fields only, beside headers that every client sends, asks for nothing else; all others are read by the
tables of `gateway.dialects.compatibility`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import orjson

from gateway import errors, estimation
from gateway.context import NOBODY, NOTHING, Attribution, ChatCall
from gateway.dialects import compatibility, json_body, kairosroute, refusals, values
from gateway.dialects.wishes import Wishes

_MAX_MODEL = 256

_Object = dict[str, Any]
_Raw = msgspec.Raw


class _Message(msgspec.Struct, gc=False):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Raw] | None = None


class _Body(msgspec.Struct, gc=False):
    """The fields whose types we vouch for; all others go to the provider as they are."""

    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    model: str = ""
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
_no_retries = (None, b"0")
_is_inert = compatibility.INERT.issuperset


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
        raise refusals.not_json(str(error), raw) from None
    if not asked.model and not is_plain:
        asked.model = _first_of_models(raw)
    if not asked.model:
        raise errors.InvalidRequest("`model` is missing: name a model, or `auto`.", param="model", code="missing_model")
    if len(asked.model) > _MAX_MODEL:
        raise errors.InvalidRequest(
            f"`model` is longer than {_MAX_MODEL} characters: no model is named like that.", param="model"
        )
    decoded: dict[str, Any] = NOTHING
    if not is_plain:
        decoded = _readable(raw)
    elif _holds_unread(asked):
        _readable(raw)
    json_body.require_shallow(raw, decoded or None)
    if (
        is_plain
        and not asked.kairosroute
        and asked.metadata is None
        and _is_inert(headers)
        and headers.get(b"x-stainless-retry-count") in _no_retries
    ):
        shape = _shape(asked)
        return ChatCall(
            raw=raw,
            dialect=dialect,
            requested_model=asked.model,
            is_stream=asked.stream is True,
            wants_usage=_wants_usage(asked),
            task_type=_task_of(shape),
            task_source="shape",
            attribution=NOBODY if asked.user is None else Attribution(end_user=asked.user[:256]),
            shape=shape,
            is_plain=asked.reasoning_effort is None,
            output_tokens=estimation.output_bound(asked.max_completion_tokens or asked.max_tokens, asked.n),
        )
    return _with_wishes(asked, raw, decoded, headers, is_test=is_test, dialect=dialect, is_plain=is_plain)


def _with_wishes(
    asked: _Body,
    raw: bytes,
    decoded: dict[str, Any],
    headers: Mapping[bytes, bytes],
    *,
    is_test: bool,
    dialect: str,
    is_plain: bool,
) -> ChatCall:
    """Return a call that says more than OpenAI's fields, or may: `decoded` is its body unless that is plain."""
    wishes = Wishes(headers, is_test=is_test)
    compatibility.read_headers(wishes, headers)
    if not compatibility.FIELD_NAMES.isdisjoint(decoded):
        compatibility.read_body(wishes, decoded)
        if not decoded.get("model"):  # the first of `models` stands in its place
            wishes.prefer(models=wishes.asked("models")[1:])
        if not _SECRET_FIELDS.isdisjoint(decoded):
            decoded = _without_secrets(decoded)
            raw = orjson.dumps(decoded)
    if asked.user:
        wishes.name(end_user=asked.user[:256])
    options = NOTHING
    if asked.kairosroute:
        options = kairosroute.decode(asked.kairosroute)
        raw, is_plain = _without_options(decoded or orjson.loads(raw), options, is_test=is_test), False
    if asked.metadata:
        wishes.tag_all(asked.metadata)
        raw = _fit_metadata(wishes, asked.metadata, raw)
    kairosroute.apply(wishes, options)
    task = options.get("task")
    shape = _shape(asked)
    return ChatCall(
        raw=raw,
        dialect=dialect,
        requested_model=wishes.model or asked.model,
        is_stream=asked.stream is True,
        wants_usage=_wants_usage(asked),
        task_type=task[:40] if task else _task_of(shape),
        task_source="request" if task else "shape",
        attribution=wishes.attribution(),
        options=options,
        shape=shape,
        is_plain=is_plain and asked.reasoning_effort is None,
        preferences=wishes.preferences(),
        trace=wishes.trace(),
        not_applied=wishes.not_applied(),
        request_keys=tuple(wishes.request_keys),
        output_tokens=estimation.output_bound(asked.max_completion_tokens or asked.max_tokens, asked.n),
    )


def _first_of_models(raw: bytes) -> str:
    """Return the first of OpenRouter's `models`, which may stand without a `model`; empty where there is none."""
    models = _readable(raw).get("models")
    return models[0] if isinstance(models, list) and models and isinstance(models[0], str) else ""


def _wants_usage(asked: _Body) -> bool:
    return asked.stream_options is not None and asked.stream_options.get("include_usage") is True


def _decode_leniently(raw: bytes) -> _Body:
    try:
        return _decode(raw)
    except msgspec.ValidationError as error:
        raise refusals.wrong(str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise refusals.not_json(str(error), raw) from None


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


def _readable(raw: bytes) -> dict[str, Any]:
    """Return the body decoded. What the typed pass skipped and later steps could not read fails here or not at all.

    Raises:
        errors.InvalidRequest: it is not JSON after all.
    """
    try:
        body: dict[str, Any] = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise refusals.not_json(str(error), raw) from None
    return body


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


def _without_options(body: dict[str, Any], options: Mapping[str, Any], *, is_test: bool) -> bytes:
    """Return the body without our options; a fault that they ask for stands in it for the simulator."""
    rest = {name: value for name, value in body.items() if name != "kairosroute"}
    if "fault" in options:
        if not is_test:
            raise errors.InvalidRequest(
                "`kairosroute.fault` works with test keys only.", param="kairosroute.fault", code="test_key_required"
            )
        rest["kairosroute_fault"] = options["fault"]
    return orjson.dumps(rest)


# Where clients of other gateways put provider keys: they have been read, and stored content must not hold them.
_SECRET_FIELDS = frozenset({"api_key", "providerOptions"})


def _without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _SECRET_FIELDS}


def _fit_metadata(wishes: Wishes, metadata: Mapping[str, Any], raw: bytes) -> bytes:
    """Take LiteLLM's metadata out of the body: OpenAI's holds strings only, and its API refuses anything else."""
    if all(type(value) is str for value in metadata.values()):
        return raw
    tags = metadata.get("tags")
    if isinstance(tags, list):
        for tag in tags:
            if isinstance(tag, str):
                wishes.tag_all(values.pairs(tag))
    body = orjson.loads(raw)
    del body["metadata"]
    return orjson.dumps(body)
