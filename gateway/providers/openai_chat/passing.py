"""Pass an exact provider's whole answer through: its own bytes, our model name, the cost and the receipt put in.

One typed pass tells whether the answer already has the one shape; where it has not, `response.read` takes over. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import orjson

from gateway.providers.openai_chat import response
from gateway.providers.protocol import Completion, Endpoint, Usage


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    audio_tokens: int = 0


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int = 0
    audio_tokens: int = 0


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _InputDetails
    completion_tokens_details: _OutputDetails


class _Message(msgspec.Struct, gc=False):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    # An answer that calls tools may need its arguments completed: it is read the long way.
    tool_calls: msgspec.UnsetType = msgspec.UNSET
    function_call: msgspec.UnsetType = msgspec.UNSET


class _Choice(msgspec.Struct, gc=False):
    index: int
    message: _Message
    logprobs: msgspec.Raw
    finish_reason: Literal["stop", "length", "content_filter"]
    native_finish_reason: msgspec.UnsetType = msgspec.UNSET


class _Answer(msgspec.Struct, gc=False):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[_Choice]
    usage: _Usage
    system_fingerprint: str
    service_tier: str = ""
    provider: msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Answer).decode


class PassedCompletion(Completion):
    """An answer that keeps the provider's bytes; `body` is decoded only when somebody asks for it."""

    __slots__ = ("_answer", "_data", "_endpoint")

    def __init__(self, data: bytes, answer: _Answer, endpoint: Endpoint, usage: Usage) -> None:
        reason = answer.choices[0].finish_reason
        super().__init__(NOT_DECODED, usage, reason, reason, answer.service_tier)
        self._data = data
        self._answer = answer
        self._endpoint = endpoint

    @property
    def body(self) -> dict[str, Any]:
        """The answer decoded and completed as `response.read` does it."""
        return response.read(self._data, endpoint=self._endpoint).body

    @property
    def message(self) -> Mapping[str, Any]:
        """What the signals read of the first choice's message."""
        message = self._answer.choices[0].message
        return {"content": message.content, "refusal": message.refusal}

    def answer(
        self,
        *,
        provider: str,
        cost_usd: float | None,
        is_byok: bool,
        x_kairosroute: Mapping[str, Any],
        cost_details: Mapping[str, Any] | None = None,
        answer_id: str = "",
    ) -> bytes:
        """Return the provider's bytes with our model name, the native reason, the cost and the receipt put in."""
        data = self._data
        if answer_id and data.count(b'"id":') != 1:  # something in it has an id too
            return response.read(data, endpoint=self._endpoint).answer(
                provider=provider,
                cost_usd=cost_usd,
                is_byok=is_byok,
                x_kairosroute=x_kairosroute,
                cost_details=cost_details,
                answer_id=answer_id,
            )
        name, name_end = _string_after(data, b'"model":')
        _, reason_end = _string_after(data, b'"finish_reason":')
        usage = data.find(b"{", data.find(b'"usage":') + 8) + 1
        end = data.rindex(b"}")
        native = b',"native_finish_reason":"%b"' % self.native_finish_reason.encode()
        cost = b'"is_byok":true,' if is_byok else b'"is_byok":false,'
        if cost_usd is not None:
            cost = b'"cost":%b,%b' % (orjson.dumps(cost_usd), cost)
        if cost_details is not None:
            cost += b'"cost_details":%b,' % orjson.dumps(cost_details)
        tail = b',"provider":%b' % orjson.dumps(provider)
        tail += b',"x_kairosroute":%b}' % orjson.dumps(x_kairosroute) if x_kairosroute else b"}"
        if name < reason_end < usage and not answer_id:  # as OpenAI orders them
            model = orjson.dumps(self._endpoint.model)
            between, rest = data[name_end:reason_end], data[reason_end:usage]
            return b"".join((data[:name], model, between, native, rest, cost, data[usage:end], tail))
        changes = [
            (name, name_end, orjson.dumps(self._endpoint.model)),
            (reason_end, reason_end, native),
            (usage, usage, cost),
        ]
        if answer_id:
            changes.append((*_string_after(data, b'"id":'), orjson.dumps(answer_id)))
        parts: list[bytes] = []
        at = 0
        # Providers order their fields as they like.
        for start, stop, new in sorted(changes):
            parts += (data[at:start], new)
            at = stop
        return b"".join((*parts, data[at:end], tail))


def _string_after(data: bytes, key: bytes) -> tuple[int, int]:
    """Return where the string value of a key begins and ends, its quotes included."""
    start = data.find(b'"', data.find(key) + len(key))
    return start, data.find(b'"', start + 1) + 1


NOT_DECODED: dict[str, Any] = {}


def read(data: bytes, *, endpoint: Endpoint) -> PassedCompletion | None:
    """Return the answer for passing through, None when it needs completing or is no answer at all."""
    # A key inside a string would be escaped, so one occurrence is the top-level field.
    if (
        data.count(b'"model":') != 1
        or data.count(b'"usage":') != 1
        or data.count(b'"finish_reason":') != 1
        or b'"cost":' in data
    ):
        return None
    try:
        answer = _decode(data)
    except msgspec.DecodeError:
        return None
    if len(answer.choices) != 1 or "\\" in answer.model or '"' in answer.model:
        return None
    counted = answer.usage
    cached, written = counted.prompt_tokens_details.cached_tokens, counted.prompt_tokens_details.cache_write_tokens
    reasoning = counted.completion_tokens_details.reasoning_tokens
    audio_in, audio_out = counted.prompt_tokens_details.audio_tokens, counted.completion_tokens_details.audio_tokens
    # Counts that contradict each other are put right by the long way.
    if (
        min(cached, written, reasoning, audio_in, audio_out) < 0
        or cached + written > counted.prompt_tokens
        or reasoning > counted.completion_tokens
        or audio_in > counted.prompt_tokens
        or audio_out > counted.completion_tokens
    ):
        return None
    usage = Usage(
        input_tokens=counted.prompt_tokens,
        cached_read_tokens=cached,
        cache_write_tokens=written,
        output_tokens=counted.completion_tokens,
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_in,
        audio_output_tokens=audio_out,
    )
    return PassedCompletion(data, answer, endpoint, usage)
