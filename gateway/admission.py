"""Whether a call may go out: rate limits, budgets, the cap of one call. Reserve before, settle after.

`try_admit` answers at once, from memory, without locks: one event loop owns all counters. It says no to whatever needs
more thought, and `admit` thinks: it opens budgets, leases more, looks for a cheaper model, and refuses. `settle`
replaces a reservation by what the call did cost, when its record is made: every call has exactly one. So what is spent
never exceeds a budget by more than calls cost beyond their estimates (`gateway.estimation`).

What a client is told stands in `gateway.refusals`; where money comes from in `gateway.banks` and `gateway.leases`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Sequence

from analytics.request_log import UNUSED
from gateway import downgrades, refusals, sizes
from gateway.banks import AGENT_RUN, Bank, LocalBank
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.context import ChatCall, KeySnapshot, LimitSnapshot
from gateway.counters import Hold, Meter, Purse, Window
from gateway.downgrades import Decides
from gateway.draft import Draft
from gateway.limit_alerts import Crossing, Herald
from gateway.meters import TOKENS, Meters, WindowOf
from gateway.sizes import NOTHING, Size

_CLOCK_STEP_S = 60
_NO_ALERT = 2**62


class Admission:
    """The limits of one data-plane process."""

    def __init__(
        self,
        *,
        book: PriceBook,
        catalog: Catalog,
        router: Decides,
        bank: Bank | None = None,
        herald: Herald | None = None,
        window: WindowOf = Window,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._catalog = catalog
        self._router = router
        self.bank: Bank = bank or LocalBank(None)
        self._herald = herald
        self._monotonic = monotonic
        self._meters = Meters(window=window, are_shared=self.bank.shares, monotonic=monotonic)
        self._opening: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Give back what was leased, and tell what is still to be told."""
        await self.bank.close(self._meters.all())
        if self._herald is not None:
            await asyncio.to_thread(self._herald.stop)

    # -- the hot path

    def try_admit(self, draft: Draft) -> bool:
        """Take what the decided call needs of its limits; False, and nothing is taken, when `admit` has to look."""
        key, call = draft.key, draft.call
        assert call is not None
        wishes = call.preferences
        if (
            not key.limits
            and key.max_cost_per_request_nanousd is None
            and wishes.run_budget is None
            and wishes.max_cost_nanousd is None
        ):
            return True
        meters = self._meters.of_call(draft)
        size = self._size(draft)
        if sizes.cap(key, call) < size.nanousd:
            return False
        second = int(self._monotonic())
        now = draft.started_us / 1e6
        for meter in meters:
            purse = meter.purse
            if purse is None:
                window = meter.window
                assert window is not None
                if window.room(second) < (size.tokens if meter.limit.kind == TOKENS else 1):
                    return False
            elif purse.room < size.nanousd or _is_over(purse, now) or downgrades.is_wanted(meter, purse):
                return False
        self._take(draft, meters, size, second)
        return True

    def settle(self, draft: Draft) -> None:
        """Replace what the call had reserved by what it did use. Once for each call, when its record is made."""
        hold = draft.hold
        if hold is None or hold.is_settled:
            return
        hold.is_settled = True
        cost = max(0, draft.booked_nanousd)
        began = draft.started_us / 1e6
        for meter, taken_of, opening in hold.purses:
            purse = meter.purse
            if purse is None:
                continue
            if purse is taken_of and purse.opening == opening:
                purse.settle(hold.reserved_nanousd, cost)
            elif purse.starts_at <= began < purse.ends_at:
                purse.settle(0, cost)  # opened anew meanwhile, with room that knew nothing of this call
            else:
                continue  # its period is over
            if purse.spent >= meter.alert_at_nanousd:
                self._tell(meter, purse, draft)
        if hold.tokens:
            usage = draft.usage
            if draft.settlement.price_state == UNUSED:
                unused = hold.reserved_tokens
            elif usage.is_reported:
                unused = hold.reserved_tokens - max(0, usage.input_tokens) - max(0, usage.output_tokens)
            else:
                unused = 0
            for meter, taken_at in hold.tokens:
                if meter.window is not None:
                    meter.window.correct(taken_at, -unused)

    def release(self, draft: Draft) -> None:
        """Give back what a call has taken that is not going out on this way: another one will admit it again."""
        hold, draft.hold = draft.hold, None
        if hold is None:
            return
        for _, purse, opening in hold.purses:
            if purse.opening == opening:
                purse.settle(hold.reserved_nanousd, 0)
        for meter, taken_at in hold.tokens:
            if meter.window is not None:
                meter.window.correct(taken_at, -hold.reserved_tokens)
        for meter, taken_at in hold.requests:
            if meter.window is not None:
                meter.window.correct(taken_at, -1)

    def _take(self, draft: Draft, meters: Sequence[Meter], size: Size, second: int) -> None:
        hold = Hold()
        for meter in meters:
            meter.used_at = second
            purse = meter.purse
            if purse is not None:
                purse.reserve(size.nanousd)
                hold.purses.append((meter, purse, purse.opening))
                continue
            assert meter.window is not None
            if meter.limit.kind == TOKENS:
                hold.tokens.append((meter, meter.window.take(size.tokens)))
            else:
                hold.requests.append((meter, meter.window.take(1)))
        hold.reserved_nanousd = size.nanousd if hold.purses else 0
        hold.reserved_tokens = size.tokens
        draft.hold = hold

    # -- the way that may wait

    async def admit(self, draft: Draft) -> None:
        """Take what the decided call needs, once its budgets are open; decide anew where a cheaper model has to do.

        Raises:
            errors.CostLimitExceeded: it may cost more than one call is allowed to.
            errors.RateLimited: a window is full.
            errors.BudgetExceeded, errors.BudgetInFlight: a budget has no room for it.
            errors.Unavailable: nobody can say what is left of a budget.
        """
        if self.try_admit(draft):
            return
        key, call = draft.key, draft.call
        assert call is not None
        meters = self._meters.of_call(draft)
        size = self._size(draft)
        now = draft.started_us / 1e6
        self._require_cheap(key, call, size)
        while await self._prepare(meters, size, organization_id=key.organization_id, now=now):
            pass
        # From here on nothing waits: what is looked at is what is taken.
        second = int(self._monotonic())
        self._require_windows(draft, meters, size, second)
        lacking = [meter for meter in meters if meter.purse is not None and meter.purse.room < size.nanousd]
        wanting = [meter for meter in meters if meter.purse is not None and downgrades.is_wanted(meter, meter.purse)]
        if (lacking or wanting) and all(meter.limit.downgrades for meter in lacking):
            cheaper = downgrades.cheaper(self._book, self._catalog, self._router, draft, meters, size)
            if cheaper is not None:
                decision, smaller = cheaper
                draft.downgrade = downgrades.note(draft, lacking or wanting, decision)
                draft.decision, draft.endpoint = decision, decision.endpoints[0]
                self._take(draft, meters, smaller, second)
                return
        if lacking:
            raise refusals.over_budget(
                refusals.tightest(lacking),
                needed_nanousd=size.nanousd,
                is_plain=key.has_plain_budget_errors or draft.has_plain_errors,
            )
        self._take(draft, meters, size, second)

    async def budgets(self, key: KeySnapshot, *, now: float) -> list[Meter]:
        """Return the key's own budgets (those that every call of it counts against), opened, the tightest first.

        Raises:
            errors.Unavailable: nobody can say what is left of a budget.
        """
        meters = [meter for meter in self._meters.plan(key).fixed if meter.purse is not None]
        await self._prepare(meters, NOTHING, organization_id=key.organization_id, now=now)
        return sorted(meters, key=refusals.left)

    def windows(self, key: KeySnapshot) -> list[Meter]:
        """Return the key's own rate limits."""
        return [meter for meter in self._meters.plan(key).fixed if meter.purse is None]

    async def _prepare(self, meters: Sequence[Meter], size: Size, *, organization_id: str, now: float) -> bool:
        """Open and fill what is lacking; return whether it has to be looked at again.

        While one meter was waited for, others that share it may have taken what there was in another.
        """
        has_got = False
        for meter in meters:
            purse = meter.purse
            if purse is not None:
                if _is_over(purse, now):
                    await self._open(meter, organization_id=organization_id, now=now)
                    has_got = self.bank.shares
                purse = meter.purse
                assert purse is not None
                if self.bank.shares and purse.room < size.nanousd:
                    has_got |= await self.bank.fill(
                        meter, organization_id=organization_id, now=now, needed=size.nanousd
                    )
            elif self.bank.shares:
                assert meter.window is not None
                units = size.tokens if meter.limit.kind == TOKENS else 1
                if meter.window.room(int(self._monotonic())) < units:
                    has_got |= await self.bank.fill(meter, organization_id=organization_id, now=now, needed=units)
        return has_got

    async def _open(self, meter: Meter, *, organization_id: str, now: float) -> None:
        """Open a budget's period once for all who wait for it."""
        name = (meter.limit.limit_id, meter.value)
        task = self._opening.get(name)
        if task is None:
            task = asyncio.ensure_future(self.bank.open(meter, organization_id=organization_id, now=now))
            self._opening[name] = task
            task.add_done_callback(lambda done: self._opened(name, done))
        await asyncio.shield(task)
        purse = meter.purse
        assert purse is not None
        if meter.alert_at_nanousd < 0 or purse.spent < meter.alert_at_nanousd:
            meter.alert_at_nanousd = _next_alert(meter.limit, purse)

    def _opened(self, name: tuple[str, str], done: asyncio.Task[None]) -> None:
        self._opening.pop(name, None)
        if not done.cancelled():
            done.exception()  # whoever waited has it; one who hung up needs it no more

    def _require_cheap(self, key: KeySnapshot, call: ChatCall, size: Size) -> None:
        most = sizes.cap(key, call)
        if most < size.nanousd:
            is_keys = most == key.max_cost_per_request_nanousd
            raise refusals.over_cost_limit(
                needed_nanousd=size.nanousd,
                most_nanousd=int(most),
                source="its API key" if is_keys else "the call itself",
            )

    def _require_windows(self, draft: Draft, meters: Sequence[Meter], size: Size, second: int) -> None:
        for meter in meters:
            if meter.window is None:
                continue
            units = size.tokens if meter.limit.kind == TOKENS else 1
            if meter.window.room(second) < units:
                raise refusals.over_rate(
                    meter,
                    units=units,
                    now=draft.started_us / 1e6,
                    is_openrouter=draft.dialect.name == "openrouter",
                )

    def meters(self) -> list[Meter]:
        """Return every meter there is."""
        return self._meters.all()

    def _size(self, draft: Draft) -> Size:
        assert draft.call is not None
        assert draft.decision is not None
        wishes = draft.call.preferences
        if (
            not self._meters.plan(draft.key).needs_size
            and draft.key.max_cost_per_request_nanousd is None
            and wishes.run_budget is None
            and wishes.max_cost_nanousd is None
        ):
            return NOTHING
        return sizes.needed(self._book, self._catalog, draft, draft.decision.endpoints)

    # -- soft alerts

    def _tell(self, meter: Meter, purse: Purse, draft: Draft) -> None:
        reached = [percent for percent in meter.limit.alert_percents if purse.spent * 100 >= purse.amount * percent]
        meter.alert_at_nanousd = _next_alert(meter.limit, purse)
        if self._herald is None or not reached or meter.limit.scope == AGENT_RUN:
            return
        self._herald.crossed(
            Crossing(
                organization_id=draft.key.organization_id,
                limit_id=meter.limit.limit_id,
                subject=meter.value if meter.limit.is_each else "",
                percent=reached[-1],
                period_starts_at=dt.datetime.fromtimestamp(purse.starts_at, dt.UTC),
                crossed_at=dt.datetime.fromtimestamp(draft.started_us / 1e6, dt.UTC),
                spent_nanousd=purse.spent,
                amount_nanousd=purse.amount,
            )
        )


def _is_over(purse: Purse, now: float) -> bool:
    """Return whether the purse has to be opened for another period; a clock that is set back a little changes none."""
    return now >= purse.ends_at or now < purse.starts_at - _CLOCK_STEP_S


def _next_alert(limit: LimitSnapshot, purse: Purse) -> int:
    """Return the spend at which the next percentage is reached; those that are reached are told already."""
    ahead = (-(-purse.amount * percent // 100) for percent in limit.alert_percents)
    return min((amount for amount in ahead if amount > purse.spent), default=_NO_ALERT)
