"""What other processes saw, through a Redis stream: each tells once a second what it counted since, and adds the rest.

Redis away means that each process knows its own calls only. Nothing here is on the path of a call.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any

import orjson
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.health.board import Board, Event, Gate, Row
from gateway.health.window import SIZE, Window

logger = logging.getLogger(__name__)

STREAM = "kairosroute:health"
_KEPT = 2000
_TIMEOUT_S = 0.5
_MOST_READ = 500


class News:
    """What one process has told and heard of a board."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._told: dict[tuple[str, str], list[int]] = {}
        self._gates: dict[tuple[str, str, str], float] = {}

    def collect(self, now: float, events: list[Event]) -> bytes | None:
        """Return what happened here since the last time, None when nothing did. `events`: breakers since then."""
        rows = []
        for key, row in self._board.rows.items():
            counts = row.window.counts
            before = self._told.get(key)
            if counts == before:
                continue
            if before is None:
                before = [0] * SIZE
            delta = [
                (place, count - old)
                for place, (count, old) in enumerate(zip(counts, before, strict=True))
                if count != old
            ]
            if delta:
                rows.append((row.provider, row.model, row.upstream_model, row.base_url, delta))
                self._told[key] = counts.copy()
        gates = []
        for gate_key, gate in self._board.gates.items():
            if gate.until > now and self._gates.get(gate_key) != gate.until:
                self._gates[gate_key] = gate.until
                gates.append((*gate_key, gate.until - now, gate.wait_s, gate.why, gate.is_binding))
        switches = []
        for event in events:
            row_now = self._board.rows.get((event.base_url, event.upstream_model))
            open_for = 0.0 if row_now is None else row_now.window.open_for(now)
            switches.append((event.base_url, event.upstream_model, event.is_open, open_for))
        self._forget()
        if not (rows or gates or switches):
            return None
        return orjson.dumps({"rows": rows, "gates": gates, "switches": switches})

    def absorb(self, data: bytes, now: float) -> None:
        """Add what another process told."""
        told: dict[str, Any] = orjson.loads(data)
        board = self._board
        for provider, model, upstream_model, base_url, delta in told["rows"]:
            key = (base_url, upstream_model)
            row = board.rows.get(key)
            if row is None:
                row = Row(provider, model, upstream_model, base_url, Window(now))
                board.keep_row(row)
            row.window.merge(now, [(place, count) for place, count in delta if 0 <= place < SIZE])
            mine = self._told.setdefault(key, [0] * SIZE)
            for place, count in delta:
                mine[place] += count  # heard, so not to be told again
        for base_url, model, credential_id, for_s, wait_s, why, is_binding in told["gates"]:
            gate_key = (base_url, model, credential_id)
            until = now + for_s
            known = board.gates.get(gate_key)
            if known is None or known.until < until:
                board.keep_gate(gate_key, Gate(until, wait_s, why, is_binding))
                self._gates[gate_key] = until
        for base_url, upstream_model, is_open, for_s in told["switches"]:
            row = board.rows.get((base_url, upstream_model))
            if row is None:
                continue
            if is_open and row.window.is_closed and for_s > 0:
                row.window.open(now, for_s)
            elif not is_open and not row.window.is_closed:
                row.window.close(now)

    def _forget(self) -> None:
        for key in [key for key in self._told if key not in self._board.rows]:
            del self._told[key]
        for gate in [key for key in self._gates if key not in self._board.gates]:
            del self._gates[gate]


class Exchange:
    """The stream that the processes of a deployment share."""

    def __init__(self, url: str, board: Board) -> None:
        self._client: Any = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            max_connections=2,
            retry=Retry(NoBackoff(), 0),  # the next second is the retry
        )
        self._process = secrets.token_hex(8).encode()
        self._news = News(board)
        self._last = b"$"
        self.is_away = False

    async def run(self, now: float, events: list[Event]) -> None:
        """Tell what is new here, and take what is new elsewhere. Raises nothing of Redis'."""
        try:
            if self._last == b"$":
                self._last = await self._newest()
            data = self._news.collect(now, events)
            if data is not None:
                await self._client.xadd(STREAM, {b"p": self._process, b"d": data}, maxlen=_KEPT, approximate=True)
            found = await self._client.xread({STREAM: self._last}, count=_MOST_READ)
        except (RedisError, OSError, TimeoutError) as error:
            if not self.is_away:
                logger.warning("Health is not shared: Redis does not answer (%s).", type(error).__name__)
            self.is_away = True
            return
        self.is_away = False
        for _, entries in found:
            for entry_id, fields in entries:
                self._last = entry_id
                if fields.get(b"p") == self._process:
                    continue
                try:
                    self._news.absorb(fields[b"d"], now)
                except (ValueError, KeyError, TypeError, IndexError) as error:
                    logger.warning("Another process's health cannot be read: %s", type(error).__name__)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _newest(self) -> bytes:
        """Return the id of the newest entry: what was told before this process began is old news by now."""
        newest = await self._client.xrevrange(STREAM, count=1)
        last: bytes = newest[0][0] if newest else b"0-0"
        return last
