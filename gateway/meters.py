"""Which meters a call meets: those of its key, and those of the agent, end user, tags and run that it names.

A meter lives as long as its limit and the process; what it counts stands in `counters`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from billing import spending
from gateway import errors
from gateway.banks import AGENT_RUN
from gateway.context import KeySnapshot, LimitSnapshot
from gateway.counters import Meter, Purse, Window
from gateway.draft import Draft

BUDGET, REQUESTS, TOKENS = "budget", "requests", "tokens"

_MOST_METERS = 50_000
_IDLE_S = 120

WindowOf = Callable[[int], Window]


class Plan(NamedTuple):
    """The limits of one key: those that every call of it meets, and those that depend on what the call names."""

    limits: tuple[LimitSnapshot, ...]
    fixed: tuple[Meter, ...]
    by_call: tuple[LimitSnapshot, ...]
    needs_size: bool  # some limit counts more than calls


class Meters:
    """The meters of one process. `are_shared`: others spend from the same budgets."""

    def __init__(self, *, window: WindowOf, are_shared: bool, monotonic: Callable[[], float]) -> None:
        self._window = window
        self._are_shared = are_shared
        self._monotonic = monotonic
        self._plans: dict[str, Plan] = {}
        self._meters: dict[tuple[str, str], Meter] = {}

    def of_call(self, draft: Draft) -> Sequence[Meter]:
        plan = self.plan(draft.key)
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
                kind=BUDGET,
                amount=run_budget.max_nanousd,
                period="total",
                downgrades=run_budget.on_exceed == "downgrade",
            )
            meters.append(self._meter(limit, value))
        return meters

    def plan(self, key: KeySnapshot) -> Plan:
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
        needs_size = any(limit.kind != REQUESTS for limit in key.limits)
        plan = self._plans[key.api_key_id] = Plan(key.limits, tuple(fixed), tuple(by_call), needs_size)
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
        is_budget = limit.kind == BUDGET
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
        if not self._are_shared:
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

    def all(self) -> list[Meter]:
        """Return every meter there is."""
        return list(self._meters.values())
