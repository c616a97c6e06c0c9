"""Who grants money to the purses of a process: in a lone process everything that the ledger says is left.

Processes that share budgets lease them from Redis: `gateway.leases`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from django.db import Error as DatabaseError

from billing import spending
from gateway import control, errors, periods
from gateway.counters import Meter
from gateway.spend import Spend


class Bank(Protocol):
    """Opens purses and fills them. `shares`: others spend from the same budgets, so a purse may be filled again."""

    shares: bool

    async def open(self, meter: Meter, *, organization_id: str, now: float) -> None:
        """Begin the period that `now` (epoch seconds) lies in. Raises `errors.Unavailable`."""
        ...

    async def fill(self, meter: Meter, *, organization_id: str, now: float, needed: int) -> bool:
        """Try to get room for `needed` nano-USD, or calls or tokens; return whether there was any.

        Who waited with others may find it taken, and asks again. Raises `errors.Unavailable`.
        """
        ...

    async def close(self, meters: Iterable[Meter] = ()) -> None:
        """Give back what is left."""
        ...


class LocalBank:
    """The bank of a process that alone spends: a purse holds all that is left, counted from ledger and spool."""

    shares = False

    def __init__(self, spend: Spend | None) -> None:
        """`spend` None: nothing was spent before (a gateway without a ledger, in tests)."""
        self._spend = spend

    async def open(self, meter: Meter, *, organization_id: str, now: float) -> None:
        """See `Bank`."""
        purse, limit = meter.purse, meter.limit
        assert purse is not None
        starts_at, ends_at = periods.containing(now, limit.period, limit.time_zone)
        spent = await spent_in(self._spend, meter, organization_id, starts_at, ends_at)
        purse.open(starts_at=starts_at, ends_at=ends_at, spent=spent, granted=purse.amount - spent)

    async def fill(self, meter: Meter, *, organization_id: str, now: float, needed: int) -> bool:
        """Nothing more is to be had."""
        return False

    async def close(self, meters: Iterable[Meter] = ()) -> None:
        """There is nobody to give anything to."""


async def spent_in(spend: Spend | None, meter: Meter, organization_id: str, starts_at: float, ends_at: float) -> int:
    """Return what ledger and spool say was spent.

    Raises:
        errors.Unavailable: the ledger does not answer, so nobody can say what is left.
    """
    if spend is None:
        return 0
    try:
        return await asyncio.to_thread(_asked, spend.of, meter, organization_id, starts_at, ends_at)
    except DatabaseError:
        raise errors.Unavailable(
            f"What is left of the budget “{meter.limit.name}” cannot be read now. Try again in a moment.",
            code="limits_unavailable",
            retry_after_s=2,
        ) from None


async def posted_in(meter: Meter, organization_id: str, starts_at: float, ends_at: float) -> int:
    """Return what the ledger alone says was spent; -1 where it does not answer."""
    try:
        return await asyncio.to_thread(_asked, spending.between, meter, organization_id, starts_at, ends_at)
    except DatabaseError:
        return -1


def _asked(read: Callable[..., int], meter: Meter, organization_id: str, starts_at: float, ends_at: float) -> int:
    """Read in a thread, which keeps no connection that has grown old."""
    with control.connected():
        return read(
            organization_id=organization_id,
            dimension=DIMENSIONS[meter.limit.scope],
            value=meter.value,
            starts_at=starts_at,
            ends_at=ends_at,
        )


AGENT_RUN = spending.AGENT_RUN
DIMENSIONS = {
    "organization": spending.ORGANIZATION,
    "workspace": spending.WORKSPACE,
    "api_key": spending.API_KEY,
    "agent": spending.AGENT,
    "end_user": spending.END_USER,
    "tag": spending.TAG,
    AGENT_RUN: spending.AGENT_RUN,
}
