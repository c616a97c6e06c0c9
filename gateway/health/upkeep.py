"""The background work around a board: share it with other processes, forget what is idle, write the journal.

One task of the event loop, once a second; what waits for a database runs in a thread. Nothing of it can fail a call.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable

from django.db import Error as DatabaseError

from gateway import control
from gateway.health import journal
from gateway.health.board import Board, Event, KeyFallback, Row
from gateway.health.journal import Change, EndpointPicture
from gateway.health.sharing import Exchange
from gateway.health.window import MIN_SAMPLES

logger = logging.getLogger(__name__)

_INTERVAL_S = 1.0
_PICTURE_EVERY = 5  # intervals

IsPublic = Callable[[Row], bool]


class Upkeep:
    """`is_public` tells the endpoints that everybody may see from a customer's own."""

    def __init__(self, board: Board, *, redis_url: str, is_public: IsPublic) -> None:
        self._board = board
        self._is_public = is_public
        self._exchange = Exchange(redis_url, board) if redis_url else None
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[Change] = []

    def start(self) -> None:
        """Start the task."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop the task, and write what waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._exchange is not None:
            await self._exchange.close()

    async def tick(self, *, writes: bool) -> None:
        """Do what is due now; `writes`: the journal too."""
        now = time.perf_counter()
        events = self._news()
        self._waiting += [self._change(event, now) for event in events if self._concerns_all(event)]
        if self._exchange is not None:
            await self._exchange.run(now, events)
        if writes or self._waiting or self._board.key_fallbacks:
            self._board.forget_idle(now)
            await self._write(picture(self._board, now, is_public=self._is_public))

    async def _write(self, found: list[EndpointPicture]) -> None:
        changes, self._waiting = self._waiting, []
        # One for each key: the rest of a second says the same.
        fallbacks = {(one.credential_id, one.workspace_id): one for one in self._board.key_fallbacks}
        self._board.key_fallbacks.clear()
        try:
            await asyncio.to_thread(_write_in_thread, changes, found, list(fallbacks.values()))
        except DatabaseError:
            self._waiting = [*changes, *self._waiting][-1000:]
            logger.warning("Changes of providers' health wait: the database does not answer.")

    async def _run(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(_INTERVAL_S)
            try:
                await self.tick(writes=turn % _PICTURE_EVERY == 0)
            except Exception:
                logger.exception("The upkeep of providers' health failed; it is tried again.")
            turn += 1

    def _news(self) -> list[Event]:
        events = list(self._board.events)
        self._board.events.clear()
        return events

    def _concerns_all(self, event: Event) -> bool:
        row = self._board.rows.get((event.base_url, event.upstream_model))
        return row is not None and self._is_public(row)

    def _change(self, event: Event, now: float) -> Change:
        happened_at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=now - event.at)
        return Change(event.provider, event.model, event.is_open, event.reason, happened_at)


def _write_in_thread(changes: list[Change], found: list[EndpointPicture], key_fallbacks: list[KeyFallback]) -> None:
    with control.connected():
        journal.write(changes, found, now=dt.datetime.now(dt.UTC), key_fallbacks=key_fallbacks)


def picture(board: Board, now: float, *, is_public: IsPublic) -> list[EndpointPicture]:
    """Return how the endpoints that everybody may see do now, by provider and model."""
    found = []
    for row in board.each():
        if not is_public(row):
            continue
        figures = row.window.figures(now)
        state = board.status(row, now, figures)
        if not figures.samples and state == "neutral":
            continue
        is_known = figures.samples >= MIN_SAMPLES
        found.append(
            EndpointPicture(
                provider=row.provider,
                model=row.model,
                state=state,
                samples=figures.samples,
                error_ratio=round(figures.error_ratio, 4) if is_known else None,
                first_token_p50_ms=figures.first_token_p50_ms if is_known else None,
                first_token_p75_ms=figures.first_token_p75_ms if is_known else None,
                first_token_p95_ms=figures.first_token_p95_ms if is_known else None,
                tokens_per_s_p50=figures.tokens_per_s_p50 if is_known else None,
                failures=figures.failures,
                weight=round(row.window.weight(now), 3),
            )
        )
    return sorted(found, key=lambda one: (one.provider, one.model))
