"""The ASGI applications: who answers which path, and what starts and stops with the process.

`/v1/…` and `/api/v1/…` belong to the data plane, `/healthz`, `/readyz` and `/metrics` to `config.health`, everything
else to Django. `application` serves all of it; the full profile runs `data_plane` and `control_plane` as processes
of their own. Nothing here knows what a call or a page is.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Protocol

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402

from config import health, worker  # noqa: E402
from config.asgi_types import Receive, Scope, Send  # noqa: E402
from config.pages import Pages  # noqa: E402

# Those without /v1 come from base URLs that end too early: the data plane answers with the path that is meant.
DATA_PLANE_PATHS = (
    "/v1/", "/api/v1/", "/chat/completions", "/completions", "/embeddings", "/messages", "/responses", "/api/chat/",
)  # fmt: skip

logger = logging.getLogger(__name__)


class DataPlane(Protocol):
    """What `gateway.asgi.application` offers to the process that serves it."""

    async def startup(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Application:
    """One process's ASGI application: a path dispatcher with a lifespan.

    Start-up order: data plane (spool recovered, snapshot warm), then the in-process worker where the deployment has
    one. Shutdown order is the reverse in effect: the server has ended the streams in flight, the data plane seals its
    spool and hands the segments over, and the worker stops once it has loaded them or its time is up.
    """

    def __init__(self, *, serves_data_plane: bool, serves_pages: bool, runs_worker: bool) -> None:
        self._serves_data_plane = serves_data_plane
        self._serves_pages = serves_pages
        self._pages: Pages | None = None
        self._worker = worker.InProcessWorker() if runs_worker else None
        self.data_plane: DataPlane | None = None
        self._health = health.Health(spool_dir=settings.SPOOL_DIR, has_data_plane=serves_data_plane)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if self.data_plane is not None and path.startswith(DATA_PLANE_PATHS):
                await self.data_plane(scope, receive, send)
            elif path in health.PATHS:
                await self._health.answer(scope, receive, send, data_plane=self.data_plane)
            elif self._pages is not None:
                await self._pages(scope, receive, send)
            else:
                await health.not_found(send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def startup(self) -> None:
        if self._serves_pages:
            self._pages = Pages()  # here and not above: Django's middleware costs a data-plane process nothing
        if self._serves_data_plane:
            from gateway import asgi  # here and not above: the pages' own process never pays for the data plane

            await asgi.application.startup()
            self.data_plane = asgi.application
        if self._worker is not None:
            await asyncio.to_thread(self._worker.start)

    async def shutdown(self) -> None:
        if self.data_plane is not None:
            await self.data_plane.shutdown()
        if self._worker is not None:
            await asyncio.to_thread(self._worker.stop)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.startup()
        except Exception as error:
            logger.exception("The process could not start.")
            await send({"type": "lifespan.startup.failed", "message": type(error).__name__})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await self.shutdown()
        except Exception as error:
            logger.exception("The process did not stop cleanly; sealed segments are loaded at the next start.")
            await send({"type": "lifespan.shutdown.failed", "message": type(error).__name__})
            return
        await send({"type": "lifespan.shutdown.complete"})


application = Application(serves_data_plane=True, serves_pages=True, runs_worker=settings.RUNS_WORKER_IN_PROCESS)
data_plane = Application(serves_data_plane=True, serves_pages=False, runs_worker=False)
control_plane = Application(serves_data_plane=False, serves_pages=True, runs_worker=False)
