"""The connections to each provider: taken, handed back, and ended when they are late.

A base URL that a customer named begins with `guarded+`. Its connections are made to addresses that `accounts.outbound`
has checked: at each connect the name is looked up once, everything it leads to must be allowed, and the peer is looked
at again before a key is sent to it. Base URLs of the operator are trusted.

Deadlines cost nothing per request: a sweeper looks over the exchanges in flight four times a second and ends those
that are late, so a time-out fires up to a quarter of a second after its bound.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from accounts import outbound
from accounts.outbound import Guard
from gateway import errors
from gateway.providers.protocol import GUARDED
from gateway.upstream.connection import Connection, Response, Timeouts

logger = logging.getLogger(__name__)

_SWEEP_S = 0.25
_QUIET_SWEEPS = 240  # a minute: longer than any connection is between being made and being used
_IDLE_S = 50.0  # below the keep-alive of common load balancers (60 s), so that we close first


@dataclass(frozen=True, slots=True)
class Watch:
    """The rules for addresses that customers named, and the threads that look their names up: few, and nobody else's,
    because a name server that never answers is easily made."""

    guard: Guard
    desk: ThreadPoolExecutor


class Pool:
    """The connections to one base URL; `watch` says to which addresses it may lead, None trusts it."""

    def __init__(
        self, origin: str, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext | None, watch: Watch | None = None
    ) -> None:
        self.watch = watch
        self.quiet_sweeps = 0
        parts = urlsplit(origin)
        self.loop = loop
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.prefix = parts.path.rstrip("/")
        self.authority = parts.netloc.rpartition("@")[2]
        self.context = context if parts.scheme == "https" else None
        self.idle: list[Connection] = []
        self.busy: set[Connection] = set()
        self._heads: dict[tuple[str, tuple[tuple[str, str], ...]], bytes] = {}

    def request(self, path: str, headers: tuple[tuple[str, str], ...], body: bytes) -> bytes:
        """Return a whole request."""
        return b"%b%d\r\n\r\n%b" % (self.head(path, headers), len(body), body)

    def head(self, path: str, headers: tuple[tuple[str, str], ...]) -> bytes:
        key = (path, headers)
        head = self._heads.get(key)
        if head is None:
            lines = [f"POST {self.prefix}{path} HTTP/1.1", f"host: {self.authority}"]
            lines += [f"{name}: {value}" for name, value in headers]
            if any("\r" in line or "\n" in line for line in lines):
                raise errors.InvalidRequest("A header of the upstream request holds a line break.")
            head = "\r\n".join([*lines, "accept-encoding: identity", "content-length: "]).encode("latin-1", "replace")
            if len(self._heads) > 1024:
                self._heads.clear()
            self._heads[key] = head
        return head

    def take(self) -> Connection | None:
        """Return an idle connection, if there is one."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.is_closed:
                return connection
        return None

    async def connect(self, within_s: float) -> Connection:
        try:
            async with asyncio.timeout(within_s):
                if self.watch is None:
                    return await self._connect_to(self.host)
                return await self._connect_watched(self.watch)
        except TimeoutError:
            raise errors.UpstreamTimeout("The provider could not be reached in time.") from None
        except (OSError, ssl.SSLError, outbound.Unreachable):
            raise errors.UpstreamError("The provider could not be reached.") from None
        except outbound.Refused as error:
            raise errors.UpstreamError(str(error), code="base_url_refused") from None

    async def _connect_watched(self, watch: Watch) -> Connection:
        """Connect to the first address that answers among those that were checked."""
        guard = watch.guard
        last: OSError = OSError("no address")
        for address in await self.loop.run_in_executor(watch.desk, guard.addresses, self.host, self.port):
            try:
                connection = await self._connect_to(address)
            except ssl.SSLError:
                raise
            except OSError as error:
                last = error
                continue
            try:
                guard.require_allowed(connection.transport.get_extra_info("peername")[0], self.host)
            except outbound.Refused:
                connection.transport.abort()
                raise
            return connection
        raise last

    async def _connect_to(self, host: str) -> Connection:
        _, connection = await self.loop.create_connection(
            lambda: Connection(self),
            host,
            self.port,
            ssl=self.context,
            server_hostname=self.host if self.context is not None else None,
        )
        return connection

    def sweep(self, now: float) -> None:
        for connection in list(self.busy):
            if connection.has_moved:  # seen here rather than stamped at every piece
                connection.has_moved = False
                connection.deadline = now + connection.patience
            connection.expire(now)
        keep = []
        for connection in self.idle:
            if connection.is_closed:
                continue
            if now - connection.idle_since > _IDLE_S:
                connection.transport.close()
            else:
                keep.append(connection)
        self.idle = keep
        # Customers come and go: their pools, and the heads with their keys in them, do not stay.
        is_quiet = self.watch is not None and not self.idle and not self.busy
        self.quiet_sweeps = self.quiet_sweeps + 1 if is_quiet else 0


class Exchange:
    """A request on its way; use it as a context: leaving it hands the connection back or closes it."""

    __slots__ = ("_connection", "_pool", "response")

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool = pool
        self._connection = connection
        self.response: Response

    def close(self) -> None:
        self._pool.busy.discard(self._connection)
        self._connection.release()


class Upstream:
    """All pools of one event loop. `guard` holds the rules for base URLs that customers named."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, guard: Guard | None = None) -> None:
        self._loop = loop
        self._watch = Watch(guard or Guard(), ThreadPoolExecutor(max_workers=4, thread_name_prefix="names"))
        self._pools: dict[str, Pool] = {}
        self._context: ssl.SSLContext | None = None
        self._sweeper = loop.create_task(self._sweep())

    def pool(self, base_url: str) -> Pool:
        """Return the connections to a base URL."""
        pool = self._pools.get(base_url)
        if pool is None:
            pool = self._pools[base_url] = self._new_pool(base_url)
        return pool

    def _new_pool(self, base_url: str) -> Pool:
        is_guarded = base_url.startswith(GUARDED)
        origin = base_url.removeprefix(GUARDED)
        if is_guarded:
            try:
                self._watch.guard.target(origin)
            except outbound.Refused as error:
                raise errors.UpstreamError(str(error), code="base_url_refused") from None
        if self._context is None and origin.startswith("https"):
            self._context = ssl.create_default_context()
        return Pool(origin, self._loop, self._context, self._watch if is_guarded else None)

    async def send(
        self,
        base_url: str,
        path: str,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        *,
        collects: bool,
        timeouts: Timeouts,
    ) -> Exchange:
        """POST `body` and return when the answer is complete (`collects`) or its headers are (streams).

        The caller must `close()` the exchange. A request on a kept-alive connection that the provider closed at the
        same moment, before any byte of an answer, is sent once more on a new one.

        Raises:
            errors.UpstreamFailed: UpstreamError (refused, reset), UpstreamTimeout, UpstreamCut or UpstreamGarbage.
        """
        pool = self._pools.get(base_url) or self.pool(base_url)
        data = pool.request(path, headers, body)
        connection = pool.take()
        is_reused = connection is not None
        if connection is None:
            connection = await pool.connect(timeouts.connect)
        while True:
            pool.busy.add(connection)
            try:
                await connection.begin(data, collects=collects, timeouts=timeouts, now=time.monotonic())
            except errors.UpstreamError:
                pool.busy.discard(connection)
                if not is_reused or connection.has_answer_begun:
                    raise
                is_reused = False
                connection = await pool.connect(timeouts.connect)
                continue
            except BaseException:
                pool.busy.discard(connection)
                connection.transport.abort()
                raise
            exchange = Exchange(pool, connection)
            exchange.response = connection.response()
            return exchange

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.monotonic()
            for base_url, pool in list(self._pools.items()):
                try:
                    pool.sweep(now)
                    if pool.quiet_sweeps > _QUIET_SWEEPS:
                        del self._pools[base_url]
                except Exception:
                    logger.exception("The deadlines of a provider's exchanges could not be looked over.")

    def in_flight(self) -> int:
        """Return how many exchanges are under way."""
        return sum(len(pool.busy) for pool in self._pools.values())

    async def close(self) -> None:
        """Close every connection."""
        self._sweeper.cancel()
        self._watch.desk.shutdown(wait=False, cancel_futures=True)
        for connection in self._connections():
            connection.transport.abort()

    def _connections(self) -> Iterable[Connection]:
        for pool in self._pools.values():
            yield from [*pool.idle, *pool.busy]
