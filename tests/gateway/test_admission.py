"""Limits hold: who may go out, what is reserved, what is settled, and what a refused client is told."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import errors, periods
from gateway.draft import Draft
from tests.gateway.limits import CENT, NOW, Desk, make_key, make_limit


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


@pytest.fixture
def desk(prices: Path) -> Desk:
    return Desk(prices)


async def refused(desk: Desk, draft: Draft) -> Any:
    with pytest.raises(errors.GatewayError) as caught:
        await desk.admission.admit(draft)
    assert draft.hold is None
    return caught.value


async def test_a_call_without_limits_takes_nothing(desk: Desk) -> None:
    draft = desk.draft(make_key())
    assert desk.admission.try_admit(draft)
    assert draft.hold is None


async def test_a_budget_is_reserved_before_and_settled_after(desk: Desk) -> None:
    draft = desk.draft(make_key(limits=(make_limit(),)))
    assert not desk.admission.try_admit(draft)  # nobody has read yet what was spent
    await desk.admission.admit(draft)
    purse = desk.only_purse()
    # 1,000 tokens of output at 0.60 dollars a million, and a few of input at 0.15
    assert 600_000 < purse.reserved == draft.reserved_nanousd < 610_000
    desk.end(draft, 12_345)
    assert (purse.reserved, purse.spent, purse.room) == (0, 12_345, 100 * CENT - 12_345)
    desk.end(draft, 12_345)  # a second record of the same call would change nothing
    assert purse.spent == 12_345
    assert desk.admission.try_admit(desk.draft(make_key(limits=draft.key.limits)))


async def test_a_call_that_used_nothing_gives_all_back(desk: Desk) -> None:
    key = make_key(limits=(make_limit(), make_limit(kind="tokens", amount=5000)))
    draft = desk.draft(key)
    await desk.admission.admit(draft)
    desk.end(draft, 0)
    assert (desk.only_purse().reserved, desk.only_purse().spent) == (0, 0)
    assert [meter.window.used for meter in desk.admission.meters() if meter.window] == [0]


async def test_a_cost_that_nobody_knows_is_booked_as_reserved_and_is_never_free(desk: Desk) -> None:
    draft = desk.draft(make_key(limits=(make_limit(),)))
    await desk.admission.admit(draft)
    desk.end(draft, None)
    assert desk.only_purse().spent == draft.booked_nanousd == draft.reserved_nanousd > 0


async def test_a_spent_budget_refuses_and_says_when_it_resets(desk: Desk) -> None:
    key = make_key(limits=(make_limit(amount=700_000, name="Tiny", time_zone="America/New_York"),))
    first = desk.draft(key)
    await desk.admission.admit(first)
    in_flight = await refused(desk, desk.draft(key))
    assert (in_flight.http_status, in_flight.code) == (402, "in_flight_budget_exhausted")
    assert dict(in_flight.headers())[b"x-should-retry"] == b"true"
    assert dict(in_flight.headers())[b"retry-after"].isdigit()
    desk.end(first, 600_500)
    spent = await refused(desk, desk.draft(key))
    assert (spent.http_status, spent.code, spent.type) == (403, "budget_exceeded", "permission_error")
    assert dict(spent.headers()) == {b"x-should-retry": b"false"}
    assert spent.metadata["limit_source"] == "kairosroute_organization_budget"
    assert (spent.metadata["limit_usd"], spent.metadata["spend_usd"]) == (0.0007, 0.0006005)
    assert spent.metadata["resets_at"] == "2026-12-01T05:00:00Z"
    cheaper = desk.draft(key, max_tokens=10)
    await desk.admission.admit(cheaper)  # what fits goes through


@pytest.mark.parametrize("how", ["by its name", "by the key's switch"])
async def test_kairosroutes_own_sdk_reads_a_spent_budget_from_a_429(desk: Desk, how: str) -> None:
    key = make_key(limits=(make_limit(amount=1),), has_plain_budget_errors=how == "by the key's switch")
    headers = {b"user-agent": b"kairosroute-python/0.1.0"} if how == "by its name" else {}
    error = await refused(desk, desk.draft(key, headers=headers))
    assert (error.http_status, error.code) == (429, "BUDGET_EXCEEDED")
    assert dict(error.headers()) == {b"x-should-retry": b"false"}
    from gateway.dialects.openai import OPENROUTER

    assert b'"code":"BUDGET_EXCEEDED"' in OPENROUTER.error(error, "req_1")


async def test_the_cap_of_one_call_refuses_before_any_spend(desk: Desk) -> None:
    key = make_key(max_cost_per_request_nanousd=500_000, limits=(make_limit(),))
    error = await refused(desk, desk.draft(key))
    assert error.code == "COST_LIMIT_EXCEEDED"
    assert not error.should_retry
    await desk.admission.admit(desk.draft(key, max_tokens=500))


async def test_the_strictest_limit_decides_and_the_others_give_back(desk: Desk) -> None:
    wide, narrow = make_limit(), make_limit(scope="agent", subject="bot", amount=1)
    key = make_key(limits=(wide, narrow))
    metadata = {"kairosroute": {"agent": "bot"}}
    assert (await refused(desk, desk.draft(key, **metadata))).metadata["limit_id"] == narrow.limit_id
    assert all(meter.purse.reserved == 0 for meter in desk.admission.meters())
    await desk.admission.admit(desk.draft(key, kairosroute={"agent": "other"}))


async def test_each_value_has_its_own_budget(desk: Desk) -> None:
    users, teams = make_limit(scope="end_user", is_each=True), make_limit(scope="tag", tag="team", is_each=True)
    key = make_key(limits=(users, teams))
    for user, team in (("ann", "red"), ("bea", "red"), ("ann", "blue"), (None, None)):
        body = {"user": user, "metadata": {"team": team}} if user else {}
        await desk.admission.admit(desk.draft(key, **body))
    reserved = {meter.value: meter.purse.reserved for meter in desk.admission.meters()}
    one = reserved["bea"]
    assert one > 0
    assert reserved.keys() == {"ann", "bea", "team=red", "team=blue"}
    assert abs(reserved["ann"] - 2 * one) < 10_000
    assert abs(reserved["team=red"] - 2 * one) < 10_000


async def test_requests_a_minute_are_exact_under_a_burst(desk: Desk) -> None:
    key = make_key(limits=(make_limit(kind="requests", amount=100),))
    drafts = [desk.draft(key) for _ in range(200)]
    outcomes = await asyncio.gather(*(desk.admission.admit(draft) for draft in drafts), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 100
    error = next(outcome for outcome in outcomes if outcome is not None)
    assert isinstance(error, errors.RateLimited)
    headers = dict(error.headers())
    assert headers[b"x-should-retry"] == b"true"
    assert headers[b"retry-after"] == b"61"
    assert headers[b"x-ratelimit-limit-requests"] == b"100"
    assert headers[b"x-ratelimit-reset-requests"] == b"1m1s"
    desk.second += 61
    assert desk.admission.try_admit(desk.draft(key))


async def test_tokens_a_minute_are_reserved_by_estimate_and_corrected(desk: Desk) -> None:
    key = make_key(limits=(make_limit(kind="tokens", amount=2500),))
    first = desk.draft(key)
    await desk.admission.admit(first)
    await desk.admission.admit(desk.draft(key))
    with pytest.raises(errors.RateLimited):
        await desk.admission.admit(desk.draft(key))
    desk.end(first, 5, tokens=20)
    assert desk.admission.try_admit(desk.draft(key))
    too_large = await refused(desk, desk.draft(key, max_tokens=5000))
    assert not too_large.should_retry


async def test_over_budget_a_cheaper_model_answers_where_the_limit_says_so(desk: Desk) -> None:
    key = make_key(limits=(make_limit(amount=2_000_000, downgrades=True, downgrade_percent=100, name="Soft"),))
    draft = desk.draft(key, model="gpt-5.5")  # 30 dollars a million: 0.03 dollars for 1,000 tokens
    await desk.admission.admit(draft)
    assert draft.endpoint is not None
    assert draft.decision is not None
    assert draft.endpoint.model != "openai/gpt-5.5"
    assert draft.decision.route_reason == "budget-downgrade"
    assert draft.reserved_nanousd < 2_000_000
    assert draft.downgrade == {
        "from": "openai/gpt-5.5",
        "to": draft.endpoint.model,
        "limit_source": "kairosroute_organization_budget",
        "limit": "Soft",
    }
    assert b"downgrade" in draft.record_line(latency_us=1)


async def test_past_its_percentage_a_budget_prefers_cheaper_models(desk: Desk) -> None:
    key = make_key(limits=(make_limit(downgrades=True, downgrade_percent=50),))
    first = desk.draft(key, model="gpt-5.5")
    await desk.admission.admit(first)
    assert first.downgrade is None
    desk.end(first, 51 * CENT)
    second = desk.draft(key, model="gpt-5.5")
    assert not desk.admission.try_admit(second)
    await desk.admission.admit(second)
    assert second.downgrade is not None


@pytest.mark.parametrize("on_exceed", ["stop", "downgrade"])
async def test_an_agent_run_has_a_budget_of_its_own(desk: Desk, on_exceed: str) -> None:
    headers = {
        b"x-kairosroute-run-budget": f"0.02; on_exceed={on_exceed}".encode(),
        b"x-kairosroute-agent-run": b"run-7",
    }
    draft = desk.draft(make_key(), model="gpt-5.5", headers=headers)
    if on_exceed == "stop":
        error = await refused(desk, draft)
        assert error.metadata["limit_source"] == "kairosroute_agent_run_budget"
        assert error.metadata["resets_at"] is None
    else:
        await desk.admission.admit(draft)
        assert draft.downgrade is not None
    await desk.admission.admit(desk.draft(make_key(), headers={**headers, b"x-kairosroute-agent-run": b"run-8"}))


@pytest.mark.parametrize("value", ["a lot", "-1", "nan", "1; on_exceed=explode", "1; x", "1e99"])
def test_a_run_budget_that_says_nothing_is_refused(desk: Desk, value: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        desk.draft(make_key(), headers={b"x-kairosroute-run-budget": value.encode()})


async def test_a_run_budget_without_a_run_is_refused(desk: Desk) -> None:
    error = await refused(desk, desk.draft(make_key(), headers={b"x-kairosroute-run-budget": b"1"}))
    assert error.code == "missing_agent_run"


async def test_a_new_period_begins_with_a_full_budget_and_late_calls_stay_in_theirs(desk: Desk) -> None:
    key = make_key(limits=(make_limit(period="day", amount=700_000),))
    late = desk.draft(key)
    await desk.admission.admit(late)
    tomorrow = NOW + 86_400
    draft = desk.draft(key, now=tomorrow)
    await desk.admission.admit(draft)
    desk.end(late, 600_000)
    purse = desk.only_purse()
    assert (purse.spent, purse.reserved) == (0, draft.reserved_nanousd)


async def test_a_clock_that_is_set_back_a_little_changes_no_period(desk: Desk) -> None:
    key = make_key(limits=(make_limit(period="hour"),))
    first = desk.draft(key, now=NOW)
    await desk.admission.admit(first)
    purse = desk.only_purse()
    before = purse.starts_at
    earlier = desk.draft(key, now=before - 5)
    assert desk.admission.try_admit(earlier)
    assert purse.starts_at == before
    far = desk.draft(key, now=before - 3 * 86_400)  # the clock had been days ahead
    await desk.admission.admit(far)
    assert purse.starts_at < before


async def test_a_changed_amount_counts_at_once(desk: Desk) -> None:
    limit = make_limit(amount=700_000)
    first = desk.draft(make_key(limits=(limit,)))
    await desk.admission.admit(first)
    raised = make_limit(limit_id=limit.limit_id, amount=1_400_000)
    key = make_key(limits=(raised,))
    await desk.admission.admit(desk.draft(key))
    lowered = make_limit(limit_id=limit.limit_id, amount=1)
    await refused(desk, desk.draft(make_key(limits=(lowered,))))
    desk.end(first, 600_000)
    purse = desk.only_purse()
    assert purse.room + purse.reserved + purse.spent == 1


@pytest.mark.parametrize("change", ["period", "clock"])
async def test_a_budget_that_opens_anew_while_a_call_is_under_way_gains_nothing_by_it(desk: Desk, change: str) -> None:
    first_of_month = NOW - (NOW % 86_400) - 15 * 86_400
    while periods.containing(first_of_month, "month", "UTC")[0] != first_of_month:
        first_of_month -= 86_400
    limit = make_limit(period="day" if change == "clock" else "month")
    key = make_key(limits=(limit,))
    under_way = desk.draft(key, now=first_of_month + 60)
    await desk.admission.admit(under_way)
    if change == "period":  # the month and its first day begin at the same moment
        key = make_key(limits=(msgspec.structs.replace(limit, period="day"),))
    else:
        await desk.admission.admit(desk.draft(key, now=first_of_month + 90_000))  # the clock jumps ahead, and back
    await desk.admission.admit(following := desk.draft(key, now=first_of_month + 70))
    desk.end(under_way, 5000)
    purse = desk.only_purse()
    assert (purse.spent, purse.reserved) == (5000, following.reserved_nanousd)
    assert purse.room == purse.amount - purse.spent - purse.reserved


async def test_a_call_that_is_taken_back_a_second_later_leaves_nothing_in_the_minute(desk: Desk) -> None:
    key = make_key(limits=(make_limit(kind="requests", amount=1), make_limit(kind="tokens", amount=5000)))
    draft = desk.draft(key)
    assert desk.admission.try_admit(draft)
    desk.second += 1
    desk.admission.release(draft)
    desk.second += 1
    assert desk.admission.try_admit(desk.draft(key))


async def test_an_unpriced_model_is_booked_at_the_ceiling(desk: Desk) -> None:
    key = make_key(limits=(make_limit(),))
    draft = desk.draft(key)
    assert draft.decision is not None
    unknown = draft.decision.endpoints[0].__class__(
        **{
            **{name: getattr(draft.decision.endpoints[0], name) for name in draft.decision.endpoints[0].__slots__},
            "model": "vllm:nobody-knows",
        }
    )
    draft.decision = type(draft.decision)((unknown,), "pinned", True)
    await desk.admission.admit(draft)
    assert draft.reserved_nanousd > 1000 * 100_000
    desk.end(draft, None)
    assert desk.only_purse().spent >= 1000 * 100_000


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), amount=st.integers(0, 60_000_000), others=st.booleans())
async def test_two_hundred_parallel_calls_never_overspend(prices: Path, seed: int, amount: int, others: bool) -> None:
    """What is spent and what is reserved never exceed the budget, and at the end the counters are the records' sum."""
    desk, rng = Desk(prices), random.Random(seed)
    limits = [make_limit(amount=amount + 1), make_limit(scope="api_key", amount=2 * amount + 1)]
    if others:
        limits += [make_limit(kind="requests", amount=150), make_limit(kind="tokens", amount=90_000)]
    key = make_key(limits=tuple(limits))
    booked: list[int] = []

    async def call() -> None:
        draft = desk.draft(key, max_tokens=rng.randrange(1, 2000))
        try:
            await desk.admission.admit(draft)
        except errors.GatewayError:
            return
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        reserved = draft.reserved_nanousd
        cost = rng.choice([0, None, rng.randrange(1, reserved + 1)])
        desk.end(draft, cost)
        booked.append(draft.booked_nanousd)
        check()

    def check() -> None:
        for meter in desk.admission.meters():
            if meter.purse is not None:
                assert meter.purse.spent + meter.purse.reserved <= meter.purse.amount
                assert meter.purse.room >= 0
            else:
                assert meter.window is not None
                assert meter.window.used <= meter.window.limit

    await asyncio.gather(*(call() for _ in range(200)))
    for meter in desk.admission.meters():
        if meter.purse is not None:
            assert meter.purse.reserved == 0
            assert meter.purse.spent == sum(booked) <= meter.purse.amount
