"""Serve the simulator over HTTP in three protocols: a small raw ASGI app with a journal of what it was asked.

What is answered is made by `gateway.providers.simulator`; here it is paced, cut and counted. Paths:

    POST /v1/chat/completions                                   OpenAI
    POST /v1/messages, /anthropic/v1/messages                   Anthropic
    POST /v1beta/models/{model}:generateContent and :streamGenerateContent      Gemini
    GET  /v1/models · GET /_journal · DELETE /_journal
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

import orjson

from gateway.providers import shape, simulator
from gateway.providers.protocol import Usage
from gateway.providers.simulator import anthropic_wire, gemini_wire

Json = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Json]]
Send = Callable[[Json], Awaitable[None]]

BODY_LIMIT_BYTES = 64 * 1024 * 1024
JOURNAL_LIMIT = 100_000

_GEMINI_PATH = re.compile(r"/v1(?:beta|alpha)?/models/([^/:]+):(generateContent|streamGenerateContent)")
_MARK = re.compile(r"\[\[id:([\w.-]{1,64})\]\]")


class _Writer(Protocol):
    def write(self, data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Protocol:
    """What differs by protocol: the request's way in, and the ways of errors, bodies and streams out."""

    name: str
    canonical: Callable[[Json], Json]
    error: Callable[[int, bytes], bytes]
    whole: Callable[[bytes], bytes]
    writer: Callable[[Usage], _Writer] | None = None


_WANTS_ANOTHER_KEY = "The simulator wants another key."
_OPENAI = _Protocol("openai_chat", lambda body: body, lambda status, body: body, lambda body: body)
_ANTHROPIC = _Protocol(
    "anthropic_messages",
    anthropic_wire.canonical,
    anthropic_wire.error,
    anthropic_wire.whole,
    anthropic_wire.StreamWriter,
)
_GEMINI = _Protocol("gemini", gemini_wire.canonical, gemini_wire.error, gemini_wire.whole, gemini_wire.StreamWriter)
_PATHS = {
    "/v1/chat/completions": _OPENAI,
    "/chat/completions": _OPENAI,
    "/v1/messages": _ANTHROPIC,
    "/anthropic/v1/messages": _ANTHROPIC,
}


class Journal:
    """What was asked and how it ended, the last `JOURNAL_LIMIT` calls; counts are of all calls."""

    def __init__(self, *, limit: int = JOURNAL_LIMIT) -> None:
        self._entries: deque[Json] = deque(maxlen=limit)
        self._counts: Counter[str] = Counter()
        self._total = 0

    def open(self, **facts: Any) -> Json:
        """Enter a call; its `outcome` is `open` until `close`."""
        self._total += 1
        entry: Json = {"id": f"sim_{self._total:06d}", **facts, "outcome": "open"}
        self._entries.append(entry)
        return entry

    def close(self, entry: Json, outcome: str) -> None:
        """Write how a call ended."""
        entry["outcome"] = outcome
        self._counts[outcome] += 1

    def clear(self) -> None:
        """Forget everything but the running number."""
        self._entries.clear()
        self._counts.clear()

    def report(self, *, limit: int) -> Json:
        """Return counts by outcome and the newest `limit` entries, oldest first."""
        entries = list(self._entries)[-limit:] if limit else []
        return {"total": self._total, "counts": dict(self._counts), "entries": entries}


class SimulatorServer:
    """The ASGI app. `scale` multiplies the model's waits; `has_flaws` lets models make their own mistakes."""

    def __init__(
        self,
        *,
        models: Iterable[str] = (),
        required_key: str = "",
        scale: float = 1.0,
        has_faults: bool = True,
        has_flaws: bool = False,
    ) -> None:
        self.journal = Journal()
        self._models = sorted(set(models))
        self._required_key = required_key
        self._scale = scale
        self._has_faults = has_faults
        self._has_flaws = has_flaws

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; websockets and lifespan are none of ours."""
        if scope["type"] != "http":
            return
        path, method = scope["path"].rstrip("/"), scope["method"]
        if path == "/_journal" and method in ("GET", "DELETE"):
            await self._journal(scope, send)
            return
        if path == "/v1/models" and method == "GET":
            if self._is_welcome(scope):
                await _send_json(send, 200, orjson.dumps(self._model_list()))
            else:
                await _send_json(send, 401, _OPENAI.error(401, _error(_WANTS_ANOTHER_KEY, "invalid_api_key")))
            return
        found = _GEMINI_PATH.fullmatch(unquote(path))
        protocol = _GEMINI if found else _PATHS.get(path)
        if protocol is None or method != "POST":
            await _send_json(send, 404, _error("The simulator serves no such path.", "not_found"))
            return
        if not self._is_welcome(scope):
            await _send_json(send, 401, protocol.error(401, _error(_WANTS_ANOTHER_KEY, "invalid_api_key")))
            return
        body = await _read(receive)
        request = _decoded(body, protocol)
        if request is None:
            await _send_json(
                send, 400, protocol.error(400, _error("The request is not understood.", "invalid_request"))
            )
            return
        if found:
            request |= {"model": found[1], "stream": found[2] == "streamGenerateContent"}
        if protocol is not _OPENAI and request.get("stream"):
            request["stream_options"] = {"include_usage": True}
        await self._answer(request, protocol, scope, receive, send)

    def _is_welcome(self, scope: Scope) -> bool:
        """Return whether the request brings the key that is wanted, if one is."""
        wanted = self._required_key
        return not wanted or hmac.compare_digest(_key(scope).encode(), wanted.encode())

    async def _answer(self, request: Json, protocol: _Protocol, scope: Scope, receive: Receive, send: Send) -> None:
        if self._has_flaws:
            request.setdefault("kairosroute_fault", "flaws")
        model, is_stream = str(request.get("model") or "simulated-model"), request.get("stream") is True
        answer = simulator.send(
            request, model=model, is_stream=is_stream, created=int(time.time()), has_faults=self._has_faults
        )
        entry = self.journal.open(
            at=time.time(),
            protocol=protocol.name,
            model=model,
            is_stream=is_stream,
            mark=_mark(request),
            status=answer.status,
            request_id=_header(scope, b"x-request-id"),
        )
        sending = asyncio.ensure_future(self._send(answer, protocol, entry, is_stream, send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_sent = sending.done()
            sending.cancel()
            leaving.cancel()
        # A broken connection is no ending: the server closes the transport when an app leaves an answer open.
        self.journal.close(entry, sending.result() if is_sent else "client_gone")

    async def _send(
        self, answer: simulator.SimulatedAnswer, protocol: _Protocol, entry: Json, is_stream: bool, send: Send
    ) -> str:
        headers = [(name.encode(), value.encode()) for name, value in answer.headers]
        headers.append((b"x-request-id", entry["id"].encode()))
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        if answer.status != 200:
            await send(start)
            await send({"type": "http.response.body", "body": protocol.error(answer.status, answer.body())})
            return answer.outcome
        writer = protocol.writer(answer.usage) if protocol.writer and is_stream else None
        held: list[bytes] = []
        has_started = False
        try:
            for seconds, data in answer.schedule(scale=self._scale):
                if seconds > 0:
                    await asyncio.sleep(seconds)
                if not has_started:  # headers go with the first byte, as providers do
                    has_started = True
                    await send(start)
                if is_stream:
                    piece = writer.write(data) if writer else data
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                else:
                    held.append(data)
        except simulator.SimulatedDisconnect:
            if not is_stream:
                await send({"type": "http.response.body", "body": b"".join(held), "more_body": True})
            return answer.outcome
        await send({"type": "http.response.body", "body": protocol.whole(b"".join(held)) if held else b""})
        return answer.outcome

    async def _journal(self, scope: Scope, send: Send) -> None:
        if scope["method"] == "DELETE":
            self.journal.clear()
        wanted = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("limit", ["1000"])[0]
        limit = min(int(wanted), JOURNAL_LIMIT) if wanted.isdigit() else 1000
        await _send_json(send, 200, orjson.dumps(self.journal.report(limit=limit)))

    def _model_list(self) -> Json:
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "simulator"} for name in self._models]
        return {"object": "list", "data": listed}


def _decoded(body: bytes | None, protocol: _Protocol) -> Json | None:
    try:
        decoded = orjson.loads(body) if body else None
        request = protocol.canonical(decoded) if isinstance(decoded, dict) else None
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return None  # this mock understands well-formed requests only, and says so
    return request if request is not None and isinstance(request.get("messages"), list) else None


def _mark(request: Json) -> str:
    """Return the `[[id:…]]` that a test put into the last message, to find its call in the journal."""
    for message in reversed(request["messages"]):
        found = _MARK.search(shape.content_text(message.get("content"))) if isinstance(message, dict) else None
        if found:
            return found[1]
    return ""


def _key(scope: Scope) -> str:
    authorization = _header(scope, b"authorization")
    if authorization.lower().startswith("bearer "):
        return authorization[7:].strip()
    in_url = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("key", [""])[0]
    return _header(scope, b"x-api-key") or _header(scope, b"api-key") or _header(scope, b"x-goog-api-key") or in_url


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


async def _read(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        size += len(message.get("body", b""))
        if size > BODY_LIMIT_BYTES:
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _error(message: str, code: str) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}})


async def _send_json(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"x-simulated", b"true")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
