"""The I/O shell between ASGI and the data plane: one request, its body, and the ways to answer it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from gateway import errors

Headers = list[tuple[bytes, bytes]]

_JSON = (b"content-type", b"application/json")
JSON_HEAD = b"content-type: application/json\r\n"
SSE_HEAD = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"


_ARRIVAL_S = 60.0


class Request:
    """One HTTP request. `headers` maps lower-case names to the last value sent."""

    __slots__ = ("body_id", "has_answered", "headers", "kept", "now", "path", "receive", "scope", "send")

    def __init__(self, scope: dict[str, Any], receive: Any, send: Any, body_id: str, now: float) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.body_id = body_id
        self.now = now
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.has_answered = False
        self.kept: list[bytes] | None = None  # the answer as it is sent, while somebody wants it kept

    @property
    def request_id(self) -> str:
        return f"req_{self.body_id}"

    async def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            errors.PayloadTooLarge: it is, or says that it is, longer than `limit` bytes.
            errors.InvalidRequest: it did not arrive within a minute (408).
            ClientGone: the client hung up before it was complete.
        """
        try:
            async with asyncio.timeout(_ARRIVAL_S):
                return await self._read(limit)
        except TimeoutError:
            raise errors.InvalidRequest(
                "The request body did not arrive within a minute.", code="request_timeout", status=408
            ) from None

    async def _read(self, limit: int) -> bytes:
        declared = self.headers.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        message = await self.receive()
        if message["type"] != "http.request":
            raise ClientGone
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > limit:
                raise _too_large(limit)
            return body
        parts = [body]
        size = len(body)
        while message.get("more_body"):
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientGone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise _too_large(limit)
        return b"".join(parts)

    async def wait_for_disconnect(self) -> None:
        """Return when the client has hung up. Only after the body was read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


class ClientGone(Exception):
    """The client hung up; there is nobody to answer."""


def _too_large(limit: int) -> errors.PayloadTooLarge:
    return errors.PayloadTooLarge(f"The request body is larger than {limit // (1024 * 1024)} MiB, which is the limit.")


async def send_json(
    request: Request, body: bytes, headers: Iterable[tuple[bytes, bytes]] = (), *, status: int = 200
) -> None:
    """Answer with a JSON body."""
    request.has_answered = True
    await request.send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                _JSON,
                (b"content-length", b"%d" % len(body)),
                (b"x-request-id", request.request_id.encode()),
                *headers,
            ],
        }
    )
    await request.send({"type": "http.response.body", "body": body})


async def send_error(request: Request, error: errors.GatewayError, body: bytes, *, status: int, head: bytes) -> None:
    """Answer with an error whose JSON is `body`; nothing when an answer has begun. `head` as in `send_answer`."""
    if request.has_answered:
        return
    await send_json(request, body, [*error.headers(), *_pairs(head)], status=status)


async def send_answer(request: Request, body: bytes, head: bytes) -> None:
    """Answer with a JSON body; `head` are header lines, each ended by CRLF, with the request's id among them."""
    request.has_answered = True
    _keep(request, body)
    headers = [_JSON, (b"content-length", b"%d" % len(body)), *_pairs(head)]
    await request.send({"type": "http.response.start", "status": 200, "headers": headers})
    await request.send({"type": "http.response.body", "body": body})


async def start_stream(request: Request, head: bytes) -> None:
    """Begin a stream of server-sent events; `head` as in `send_answer`."""
    request.has_answered = True
    headers = [*_pairs(SSE_HEAD), *_pairs(head)]
    await request.send({"type": "http.response.start", "status": 200, "headers": headers})


def _keep(request: Request, data: bytes) -> None:
    if request.kept is not None:
        request.kept.append(data)


def _pairs(head: bytes) -> Headers:
    lines = (line.partition(b": ") for line in head.split(b"\r\n") if line)
    return [(name, value) for name, _, value in lines]


async def send_piece(request: Request, data: bytes) -> None:
    """Send some of a stream's bytes."""
    _keep(request, data)
    await request.send({"type": "http.response.body", "body": data, "more_body": True})


async def end_stream(request: Request, data: bytes) -> None:
    """Send a stream's last bytes and end it."""
    _keep(request, data)
    await request.send({"type": "http.response.body", "body": data})
