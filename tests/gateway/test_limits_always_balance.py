"""Whatever happens to calls, nothing stays reserved and a budget has spent what its records say: a state machine.

One process, its clock in the machine's hand. What processes share stands in `test_leases`.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from billing import spending
from gateway import errors, periods
from gateway.admission import Admission
from gateway.banks import DIMENSIONS, LocalBank
from gateway.draft import Draft
from tests.gateway.limits import Desk, make_key, make_limit

# Berlin's clocks go back at one o'clock UTC: a day of 25 hours, whose third hour comes twice.
CLOCKS_GO_BACK = 1_792_890_000.0
AMOUNT = 30_000_000
RUN = {b"x-kairosroute-run-budget": b"0.02", b"x-kairosroute-agent-run": b"night"}


@functools.cache
def desk() -> Desk:
    """Return the catalog and its router, read once; each machine has an admission of its own."""
    with tempfile.TemporaryDirectory() as directory:
        return Desk(Path(directory))


class Books:
    """Stands for ledger and spool: every record, and nothing else."""

    def __init__(self) -> None:
        self.records: list[tuple[float, dict[str, str], int]] = []

    def add(self, draft: Draft, booked_nanousd: int) -> None:
        assert draft.call is not None
        key, who = draft.key, draft.call.attribution
        values = {
            spending.ORGANIZATION: "",
            spending.API_KEY: key.api_key_id,
            spending.END_USER: who.end_user,
            spending.TAG: spending.tag_value("team", who.tags.get("team", "")),
            spending.AGENT_RUN: spending.run_value(key.workspace_id, who.agent_run, is_simulated=False),
        }
        self.records.append((draft.started_us / 1e6, values, booked_nanousd))

    def of(self, *, organization_id: str, dimension: str, value: str, starts_at: float, ends_at: float) -> int:
        return sum(
            booked
            for began, values, booked in self.records
            if starts_at <= began < ends_at and values[dimension] == value
        )


class Limits(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.books = Books()
        self.now = CLOCKS_GO_BACK - 5400
        self.uptime = 1000.0
        self.under_way: list[Draft] = []
        self.limits = (
            make_limit(amount=AMOUNT, period="day", time_zone="Europe/Berlin"),
            make_limit(amount=AMOUNT, period="hour", time_zone="Europe/Berlin", scope="api_key"),
            make_limit(amount=AMOUNT // 2, period="week", scope="end_user", is_each=True, downgrades=True),
            make_limit(amount=AMOUNT, period="total", scope="tag", tag="team", is_each=True),
            make_limit(kind="requests", amount=8),
            make_limit(kind="tokens", amount=20_000),
        )
        self.begin()

    def begin(self) -> None:
        self.admission = Admission(
            book=desk().book,
            catalog=desk().catalog,
            router=desk().router,
            bank=LocalBank(self.books),  # type: ignore[arg-type]
            monotonic=lambda: self.uptime,
        )

    def teardown(self) -> None:
        while self.under_way:
            self.end(0, "less")
        self.everything_balances()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def has_room(self, asked: Coroutine[Any, Any, None]) -> bool:
        try:
            self.loop.run_until_complete(asked)
        except errors.GatewayError:
            return False
        return True

    @rule(
        model=st.sampled_from(["gpt-4o-mini", "gpt-5.4", "anthropic/claude-haiku-4-5"]),
        max_tokens=st.integers(1, 1500),
        user=st.sampled_from(["", "ann", "bea"]),
        team=st.sampled_from(["", "red"]),
        is_in_run=st.booleans(),
    )
    def start(self, model: str, max_tokens: int, user: str, team: str, is_in_run: bool) -> None:
        body: dict[str, Any] = {"user": user} if user else {}
        if team:
            body["metadata"] = {"team": team}
        draft = desk().draft(
            make_key(limits=self.limits),
            model=model,
            now=self.now,
            headers=RUN if is_in_run else None,
            max_tokens=max_tokens,
            **body,
        )
        if self.has_room(self.admission.admit(draft)):
            self.under_way.append(draft)
        else:
            assert draft.hold is None

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 50), ending=st.sampled_from(["nothing", "unknown", "less", "as reserved", "more"]))
    def end(self, which: int, ending: str) -> None:
        draft = self.under_way.pop(which % len(self.under_way))
        cost = {
            "nothing": 0,
            "unknown": None,  # the client hung up, or a fault of ours
            "less": draft.reserved_nanousd // 3,
            "as reserved": draft.reserved_nanousd,
            "more": draft.reserved_nanousd * 2,  # a dearer tier, or more tokens than were estimated
        }[ending]
        ended = desk()
        ended.admission = self.admission
        ended.end(draft, cost, tokens=7)
        self.books.add(draft, draft.booked_nanousd)
        self.admission.settle(draft)  # once more changes nothing

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 50))
    def hand_over(self, which: int) -> None:
        """The express lane takes a call back, and the other way admits it again."""
        draft = self.under_way.pop(which % len(self.under_way))
        self.admission.release(draft)
        if self.has_room(self.admission.admit(draft)):
            self.under_way.append(draft)

    @rule(seconds=st.sampled_from([1.0, 59.0, 61.0, 3600.0, 90_000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.uptime += seconds

    @rule(seconds=st.sampled_from([7200.0, 90_000.0]))
    def set_the_clock_back(self, seconds: float) -> None:
        self.now -= seconds

    @rule(amount=st.sampled_from([1, AMOUNT // 2, AMOUNT, AMOUNT * 3]), period=st.sampled_from(periods.PERIODS))
    def change_the_budget(self, amount: int, period: str) -> None:
        first, *others = self.limits
        self.limits = (msgspec.structs.replace(first, amount=amount, period=period), *others)

    @rule()
    def die_and_begin_again(self) -> None:
        """Calls that were under way are recorded as interrupted, at what was reserved for them."""
        for draft in self.under_way:
            self.books.add(draft, draft.reserved_nanousd)
        self.under_way = []
        self.begin()

    @invariant()
    def everything_balances(self) -> None:
        for meter in self.admission.meters():
            purse = meter.purse
            if purse is None:
                assert meter.window is not None
                assert meter.window.used >= 0
                continue
            held = [
                draft.hold.reserved_nanousd
                for draft in self.under_way
                if draft.hold is not None
                and any(taken is purse and opening == purse.opening for _, taken, opening in draft.hold.purses)
            ]
            assert purse.reserved == sum(held)
            if purse.opening:
                assert purse.room == purse.amount - purse.spent - purse.reserved
                assert purse.spent == self.books.of(
                    organization_id="org_1",
                    dimension=DIMENSIONS[meter.limit.scope],
                    value=meter.value or {"api_key": "key_1"}.get(meter.limit.scope, ""),
                    starts_at=purse.starts_at,
                    ends_at=purse.ends_at,
                )


TestLimits = Limits.TestCase
TestLimits.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
