"""`/healthz`, `/readyz` and `/metrics`: answered before Django, so that they tell the truth while it is busy.

Liveness is the event loop turning. Readiness is whether a call would be recorded; a database that is away makes the
process *degraded*, not unready, because known keys are still served from the snapshot.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from django.db import Error, connection

from config.asgi_types import Receive, Scope, Send

HEALTHZ, READYZ, METRICS = "/healthz", "/readyz", "/metrics"
PATHS = frozenset({HEALTHZ, READYZ, METRICS})

MIN_FREE_BYTES = 32 * 1024 * 1024
DATABASE_TIMEOUT_S = 2.0
CACHE_S = 1.0


@dataclass(frozen=True, slots=True)
class Spool:
    """The state of the spool directory. `oldest_s` is the age of the oldest sealed segment that is not yet loaded."""

    is_writable: bool
    free_bytes: int
    backlog_segments: int
    backlog_bytes: int
    oldest_s: float


class Health:
    """Answer the three paths of one process; the database is asked at most once a second."""

    def __init__(self, *, spool_dir: Path, has_data_plane: bool) -> None:
        self._spool_dir = spool_dir
        self._has_data_plane = has_data_plane
        # One thread of its own: a database that hangs costs one thread and never the pages'.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="health")
        self._probe: asyncio.Future[str] | None = None
        self._probed = ("unknown", -CACHE_S)

    async def answer(self, scope: Scope, receive: Receive, send: Send, *, data_plane: Any) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await _respond(send, 405, b'{"error":"Use GET."}', extra=[(b"allow", b"GET, HEAD")])
        elif scope["path"] == HEALTHZ:
            await _respond(send, 200, b'{"status":"alive"}')
        elif scope["path"] == READYZ:
            status, body = await self.readiness(is_started=not self._has_data_plane or data_plane is not None)
            await _respond(send, status, orjson.dumps(body))
        else:
            text = "\n".join([*_rendered(data_plane), *self._gauges()]) + "\n"
            await _respond(send, 200, text.encode(), content_type=b"text/plain; version=0.0.4; charset=utf-8")

    async def readiness(self, *, is_started: bool) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the report: 503 unless a call would be served and recorded."""
        database = await self._database()
        checks: dict[str, Any] = {"database": database}
        is_ready = is_started
        if self._has_data_plane:
            spool = look(self._spool_dir)
            checks["spool"] = {
                "writable": spool.is_writable,
                "free_bytes": spool.free_bytes,
                "backlog_segments": spool.backlog_segments,
                "backlog_bytes": spool.backlog_bytes,
                "oldest_seconds": round(spool.oldest_s, 1),
            }
            is_ready = is_started and spool.is_writable
        elif database != "ok":
            is_ready = False  # pages cannot do without it
        status = "unready" if not is_ready else "ready" if database == "ok" else "degraded"
        return (200 if is_ready else 503), {"status": status, "checks": checks}

    async def _database(self) -> str:
        """Return 'ok' or what is wrong with the control database; one probe at a time, its result kept a second."""
        result, at = self._probed
        if time.monotonic() - at < CACHE_S:
            return result
        if self._probe is None or self._probe.done():
            self._probe = asyncio.get_running_loop().run_in_executor(self._executor, _probe_database)
        done, _ = await asyncio.wait({self._probe}, timeout=DATABASE_TIMEOUT_S)
        result = self._probe.result() if done else "no answer"
        self._probed = (result, time.monotonic())
        return result

    def _gauges(self) -> list[str]:
        if not self._has_data_plane:
            return []
        spool = look(self._spool_dir)
        values = (
            ("kairosroute_spool_writable", "1 while records can be written.", int(spool.is_writable)),
            ("kairosroute_spool_free_bytes", "Free space on the spool's file system.", spool.free_bytes),
            ("kairosroute_spool_backlog_segments", "Sealed segments not yet loaded.", spool.backlog_segments),
            ("kairosroute_spool_backlog_bytes", "Bytes of sealed segments not yet loaded.", spool.backlog_bytes),
            ("kairosroute_spool_oldest_seconds", "Age of the oldest segment not yet loaded.", round(spool.oldest_s, 1)),
        )
        return [
            line
            for name, text, value in values
            for line in (f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value}")
        ]


def look(spool_dir: Path) -> Spool:
    """Return the state of `spool_dir`; a directory that is not there is not writable."""
    count = size = 0
    oldest = now = time.time()
    try:
        free = os.statvfs(spool_dir)
        with os.scandir(spool_dir) as entries:
            for entry in entries:
                if entry.name.endswith(".sealed"):
                    try:
                        facts = entry.stat()
                    except FileNotFoundError:  # loaded and deleted while we looked
                        continue
                    count += 1
                    size += facts.st_size
                    oldest = min(oldest, facts.st_mtime)
    except OSError:
        return Spool(is_writable=False, free_bytes=0, backlog_segments=0, backlog_bytes=0, oldest_s=0.0)
    free_bytes = free.f_bavail * free.f_frsize
    return Spool(
        is_writable=os.access(spool_dir, os.W_OK) and free_bytes > MIN_FREE_BYTES,
        free_bytes=free_bytes,
        backlog_segments=count,
        backlog_bytes=size,
        oldest_s=now - oldest,
    )


async def not_found(send: Send) -> None:
    """Answer a path that this process does not serve."""
    await _respond(send, 404, b'{"error":"This process serves the API only; the pages are served elsewhere."}')


def _probe_database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        return type(error).__name__
    finally:
        connection.close()
    return "ok"


def _rendered(data_plane: Any) -> list[str]:
    state = getattr(data_plane, "state", None)
    if state is None:
        return []
    from gateway import exposition  # a process that only shows pages has no data plane to load

    return list(exposition.render(state, now=time.perf_counter()))


async def _respond(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: bytes = b"application/json",
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
