"""`POST /v1/embeddings` as a dialect: the texts as messages for whoever looks at them, the answer a list of vectors.
Pure.

Wire format: OpenAI API reference, "Embeddings". A vector is given as the client asked, numbers or the base64 of its
little-endian float32, however it came.
"""

from __future__ import annotations

import binascii
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from gateway import errors
from gateway.context import ChatCall
from gateway.dialects import chat_body, json_body
from gateway.dialects.openai import OPENAI, OPENROUTER, charged
from gateway.dialects.protocol import Dialect, Facts, StreamWriter
from gateway.estimation import EMBEDDINGS as OPERATION
from gateway.native import NativeEvents
from gateway.providers.embeddings.vectors import Vectors
from gateway.providers.protocol import Completion

Json = dict[str, Any]

MOST_INPUTS = 2048
_MOST_DIMENSIONS = 65_536
_MOST_TOKEN = 2**31
_FORMATS = ("float", "base64")
_OWN_FIELDS = ("input", "dimensions", "encoding_format", "stream")


class Embeddings:
    """The embeddings of OpenAI's API; errors are told as `base` does it."""

    is_passed_through = False

    def __init__(self, base: Dialect) -> None:
        self._base = base
        self.name = base.name

    def parse(self, raw: bytes, headers: Mapping[bytes, bytes], *, is_test: bool) -> ChatCall:
        """Return the call.

        Raises:
            errors.InvalidRequest: no or too many inputs, an empty one, or a field of the wrong type.
        """
        body = json_body.decode(raw)
        json_body.model(body)
        given = _input(body.get("input"))
        _check(body)
        texts = [given] if isinstance(given, str) else [one for one in given if isinstance(one, str)]
        rest = {name: value for name, value in body.items() if name not in _OWN_FIELDS}
        spoken = orjson.dumps(rest | {"messages": [{"role": "user", "content": "-"}]})
        call = chat_body.parse_chat(spoken, headers, is_test=is_test, dialect=self.name)
        call.operation = OPERATION
        call.task_type, call.task_source = "embedding", "endpoint"
        call.raw = raw
        call.body = {
            "model": call.requested_model,
            "input": given,
            "dimensions": body.get("dimensions"),
            "encoding_format": body.get("encoding_format") or "float",
            "user": body.get("user"),
            # What guardrails, kept content and sessions read of any call.
            "messages": [{"role": "user", "content": text} for text in texts] or [{"role": "user", "content": ""}],
        }
        _leave_out(call)
        return call

    def answer(self, call: ChatCall, completion: Completion, facts: Facts) -> bytes:
        """Return the list object.

        Raises:
            errors.UpstreamGarbage: there are not as many vectors as inputs.
        """
        assert isinstance(completion, Vectors)
        given = call.body["input"]
        count = 1 if isinstance(given, str) or isinstance(given[0], int) else len(given)
        if len(completion.vectors) != count:
            raise errors.UpstreamGarbage(
                f"The provider sent {len(completion.vectors)} vectors for {count} inputs.", provider=facts.provider
            )
        shape = _as_base64 if call.body["encoding_format"] == "base64" else _as_numbers
        return orjson.dumps(
            {
                "object": "list",
                "id": facts.answer_id,
                "model": facts.model,
                "provider": facts.provider,
                "data": [
                    {"object": "embedding", "index": index, "embedding": shape(vector, facts.provider)}
                    for index, vector in enumerate(completion.vectors)
                ],
                "usage": self._usage(facts),
                **facts.additions,
            }
        )

    def _usage(self, facts: Facts) -> Json:
        """Return the tokens and their cost; an unknown cost is left out, as in every answer."""
        used = facts.usage.get("prompt_tokens", 0)
        usage: Json = {"prompt_tokens": used, "total_tokens": used, "is_byok": facts.is_byok}
        if self._base is OPENROUTER:
            usage |= charged(facts)
        elif facts.cost_usd is not None:
            usage["cost"] = facts.cost_usd
        return usage

    def writer(self, call: ChatCall, facts: Facts, native: NativeEvents | None = None) -> StreamWriter:
        """Raise: vectors are not streamed."""
        raise errors.InvalidRequest("Embeddings are not streamed.", param="stream")

    def error(self, error: errors.GatewayError, request_id: str) -> bytes:
        """Return the error object of OpenAI or OpenRouter."""
        return self._base.error(error, request_id)

    def status(self, error: errors.GatewayError) -> int:
        """Return the error's own status."""
        return self._base.status(error)

    def headers(self, request_id: str) -> bytes:
        """Return none."""
        return b""


def _input(given: Any) -> str | list[Any]:
    """Return the inputs: a text, texts, the tokens of one, or the tokens of several."""
    expected = f"a text, or a list of 1 to {MOST_INPUTS} texts, none of them empty (or tokens in their place)"
    if isinstance(given, str) and given:
        return given
    if not isinstance(given, list) or not given:
        raise json_body.wrong("input", expected)
    if _are_tokens(given):
        return given
    if len(given) > MOST_INPUTS:
        raise json_body.wrong("input", expected)
    if all(isinstance(one, str) and one for one in given):
        return given
    if all(isinstance(one, list) and one and _are_tokens(one) for one in given):
        return given
    raise json_body.wrong("input", expected)


def _are_tokens(given: list[Any]) -> bool:
    return all(type(one) is int and 0 <= one < _MOST_TOKEN for one in given)


def _check(body: Json) -> None:
    dimensions = body.get("dimensions")
    if dimensions is not None and (type(dimensions) is not int or not 0 < dimensions <= _MOST_DIMENSIONS):
        raise json_body.wrong("dimensions", "a whole number above 0")
    if body.get("encoding_format") not in (None, *_FORMATS):
        raise json_body.wrong("encoding_format", "float or base64")
    if body.get("stream"):
        raise errors.InvalidRequest("Embeddings are not streamed.", param="stream", code="unsupported_parameter")
    if body.get("user") is not None and not isinstance(body["user"], str):
        raise json_body.wrong("user", "a string")


def _leave_out(call: ChatCall) -> None:
    """Take out the wishes that vectors cannot follow, and name them."""
    wishes = call.preferences
    if wishes.models:
        wishes = msgspec.structs.replace(wishes, models=())
        call.not_applied += ("models: vectors of different models do not mix",)
    if wishes.cache_ttl_s is not None:
        wishes = msgspec.structs.replace(wishes, cache_ttl_s=None)
        call.not_applied += ("response cache",)
    call.preferences = wishes


def _as_numbers(vector: list[float] | str, provider: str) -> list[float]:
    if not isinstance(vector, str):
        return vector
    try:
        packed = b64decode(vector, validate=True)
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    except (binascii.Error, struct.error):
        raise errors.UpstreamGarbage("The provider sent a vector that cannot be read.", provider=provider) from None


def _as_base64(vector: list[float] | str, provider: str) -> str:
    if isinstance(vector, str):
        return vector
    try:
        return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, TypeError, OverflowError):
        raise errors.UpstreamGarbage("The provider sent a vector that cannot be read.", provider=provider) from None


EMBEDDINGS: Dialect = Embeddings(OPENAI)
OPENROUTER_EMBEDDINGS: Dialect = Embeddings(OPENROUTER)
