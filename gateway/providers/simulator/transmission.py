"""Put a simulated answer on the wire: status, headers and a schedule of bytes, faults included. Pure.

Nothing here waits: the I/O shell sleeps between the parts of the schedule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from gateway.providers import shape
from gateway.providers.protocol import Usage
from gateway.providers.simulator import answer as answers
from gateway.providers.simulator import faults, prose, tokens, vectors

Json = dict[str, Any]

PROVIDER = "simulator"
SYSTEM_FINGERPRINT = "fp_simulated"

_JSON = (("content-type", "application/json"), ("x-simulated", "true"))
_EVENTS = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), ("x-simulated", "true"))
_ERROR_WORDS = {
    400: ("invalid_request_error", "invalid_request"),
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", "permission_denied"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    503: ("server_error", "overloaded"),
    529: ("server_error", "overloaded"),
}


class SimulatedDisconnect(ConnectionError):
    """The simulated provider breaks the connection here; the I/O shell treats it as a reset."""


@dataclass(frozen=True, slots=True)
class SimulatedAnswer:
    """A simulated HTTP answer. `parts` are (seconds to wait, bytes); None for bytes means a broken connection.

    `outcome` names what was done, for journals: `ok` or the fault's word.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    parts: tuple[tuple[float, bytes | None], ...] = field(repr=False)
    outcome: str = "ok"
    usage: Usage = field(default=Usage(), repr=False)

    def schedule(self, *, scale: float = 1.0) -> Iterator[tuple[float, bytes]]:
        """Yield (seconds to wait before, bytes).

        Waits of the model are multiplied by `scale`; with 0 everything goes out at once. Waits that a fault asks for
        are not scaled: they are the point of it.

        Raises:
            SimulatedDisconnect: where the fault breaks the connection.
        """
        held: list[bytes] = []
        for wait, data in self.parts:
            seconds = wait if self.outcome in _WAITING and wait >= _FAULT_WAIT else wait * scale
            if data is None or seconds > 0:
                if held:
                    yield 0.0, b"".join(held)
                    held = []
                if data is None:
                    raise SimulatedDisconnect("The simulated provider closed the connection.")
                yield seconds, data
            else:
                held.append(data)
        if held:
            yield 0.0, b"".join(held)

    def body(self) -> bytes:
        """Return all bytes at once, as far as they get."""
        return b"".join(data for _, data in self.parts if data is not None)


_WAITING = frozenset({"timeout", "stall", "slow_first_token"})
_FAULT_WAIT = 0.0


def send(
    body: Mapping[str, Any], *, model: str, is_stream: bool, created: int = 0, has_faults: bool = True
) -> SimulatedAnswer:
    """Answer a canonical chat body as an OpenAI-shaped provider would.

    Args:
        model: the upstream model's name; its words set strength and speed.
        created: the `created` stamp, seconds since the epoch.
        has_faults: whether marks and the fault field are obeyed.
    """
    fault = faults.wanted(body) if has_faults else faults.NONE
    if fault.status != 200:
        return _refused(fault)
    answer = answers.compose(body, model=model, fault=fault)
    if fault.kind == "timeout":
        return SimulatedAnswer(200, _EVENTS if is_stream else _JSON, ((_seconds(fault), b""),), "timeout", answer.usage)
    parts = (
        _stream(answer, body, created=created, fault=fault)
        if is_stream
        else _whole(answer, created=created, fault=fault)
    )
    return SimulatedAnswer(200, _EVENTS if is_stream else _JSON, tuple(parts), fault.kind or "ok", answer.usage)


def embed(request: Mapping[str, Any]) -> SimulatedAnswer:
    """Answer a request for embeddings as an OpenAI-shaped provider would, at once."""
    return SimulatedAnswer(200, _JSON, ((0.0, vectors.answer(request)),))


def _seconds(fault: faults.Fault, default: float = faults.NEVER_SECONDS) -> float:
    return default if fault.seconds is None else fault.seconds


def _refused(fault: faults.Fault) -> SimulatedAnswer:
    kind, code = _ERROR_WORDS.get(
        fault.status, ("server_error" if fault.status >= 500 else "invalid_request_error", None)
    )
    error = {
        "message": f"{prose.MARK} The simulator was asked for status {fault.status}.",
        "type": kind,
        "param": None,
        "code": code,
    }
    headers: tuple[tuple[str, str], ...] = _JSON
    if fault.status == 429 or fault.retry_after is not None:
        headers += (("retry-after", f"{1 if fault.retry_after is None else fault.retry_after:g}"),)
    return SimulatedAnswer(fault.status, headers, ((0.0, orjson.dumps({"error": error})),), fault.kind)


def _head(answer: answers.Answer, *, kind: str, created: int) -> Json:
    return {"id": f"chatcmpl-sim{answer.fingerprint[:24]}", "object": kind, "created": created, "model": answer.model}


def _labels(answer: answers.Answer) -> Json:
    return {"provider": PROVIDER, "service_tier": answer.service_tier, "system_fingerprint": SYSTEM_FINGERPRINT}


def _whole(answer: answers.Answer, *, created: int, fault: faults.Fault) -> Iterator[tuple[float, bytes | None]]:
    choices = [
        {"index": index, "message": choice.message(), "logprobs": None, "finish_reason": choice.finish_reason}
        for index, choice in enumerate(answer.choices)
    ]
    body = {**_head(answer, kind="chat.completion", created=created), "choices": choices}
    if fault.kind != "no_usage":
        body["usage"] = shape.usage_body(answer.usage)
    written = orjson.dumps(body | _labels(answer))
    visible = answer.usage.output_tokens - answer.usage.reasoning_tokens
    wait = answer.first_token_seconds + visible * answer.seconds_per_token
    half = written[: len(written) // 2]
    match fault.kind:
        case "slow_first_token":
            yield _seconds(fault, 10.0), written
        case "stall":
            yield wait, half
            yield _seconds(fault), written[len(half) :]
        case "truncate":
            yield wait, half
        case "disconnect":
            yield wait, half
            yield 0.0, None
        case "malformed":
            yield wait, half + b"<malformed>"
        case "error_event":
            yield wait, orjson.dumps({"error": _stream_error()})
        case _:
            yield wait, written


def _stream(
    answer: answers.Answer, body: Mapping[str, Any], *, created: int, fault: faults.Fault
) -> Iterator[tuple[float, bytes | None]]:
    options = body.get("stream_options")
    wants_usage = isinstance(options, dict) and options.get("include_usage") is True and fault.kind != "no_usage"
    head = _head(answer, kind="chat.completion.chunk", created=created) | _labels(answer)
    tail: Json = {"usage": None} if wants_usage else {}
    sent = 0
    for index, choice in enumerate(answer.choices):
        for delta in _deltas(choice, Random(answer.fingerprint)):  # noqa: S311 - reproducible, not secret
            if sent == fault.after_chunks and fault.kind in _BREAKS:
                yield from _broken(fault)
                if fault.kind not in ("malformed", "stall"):
                    return
            wait = answer.seconds_per_token * tokens.count(_spoken(delta))
            if sent == 0:
                wait = _seconds(fault, 10.0) if fault.kind == "slow_first_token" else answer.first_token_seconds
            elif fault.kind == "slow_first_token":
                wait = 0.0
            yield wait, _event({**head, "choices": [_part(index, delta, None)], **tail})
            sent += 1
        if fault.kind in _BREAKS and sent <= fault.after_chunks:  # a short answer breaks at its end
            yield from _broken(fault)
            if fault.kind not in ("malformed", "stall"):
                return
        yield 0.0, _event({**head, "choices": [_part(index, {}, choice.finish_reason)], **tail})
    if wants_usage:
        yield 0.0, _event({**head, "choices": [], "usage": shape.usage_body(answer.usage)})
    yield 0.0, b"data: [DONE]\n\n"


_BREAKS = frozenset({"stall", "truncate", "disconnect", "malformed", "error_event"})


def _broken(fault: faults.Fault) -> Iterator[tuple[float, bytes | None]]:
    match fault.kind:
        case "stall":
            yield _seconds(fault), b": stalled\n\n"
        case "disconnect":
            yield 0.0, None
        case "malformed":
            yield 0.0, b'data: {"choices": [{"delta": {"content": "broken\n\n'
        case "error_event":
            yield 0.0, _event({"error": _stream_error()})


def _stream_error() -> Json:
    return {
        "message": f"{prose.MARK} The simulated provider is overloaded.",
        "type": "server_error",
        "code": "overloaded",
        "param": None,
    }


def _part(index: int, delta: Json, finish: str | None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _event(chunk: Json) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _spoken(delta: Json) -> str:
    calls = delta.get("tool_calls")
    if calls:
        return str(calls[0]["function"].get("arguments", ""))
    return delta.get("content") or delta.get("reasoning_content") or delta.get("refusal") or ""


def _deltas(choice: answers.Choice, rng: Random) -> Iterator[Json]:
    yield {"role": "assistant", "content": None if choice.tool_calls else "", "refusal": None}
    for piece in prose.pieces(choice.reasoning, rng=rng):
        yield {"reasoning_content": piece}
    for index, call in enumerate(choice.tool_calls):
        name = {"name": call["function"]["name"], "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": name}]}
        arguments = call["function"]["arguments"]
        for start in range(0, len(arguments), 12):
            yield {"tool_calls": [{"index": index, "function": {"arguments": arguments[start : start + 12]}}]}
    for piece in prose.pieces(choice.refusal or "", rng=rng):
        yield {"refusal": piece}
    for piece in prose.pieces(choice.content or "", rng=rng):
        yield {"content": piece}
