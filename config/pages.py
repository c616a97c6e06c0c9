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

        async with self._slots:
            started = time.monotonic()
            try:
                await self._django(scope, receive, send_with_id)
            finally:
                path = scope["path"]
                if not path.startswith(_PATHS_WITHOUT_A_LINE):
                    ms = round((time.monotonic() - started) * 1000, 1)
                    logger.info("page", extra={"method": scope["method"], "path": path, "status": status, "ms": ms})
