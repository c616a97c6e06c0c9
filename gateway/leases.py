"""Budgets and windows that several processes share: each leases a part from Redis and spends it without asking.

A budget's key holds what was `spent`, as far as reported, and what each process holds (`h:`), so that what is left is
always the amount less both. Processes report, fill up and give back twice a second; a lease of a process that died
expires. Redis alone is never trusted with what was spent: a key that is gone is made anew from the ledger, and once a
minute the ledger's sum corrects one that is too low. A window's key holds the units granted by second.

While Redis is away, windows count for their own process, and budgets go on with what is leased; after that calls are
refused, or let through where the deployment says so (`docs/decisions/0014-leases.md`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway import errors, lease_scripts, periods
from gateway.banks import posted_in, spent_in
from gateway.counters import Meter
from gateway.leased_window import LeasedWindow
from gateway.spend import Spend

logger = logging.getLogger(__name__)

_INTERVAL_S = 0.5
_TIMEOUT_S = 1.0
_PROBE_S = 1.0
_LEASE_S = 600
_CORRECT_S = 60.0
_KEEP_S = 3 * 86_400
_FADING = 0.5
_AHEAD = 4  # intervals of the recent use that a process keeps room for


class _Lease:
    """What the bank keeps of one meter. `pending`: how much of `unreported` is under way in report `sequence`."""

    __slots__ = (
        "absences",
        "corrected_at",
        "generation",
        "key",
        "lock",
        "organization_id",
        "pending",
        "sequence",
        "use",
        "waiting",
    )

    def __init__(self, organization_id: str, absences: int, now: float) -> None:
        self.organization_id = organization_id
        self.key = ""
        self.generation = ""
        self.sequence = 0
        self.pending = 0
        self.use = 0.0
        self.waiting = 0
        self.absences = absences  # of Redis, that this lease has heard of
        self.corrected_at = now
        self.lock = asyncio.Lock()


class RedisBank:
    """The bank of processes that share their limits over one Redis."""

    shares = True

    def __init__(
        self,
        url: str,
        spend: Spend | None,
        *,
        allows_without: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`allows_without`: whether calls go through when Redis is away and what was leased is spent."""
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            # A call waits here: the client's own retries would keep it for half a minute.
            retry=Retry(NoBackoff(), 0),
        )
        self._budget = self._redis.register_script(lease_scripts.BUDGET)
        self._window = self._redis.register_script(lease_scripts.WINDOW)
        self._spend = spend
        self._allows_without = allows_without
        self._monotonic = monotonic
        self._process = secrets.token_hex(8)
        self._away_until = 0.0
        self._absences = 0
        self._reports = itertools.count(1)
        self._reached_at = monotonic()
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    def start(self, meters: Callable[[], Iterable[Meter]]) -> None:
        """Begin to report and to fill up in the background."""
        self._task = asyncio.get_running_loop().create_task(self._keep_reporting(meters))

    async def close(self, meters: Iterable[Meter] = ()) -> None:
        """Report the last, give back what is left, and let go of the connections."""
        self._is_closing = True
        if self._task is not None:
            self._task.cancel()
            # A cancellation can be lost in the client's own timeouts: the end must not hang on it.
            await asyncio.wait({self._task}, timeout=2 * _TIMEOUT_S)
        for meter in meters:
            with contextlib.suppress(RedisError, OSError, errors.Unavailable):
                await self._report(meter, is_last=True)
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def open(self, meter: Meter, *, organization_id: str, now: float) -> None:
        """See `banks.Bank`."""
        purse, limit = meter.purse, meter.limit
        assert purse is not None
        starts_at, ends_at = periods.containing(now, limit.period, limit.time_zone)
        lease = meter.lease = _Lease(organization_id, self._absences, self._monotonic())
        lease.key = f"kairosroute:budget:{{{organization_id}}}:{limit.limit_id}:{meter.value}:{int(starts_at)}"
        if self._is_away():
            await self._open_alone(meter, lease, starts_at, ends_at)
            return
        purse.open(starts_at=starts_at, ends_at=ends_at, spent=0, granted=0)
        try:
            async with lease.lock:
                await self._exchange(meter, lease, needed=0, wished=0)
        except (RedisError, OSError) as error:
            self._note_absence(error)
            purse.ends_at = 0.0
            await self._open_alone(meter, lease, starts_at, ends_at)

    async def fill(self, meter: Meter, *, organization_id: str, now: float, needed: int) -> bool:
        """See `banks.Bank`."""
        if meter.lease is None:
            meter.lease = _Lease(organization_id, self._absences, self._monotonic())
            meter.lease.key = f"kairosroute:window:{{{organization_id}}}:{meter.limit.limit_id}:{meter.value}"
        lease: _Lease = meter.lease
        lease.waiting += 1
        try:
            async with lease.lock:
                if self._room(meter) >= needed:
                    return True
                if self._is_away():
                    return self._go_alone(meter, needed)
                # What was taken since the last report counts again: a load that begins doubles its lease each time.
                counter: Any = meter.purse if meter.purse is not None else meter.window
                wished = 8 * needed * lease.waiting + counter.taken + round(lease.use * _AHEAD)
                try:
                    return await self._get(meter, lease, needed=needed, wished=wished)
                except (RedisError, OSError) as error:
                    self._note_absence(error)
                    return self._go_alone(meter, needed)
        finally:
            lease.waiting -= 1

    async def _get(self, meter: Meter, lease: _Lease, *, needed: int, wished: int) -> bool:
        if meter.purse is not None:
            await self._exchange(meter, lease, needed=needed, wished=wished)
        else:
            await self._renew(meter, lease, needed=needed, wished=wished)
        return self._room(meter) >= needed

    def _room(self, meter: Meter) -> int:
        if meter.purse is not None:
            return meter.purse.room
        assert meter.window is not None
        return meter.window.room(int(self._monotonic()))

    # -- without Redis

    def _is_away(self) -> bool:
        return self._monotonic() < self._away_until

    def _note_absence(self, error: Exception) -> None:
        if self._away_until == 0.0:
            self._absences += 1
            logger.warning("Redis does not answer (%s): limits count by process.", type(error).__name__)
        self._away_until = self._monotonic() + _PROBE_S

    def _note_presence(self) -> None:
        if self._away_until:
            logger.warning("Redis answers again: limits are shared again.")
        self._away_until = 0.0
        self._reached_at = self._monotonic()

    def _go_alone(self, meter: Meter, needed: int) -> bool:
        """Go on without Redis: windows count for themselves, budgets as the deployment says."""
        window, purse = meter.window, meter.purse
        if isinstance(window, LeasedWindow):
            window.is_alone = True
            return window.room(int(self._monotonic())) >= needed
        assert purse is not None
        if not self._allows_without:
            raise _unavailable(meter)
        purse.room = needed
        return True

    async def _open_alone(self, meter: Meter, lease: _Lease, starts_at: float, ends_at: float) -> None:
        if not self._allows_without:
            raise _unavailable(meter)
        purse = meter.purse
        assert purse is not None
        spent = await spent_in(self._spend, meter, lease.organization_id, starts_at, ends_at)
        purse.open(starts_at=starts_at, ends_at=ends_at, spent=spent, granted=max(0, purse.amount - spent))

    # -- with Redis

    async def _exchange(self, meter: Meter, lease: _Lease, *, needed: int, wished: int, floor: int = -1) -> None:
        """Report what was spent and set our hold; a key that Redis has lost is made anew from the ledger."""
        purse = meter.purse
        assert purse is not None
        for _ in range(3):
            if lease.absences != self._absences:
                floor = await self._start_over(meter, lease)
            if not lease.pending and purse.unreported:
                lease.sequence = next(self._reports)
                lease.pending = purse.unreported
            starts_at = purse.starts_at
            answer: list[Any] = await self._asked(
                self._budget,
                keys=[lease.key],
                args=[
                    self._process,
                    purse.amount,
                    lease.sequence,
                    lease.pending,
                    purse.reserved,
                    purse.room,
                    needed,
                    wished,
                    floor,
                    lease.generation,
                    secrets.token_hex(4),
                    _LEASE_S * 1000,
                    _KEEP_S,
                ],
            )
            self._note_presence()
            if purse.starts_at != starts_at:
                return
            if answer[0] != b"missing":
                lease.generation = answer[1].decode()
                purse.unreported -= lease.pending
                lease.pending = 0
                purse.spent = int(answer[2]) + purse.unreported
                purse.held_elsewhere = int(answer[3])
                purse.room += int(answer[4])
                return
            floor = await self._start_over(meter, lease)

    async def _asked(self, script: Any, *, keys: list[str], args: list[Any]) -> Any:
        """Run a script; once more on a new connection where the first try ends badly.

        A process that stood still for a second finds its answers late: that is no word on Redis. Reports are numbered,
        so none counts twice.
        """
        try:
            return await script(keys=keys, args=args)
        except (RedisError, OSError):
            if self._is_away():
                raise
            return await script(keys=keys, args=args)

    async def _start_over(self, meter: Meter, lease: _Lease) -> int:
        """Forget what was reported and return what ledger and spool know, which is all of that and what was not."""
        purse = meter.purse
        assert purse is not None
        floor = await spent_in(self._spend, meter, lease.organization_id, purse.starts_at, purse.ends_at)
        lease.generation, lease.pending, purse.unreported = "", 0, 0
        lease.absences = self._absences
        return floor

    async def _renew(self, meter: Meter, lease: _Lease, *, needed: int, wished: int) -> None:
        window = meter.window
        assert isinstance(window, LeasedWindow)
        corrections, window.corrections = window.corrections, {}
        kept = 0 if window.is_alone else max(0, window.held)
        pairs = [part for pair in corrections.items() for part in pair]
        try:
            granted, used, second, wait_s = await self._asked(
                self._window,
                keys=[lease.key],
                args=[window.limit, needed, wished, window.lease_second, kept, *pairs],
            )
        except (RedisError, OSError):
            for at, units in corrections.items():
                window.corrections[at] = window.corrections.get(at, 0) + units
            raise
        self._note_presence()
        if window.is_alone:
            window.is_alone, window.held = False, 0
        window.held += granted
        window.lease_second = second
        window.offset = second - int(self._monotonic())
        window.wait_s = wait_s
        window.elsewhere = max(0, used - window.held - window.used)

    async def _keep_reporting(self, meters: Callable[[], Iterable[Meter]]) -> None:
        while not self._is_closing:
            await asyncio.sleep(_INTERVAL_S)
            for meter in list(meters()):
                try:
                    await self._report(meter)
                except (RedisError, OSError) as error:
                    self._note_absence(error)
                    self._let_leases_end(meters())
                    break
                except errors.Unavailable:
                    logger.warning("The ledger does not answer: a budget that Redis lost waits for it.")
                except Exception:
                    logger.exception("Limits could not be reported.")

    async def _report(self, meter: Meter, *, is_last: bool = False) -> None:
        """Tell Redis what was used since, take what is likely to be used next, and give back the rest."""
        lease: _Lease | None = meter.lease
        if lease is None:
            return
        async with lease.lock:
            taken = self._taken(meter)
            lease.use = 0.0 if is_last else max(taken, lease.use * _FADING)
            wished = round(lease.use * _AHEAD) if lease.use >= 1 else 0
            purse, window = meter.purse, meter.window
            if purse is not None:
                if not (purse.unreported or lease.pending or purse.room or purse.reserved or wished):
                    return
                purse.room = min(purse.room, max(wished, 0))
                floor = -1
                if self._monotonic() - lease.corrected_at >= _CORRECT_S and not is_last:
                    lease.corrected_at = self._monotonic()
                    # The ledger alone: what stands in spools may not be reported yet, and would count twice.
                    floor = await posted_in(meter, lease.organization_id, purse.starts_at, purse.ends_at)
                await self._exchange(meter, lease, needed=0, wished=wished, floor=floor)
            elif isinstance(window, LeasedWindow):
                if not (window.held or window.corrections or wished or window.is_alone):
                    return
                window.room(int(self._monotonic()))
                unused = window.held - wished
                if unused > 0 and not window.is_alone:
                    window.held -= unused
                    at = window.lease_second
                    window.corrections[at] = window.corrections.get(at, 0) - unused
                await self._renew(meter, lease, needed=0, wished=wished)

    def _taken(self, meter: Meter) -> int:
        counter: Any = meter.purse if meter.purse is not None else meter.window
        taken, counter.taken = counter.taken, 0
        return int(taken)

    def _let_leases_end(self, meters: Iterable[Meter]) -> None:
        """Stop spending what Redis will soon give to others: it was not reached for nearly as long as a lease lasts."""
        if self._monotonic() - self._reached_at < _LEASE_S * 0.9:
            return
        for meter in meters:
            if meter.purse is not None:
                meter.purse.room = min(meter.purse.room, 0)


def _unavailable(meter: Meter) -> errors.Unavailable:
    return errors.Unavailable(
        f"What is left of the budget “{meter.limit.name}” is not known while Redis is away. Try again in a moment.",
        code="limits_unavailable",
        retry_after_s=2,
    )
