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
from dataclasses import replace
from typing import NamedTuple, Protocol

import msgspec

from analytics.request_log import UNUSED
from billing import spending
from gateway import errors, estimation, refusals
from gateway.banks import AGENT_RUN, Bank, LocalBank
from gateway.catalog import contracts
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.context import ChatCall, KeySnapshot, LimitSnapshot, PolicySnapshot
from gateway.counters import Hold, Meter, Purse, Window
from gateway.draft import Draft
from gateway.limit_alerts import Crossing, Herald
from gateway.preferences import MaxPrice
from gateway.providers.protocol import Endpoint
from gateway.routing.decision import Decision

DOWNGRADE = "budget-downgrade"

_BUDGET, _REQUESTS, _TOKENS = "budget", "requests", "tokens"
_MOST_METERS = 50_000
_IDLE_S = 120
_CLOCK_STEP_S = 60
_NO_ALERT = 2**62

WindowOf = Callable[[int], Window]


class Decides(Protocol):
    """A router."""

    def decide(self, call: ChatCall, key: KeySnapshot, *, call_id: str, at: float) -> Decision:
        """Return where a call of the moment `at` (epoch seconds) goes. Raises `errors.GatewayError`."""
        ...


class _Plan(NamedTuple):
    """The limits of one key: those that every call of it meets, and those that depend on what the call names."""

    limits: tuple[LimitSnapshot, ...]
    fixed: tuple[Meter, ...]
    by_call: tuple[LimitSnapshot, ...]
    needs_size: bool  # some limit counts more than calls


class _Size(NamedTuple):
    """What a call may use: tokens, and nano-USD at the dearest of its endpoints."""

    tokens: int
    nanousd: int


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
        self._window = window
        self._monotonic = monotonic
        self._plans: dict[str, _Plan] = {}
        self._meters: dict[tuple[str, str], Meter] = {}
        self._opening: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Give back what was leased, and tell what is still to be told."""
        await self.bank.close(self.meters())
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
        meters = self._meters_of(draft)
        size = self._size(draft)
        if _cap(key, call) < size.nanousd:
            return False
        second = int(self._monotonic())
        now = draft.started_us / 1e6
        for meter in meters:
            purse = meter.purse
            if purse is None:
                window = meter.window
                assert window is not None
                if window.room(second) < (size.tokens if meter.limit.kind == _TOKENS else 1):
                    return False
            elif purse.room < size.nanousd or _is_over(purse, now) or _is_to_downgrade(meter, purse):
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
        for meter, starts_at in hold.purses:
            purse = meter.purse
            if purse is not None and purse.starts_at == starts_at:
                purse.settle(hold.reserved_nanousd, cost)
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
        for meter, starts_at in hold.purses:
            if meter.purse is not None and meter.purse.starts_at == starts_at:
                meter.purse.settle(hold.reserved_nanousd, 0)
        for meter, taken_at in hold.tokens:
            if meter.window is not None:
                meter.window.correct(taken_at, -hold.reserved_tokens)
        second = int(self._monotonic())
        for meter in hold.requests:
            if meter.window is not None:
                meter.window.correct(second, -1)

    def _take(self, draft: Draft, meters: Sequence[Meter], size: _Size, second: int) -> None:
        hold = Hold()
        for meter in meters:
            meter.used_at = second
            purse = meter.purse
            if purse is not None:
                purse.reserve(size.nanousd)
                hold.purses.append((meter, purse.starts_at))
                continue
            assert meter.window is not None
            if meter.limit.kind == _TOKENS:
                hold.tokens.append((meter, meter.window.take(size.tokens)))
            else:
                meter.window.take(1)
                hold.requests.append(meter)
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
        meters = self._meters_of(draft)
        size = self._size(draft)
        now = draft.started_us / 1e6
        self._require_cheap(key, call, size)
        while await self._prepare(meters, size, organization_id=key.organization_id, now=now):
            pass
        # From here on nothing waits: what is looked at is what is taken.
        second = int(self._monotonic())
        self._require_windows(draft, meters, size, second)
        lacking = [meter for meter in meters if meter.purse is not None and meter.purse.room < size.nanousd]
        wanting = [meter for meter in meters if meter.purse is not None and _is_to_downgrade(meter, meter.purse)]
        if (lacking or wanting) and all(meter.limit.downgrades for meter in lacking):
            cheaper = self._cheaper(draft, meters, size)
            if cheaper is not None:
                decision, smaller = cheaper
                draft.downgrade = _note(draft, lacking or wanting, decision)
                draft.decision, draft.endpoint = decision, decision.endpoints[0]
                self._take(draft, meters, smaller, second)
                return
        if lacking:
            raise refusals.over_budget(
                _tightest(lacking),
                needed_nanousd=size.nanousd,
                is_plain=key.has_plain_budget_errors or draft.has_plain_errors,
            )
        self._take(draft, meters, size, second)

    async def budgets(self, key: KeySnapshot, *, now: float) -> list[Meter]:
        """Return the key's own budgets (those that every call of it counts against), opened, the tightest first.

        Raises:
            errors.Unavailable: nobody can say what is left of a budget.
        """
        meters = [meter for meter in self._plan(key).fixed if meter.purse is not None]
        await self._prepare(meters, _Size(0, 0), organization_id=key.organization_id, now=now)
        return sorted(meters, key=_left)

    def windows(self, key: KeySnapshot) -> list[Meter]:
        """Return the key's own rate limits."""
        return [meter for meter in self._plan(key).fixed if meter.purse is None]

    async def _prepare(self, meters: Sequence[Meter], size: _Size, *, organization_id: str, now: float) -> bool:
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
                units = size.tokens if meter.limit.kind == _TOKENS else 1
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

    def _require_cheap(self, key: KeySnapshot, call: ChatCall, size: _Size) -> None:
        most = _cap(key, call)
        if most < size.nanousd:
            is_keys = most == key.max_cost_per_request_nanousd
            raise refusals.over_cost_limit(
                needed_nanousd=size.nanousd,
                most_nanousd=int(most),
                source="its API key" if is_keys else "the call itself",
            )

    def _require_windows(self, draft: Draft, meters: Sequence[Meter], size: _Size, second: int) -> None:
        for meter in meters:
            if meter.window is None:
                continue
            units = size.tokens if meter.limit.kind == _TOKENS else 1
            if meter.window.room(second) < units:
                raise refusals.over_rate(
                    meter,
                    units=units,
                    now=draft.started_us / 1e6,
                    is_openrouter=draft.dialect.name == "openrouter",
                )

    def _cheaper(self, draft: Draft, meters: Sequence[Meter], size: _Size) -> tuple[Decision, _Size] | None:
        """Return a decision for cheaper models that fit what is left, None when there is none."""
        call, endpoint = draft.call, draft.endpoint
        assert call is not None
        assert endpoint is not None
        if call.operation == estimation.EMBEDDINGS:
            return None  # vectors of another model would be of no use beside those that the client has
        left = min(meter.purse.room for meter in meters if meter.purse is not None)
        asked = min(left, size.nanousd - 1)
        if asked <= 0:
            return None
        row = contracts.row_of(self._book, draft.key.contracts, endpoint.model, draft.started_us / 1e6)
        bound = call.preferences.max_price or MaxPrice()
        if row is not None:
            bound = msgspec.structs.replace(
                bound,
                prompt_nanousd_per_mtok=_least(bound.prompt_nanousd_per_mtok, row.rates.input),
                completion_nanousd_per_mtok=_least(bound.completion_nanousd_per_mtok, row.rates.output),
            )
        wishes = msgspec.structs.replace(
            call.preferences, max_price=bound, max_cost_nanousd=_least(call.preferences.max_cost_nanousd, asked)
        )
        try:
            decision = self._router.decide(
                _asking_for(call, "auto", wishes),
                # Neither a policy nor an experiment may choose a dear model here.
                replace(draft.key, policy=PolicySnapshot(), experiments=()),
                call_id=draft.body,
                at=draft.started_us / 1e6,
            )
        except errors.GatewayError:
            return None
        fitting = tuple(one for one in decision.endpoints if self._needed(draft, (one,)).nanousd <= asked)
        if not fitting:
            return None
        chosen = replace(decision, endpoints=fitting, route_reason=DOWNGRADE, is_pinned=False)
        return chosen, self._needed(draft, fitting)

    # -- what a call is measured by

    def _meters_of(self, draft: Draft) -> Sequence[Meter]:
        plan = self._plan(draft.key)
        call = draft.call
        assert call is not None
        run_budget = call.preferences.run_budget
        if not plan.by_call and run_budget is None:
            return plan.fixed
        who = call.attribution
        meters = list(plan.fixed)
        for limit in plan.by_call:
            if limit.scope == "tag":
                found = who.tags.get(limit.tag)
                value = "" if found is None else spending.tag_value(limit.tag, found)
            else:
                value = who.agent if limit.scope == "agent" else who.end_user
            if value and (limit.is_each or value == limit.subject):
                meters.append(self._meter(limit, value))
        if run_budget is not None:
            if not who.agent_run:
                raise errors.InvalidRequest(
                    "A run budget needs the run's name: send `X-KairosRoute-Agent-Run`.",
                    param="X-KairosRoute-Agent-Run",
                    code="missing_agent_run",
                )
            value = spending.run_value(draft.key.workspace_id, who.agent_run, is_simulated=draft.key.is_test)
            limit = LimitSnapshot(
                limit_id=f"run:{draft.key.organization_id}",
                name=f"run {who.agent_run}",
                scope=AGENT_RUN,
                kind=_BUDGET,
                amount=run_budget.max_nanousd,
                period="total",
                downgrades=run_budget.on_exceed == "downgrade",
            )
            meters.append(self._meter(limit, value))
        return meters

    def _plan(self, key: KeySnapshot) -> _Plan:
        plan = self._plans.get(key.api_key_id)
        if plan is not None and plan.limits is key.limits:
            return plan
        fixed, by_call = [], []
        for limit in key.limits:
            if limit.scope in ("agent", "end_user", "tag"):
                by_call.append(limit)
            else:
                named = {"workspace": key.workspace_id, "api_key": key.api_key_id}
                fixed.append(self._meter(limit, named.get(limit.scope, "")))
        needs_size = any(limit.kind != _REQUESTS for limit in key.limits)
        plan = self._plans[key.api_key_id] = _Plan(key.limits, tuple(fixed), tuple(by_call), needs_size)
        return plan

    def _meter(self, limit: LimitSnapshot, value: str) -> Meter:
        """Return the meter of a limit for one value, made or adapted to what the limit says now."""
        name = (limit.limit_id, value)
        meter = self._meters.get(name)
        if meter is not None and (meter.limit is limit or meter.limit == limit):
            return meter
        if meter is not None and meter.limit.kind == limit.kind:
            self._adapt(meter, limit)
            return meter
        if len(self._meters) >= _MOST_METERS:
            self._forget_idle()
        is_budget = limit.kind == _BUDGET
        meter = Meter(
            limit,
            value,
            purse=Purse(limit.amount) if is_budget else None,
            window=None if is_budget else self._window(limit.amount),
        )
        self._meters[name] = meter
        return meter

    def _adapt(self, meter: Meter, limit: LimitSnapshot) -> None:
        before, meter.limit = meter.limit, limit
        meter.alert_at_nanousd = -1
        if meter.window is not None:
            meter.window.limit = limit.amount
            return
        purse = meter.purse
        assert purse is not None
        if (before.period, before.time_zone) != (limit.period, limit.time_zone):
            meter.purse = Purse(limit.amount)
            return
        if not self.bank.shares:
            purse.room += limit.amount - purse.amount
        purse.amount = limit.amount

    def _forget_idle(self) -> None:
        """Let go of meters that nothing counts on: of ended minutes, and of budgets that the ledger knows as well."""
        oldest = int(self._monotonic()) - _IDLE_S
        fixed = {id(meter) for plan in self._plans.values() for meter in plan.fixed}
        for name, meter in list(self._meters.items()):
            is_held = meter.purse is not None and meter.purse.reserved != 0
            if meter.used_at < oldest and not is_held and id(meter) not in fixed:
                del self._meters[name]

    def meters(self) -> list[Meter]:
        """Return every meter there is."""
        return list(self._meters.values())

    def _size(self, draft: Draft) -> _Size:
        assert draft.call is not None
        assert draft.decision is not None
        wishes = draft.call.preferences
        if (
            not self._plan(draft.key).needs_size
            and draft.key.max_cost_per_request_nanousd is None
            and wishes.run_budget is None
            and wishes.max_cost_nanousd is None
        ):
            return _Size(0, 0)
        return self._needed(draft, draft.decision.endpoints)

    def _needed(self, draft: Draft, endpoints: Sequence[Endpoint]) -> _Size:
        """Return what the call may use at the dearest of the endpoints: any of them may have to serve it."""
        call = draft.call
        assert call is not None
        now = draft.started_us / 1e6
        asked = estimation.input_tokens(call)
        tier = call.body.get("service_tier") if b'"service_tier"' in call.raw else None
        nanousd = answered = 0
        last = ""
        for endpoint in endpoints:
            name = endpoint.model
            if name == last:
                continue
            last = name
            model = self._catalog.get(name)
            output = estimation.output_tokens(call, None if model is None else model.max_output_tokens)
            row = contracts.row_of(self._book, draft.key.contracts, name, now)
            cost = estimation.reservation(asked, output, row)
            if type(tier) is str:
                row = contracts.row_of(self._book, draft.key.contracts, name, now, tier)
                cost = max(cost, estimation.reservation(asked, output, row))
            nanousd = max(nanousd, cost)
            answered = max(answered, output)
        return _Size(asked + answered, nanousd)

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


def _cap(key: KeySnapshot, call: ChatCall) -> float:
    """Return what one call may cost, in nano-USD: the key's guardrail or the call's own wish, whichever is less."""
    own, asked = key.max_cost_per_request_nanousd, call.preferences.max_cost_nanousd
    if own is None:
        return float("inf") if asked is None else asked
    return own if asked is None or own < asked else asked


def _is_over(purse: Purse, now: float) -> bool:
    """Return whether the purse has to be opened for another period; a clock that is set back a little changes none."""
    return now >= purse.ends_at or now < purse.starts_at - _CLOCK_STEP_S


def _is_to_downgrade(meter: Meter, purse: Purse) -> bool:
    limit = meter.limit
    if not limit.downgrades or limit.downgrade_percent >= 100:
        return False
    used = purse.spent + purse.reserved + purse.held_elsewhere
    return used * 100 >= purse.amount * limit.downgrade_percent


def _next_alert(limit: LimitSnapshot, purse: Purse) -> int:
    """Return the spend at which the next percentage is reached; those that are reached are told already."""
    ahead = (-(-purse.amount * percent // 100) for percent in limit.alert_percents)
    return min((amount for amount in ahead if amount > purse.spent), default=_NO_ALERT)


def _left(meter: Meter) -> int:
    purse = meter.purse
    assert purse is not None
    return purse.amount - purse.spent - purse.reserved - purse.held_elsewhere


def _tightest(meters: Sequence[Meter]) -> Meter:
    return min(meters, key=_left)


def _least(first: int | None, second: int) -> int:
    return second if first is None or second < first else first


def _asking_for(call: ChatCall, model: str, preferences: object) -> ChatCall:
    """Return the call as the router sees it when it asks for another model."""
    return ChatCall(
        raw=call.raw,
        requested_model=model,
        is_stream=call.is_stream,
        wants_usage=call.wants_usage,
        task_type=call.task_type,
        task_source=call.task_source,
        attribution=call.attribution,
        options={**call.options, "experiment": "off"},
        shape=call.shape,
        body=call.body,
        operation=call.operation,
        dialect=call.dialect,
        preferences=preferences,  # type: ignore[arg-type]
        trace=call.trace,
        not_applied=call.not_applied,
        request_keys=call.request_keys,
        output_tokens=call.output_tokens,
    )


def _note(draft: Draft, meters: Sequence[Meter], decision: Decision) -> dict[str, object]:
    """Return what the receipt says of a downgrade."""
    meter = _tightest(meters)
    assert draft.endpoint is not None
    return {
        "from": draft.endpoint.model,
        "to": decision.endpoints[0].model,
        "limit_source": refusals.limit_source(meter),
        "limit": meter.limit.name,
    }
