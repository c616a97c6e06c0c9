"""Django behind the data plane: how many pages run at once, which id each carries, and the line that it logs."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import warnings
from collections.abc import Mapping
from typing import Any

from django.core.handlers.asgi import ASGIHandler

from config.asgi_types import Receive, Scope, Send
from config.observability import request_id

# Each page runs in a thread and shares the interpreter with the data plane: a burst of them waits here.
MAX_AT_ONCE = 16

# The pages take forms and no files. A form that is longer, or takes longer to arrive, is not one of theirs.
MAX_BODY_BYTES = 1024 * 1024
ARRIVAL_S = 20.0

_PATHS_WITHOUT_A_LINE = ("/static/", "/favicon")

logger = logging.getLogger(__name__)


class Pages:
    """The control plane as an ASGI application."""

    def __init__(self) -> None:
        # WhiteNoise reads a style sheet in blocks, which is quick; Django would advise against it on the terminal.
        warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators", Warning)
        self._django = ASGIHandler()
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one page: give it an id, answer it in `X-Request-Id`, log one line without the query string."""
        identifier = f"page_{os.urandom(10).hex()}"
        request_id.set(identifier)
        status = 0

        async def send_with_id(message: Mapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", identifier.encode())]}
            await send(message)

        try:
            # Before a slot is taken: somebody who sends a byte now and then must not keep everybody else out.
            async with asyncio.timeout(ARRIVAL_S):
                body = await _body(receive)
        except ConnectionAbortedError:
            return
        except TimeoutError:
            await _refuse(send_with_id, 408, b"The request took too long to arrive.")
            return
        if body is None:
            await _refuse(send_with_id, 413, b"The form is too long.")
            return
        receive = _replaying(body, receive)
        async with self._slots:
            started = time.monotonic()
            try:
                await self._django(scope, receive, send_with_id)
            finally:
                path = scope["path"]
                if not path.startswith(_PATHS_WITHOUT_A_LINE):
                    ms = round((time.monotonic() - started) * 1000, 1)
                    logger.info("page", extra={"method": scope["method"], "path": path, "status": status, "ms": ms})


async def _body(receive: Receive) -> bytes | None:
    """Return the whole body, None when it is too long.

    Raises:
        ConnectionAbortedError: the client hung up before; half a form is none.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionAbortedError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body first and then what the server says."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Mapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return again


async def _refuse(send: Send, status: int, text: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
