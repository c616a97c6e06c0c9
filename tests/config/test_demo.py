"""The demo: reproducible plans, honest records, a story that the analysis can find."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path

import pytest

from accounts.models import Organization, User
from analytics import request_log
from analytics.events import FeedbackEvent
from analytics.models import Experiment, RouteChange
from analytics.request_log import RequestLog
from analytics.spool import Writer, read_segment
from analytics.stored_records import feedback_decoder
from config.demo import plan, story
from config.demo.traffic import Traffic
from gateway.catalog import loader
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.context import ArmSnapshot, ExperimentSnapshot, KeySnapshot, PolicySnapshot
from tests.factories.calls import make_key

MONDAY_NOON = 1_763_985_600.0  # 2025-11-24 12:00 UTC
DAY_S = 24 * 3600


def calls_of_day(start: float, *, calls_per_day: int = 1000, seed: str = "test") -> list[plan.PlannedCall]:
    hours = range(int(start), int(start) + DAY_S, plan.HOUR_S)
    return [call for at in hours for call in plan.calls_of_hour(start=at, calls_per_day=calls_per_day, seed=seed)]


def test_the_same_seed_plans_the_same_calls() -> None:
    first, second, other = (
        plan.calls_of_hour(start=MONDAY_NOON, calls_per_day=2000, seed=seed) for seed in ("a", "a", "b")
    )

    assert first == second
    assert first != other


def test_an_hours_calls_are_in_order_and_within_it() -> None:
    calls = plan.calls_of_hour(start=MONDAY_NOON, calls_per_day=20_000, seed="test")
    times = [call.at for call in calls]

    assert times == sorted(times)
    assert times[0] >= MONDAY_NOON
    assert times[-1] < MONDAY_NOON + plan.HOUR_S


def test_a_week_has_about_the_calls_that_were_asked_for_and_quiet_weekends() -> None:
    midnight = MONDAY_NOON - DAY_S / 2
    days = [len(calls_of_day(midnight + day * DAY_S)) for day in range(7)]

    assert 6000 <= sum(days) <= 8000
    assert max(days[5:]) < min(days[:5]) / 2


def test_every_agent_and_task_is_planned() -> None:
    calls = calls_of_day(MONDAY_NOON)

    assert {call.agent for call in calls} == {agent.name for agent in plan.AGENTS}
    assert {call.task for call in calls} == {task.name for agent in plan.AGENTS for task in agent.tasks}


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, PriceBook]:
    catalog, book = loader.load(tmp_path_factory.mktemp("prices"))
    return catalog, book


def key_of(extraction_model: str, *experiments: ExperimentSnapshot) -> KeySnapshot:
    return make_key(
        policy=PolicySnapshot(
            "pol_1", "openai/gpt-5.4-mini", {"extraction": extraction_model}, baseline_model="openai/gpt-5.5"
        ),
        experiments=experiments,
    )


def record(
    prices: tuple[Catalog, PriceBook], directory: Path, key: KeySnapshot, calls: list[plan.PlannedCall]
) -> tuple[list[RequestLog], list[FeedbackEvent]]:
    """Send planned calls through a spool and read back what stands in it."""
    catalog, book = prices
    writer = Writer(directory, segment_bytes=1 << 20, segment_seconds=3600)
    traffic = Traffic(catalog=catalog, book=book, writer=writer)
    for call in calls:
        traffic.record(call, key)
    writer.close()
    segments = [read_segment(path.read_bytes()) for path in sorted(directory.glob("*.sealed"))]
    records = [request_log.decode(line) for segment in segments for line in segment.lines("R")]
    verdicts = [feedback_decoder(segment.columns["F"])(line) for segment in segments for line in segment.lines("F")]
    return records, verdicts


@pytest.fixture(scope="module")
def day(
    prices: tuple[Catalog, PriceBook], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[plan.PlannedCall], list[RequestLog], list[FeedbackEvent]]:
    calls = calls_of_day(MONDAY_NOON)
    return calls, *record(prices, tmp_path_factory.mktemp("spool"), key_of("openai/gpt-5.4-nano"), calls)


Day = tuple[list[plan.PlannedCall], list[RequestLog], list[FeedbackEvent]]


def test_every_planned_call_has_one_record_at_its_time(day: Day) -> None:
    calls, records, _ = day

    assert len({found.request_id for found in records}) == len(records) == len(calls)
    assert sorted(found.started_us for found in records) == sorted(int(call.at * 1_000_000) for call in calls)
    assert {found.state for found in records} == {request_log.SETTLED}


def test_every_receipt_keeps_its_unit_prices(day: Day) -> None:
    _, records, _ = day

    assert all("input_nanousd_per_mtok" in found.receipt for found in records if found.input_tokens)


def test_every_record_says_that_it_is_simulated_and_bills_nothing(day: Day) -> None:
    _, records, _ = day

    assert {found.is_simulated for found in records} == {1}
    assert {found.key_source for found in records} == {request_log.SIMULATED}
    assert {found.billed_nanousd for found in records} == {0}


def test_records_are_priced_and_their_parts_add_up(day: Day) -> None:
    _, records, _ = day
    priced = [found for found in records if found.price_state == request_log.PRICED]

    assert len(priced) > 0.97 * len(records)
    for found in priced:
        parts = found.input_cost_nanousd + found.cached_read_cost_nanousd + found.cache_write_cost_nanousd
        assert parts + found.output_cost_nanousd == found.provider_cost_nanousd > 0
        assert found.baseline_cost_nanousd is not None


def test_some_calls_fail_and_cost_only_what_was_used(day: Day) -> None:
    _, records, _ = day
    failed = [found for found in records if found.http_status != 200]

    assert 0.002 < len(failed) / len(records) < 0.03
    assert all(found.error_class.startswith("Upstream") for found in failed)


def test_streams_have_a_first_token_before_their_end(day: Day) -> None:
    _, records, _ = day
    streamed = [found for found in records if found.is_stream and not found.error_class]

    assert len(streamed) > 100
    assert all(found.first_token_us and 0 < found.first_token_us <= found.latency_us for found in streamed)


def test_a_weak_model_breaks_its_schema_more_often_than_a_strong_one(
    prices: tuple[Catalog, PriceBook], tmp_path: Path
) -> None:
    calls = [call for call in calls_of_day(MONDAY_NOON, calls_per_day=3000) if call.task == "extraction"]
    rates = []
    for model in ("openai/gpt-5.4", "openai/gpt-5.4-nano"):
        records, _ = record(prices, tmp_path / model.rpartition("/")[2], key_of(model), calls)
        judged = [found for found in records if found.is_schema_valid is not None]
        rates.append(sum(found.is_schema_valid == 0 for found in judged) / len(judged))

    assert rates[0] < 0.01
    assert rates[1] > 0.03


def test_verdicts_belong_to_calls_and_some_are_bad(day: Day) -> None:
    _, records, verdicts = day
    values = Counter(verdict.value for verdict in verdicts)

    assert {verdict.request_id for verdict in verdicts} <= {found.request_id for found in records}
    assert values[1.0] > values[0.0] > 0


def test_an_experiment_splits_whole_sessions(prices: tuple[Catalog, PriceBook], tmp_path: Path) -> None:
    experiment = ExperimentSnapshot(
        "exp_1",
        "exp_1",
        "session",
        "support_reply",
        (ArmSnapshot("control", "openai/gpt-5.4", 0.5), ArmSnapshot("treatment", "openai/gpt-5.4-nano", 0.5)),
    )
    calls = [call for call in calls_of_day(MONDAY_NOON) if call.task == "support_reply"]
    records, _ = record(prices, tmp_path, key_of("openai/gpt-5.4", experiment), calls)
    arms: dict[str, set[str]] = {}
    for found in records:
        arms.setdefault(found.session, set()).add(found.experiment_arm)

    assert all(len(found) == 1 for found in arms.values())
    assert 0.35 < sum(found == {"control"} for found in arms.values()) / len(arms) < 0.65


@pytest.mark.django_db
def test_the_story_is_dated_back_and_gives_each_moment_its_routing(prices: tuple[Catalog, PriceBook]) -> None:
    owner = User.objects.create_user("alice@acme.test")
    end = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
    start = end - dt.timedelta(days=7)

    told = story.tell(name="Demo", owner=owner, catalog=prices[0], start=start, end=end)

    organization = Organization.objects.get(is_demo=True)
    assert told.organization == organization
    assert all(start <= change.happened_at < end for change in RouteChange.objects.all())
    finished, running = told.experiments
    assert (finished.state, running.state) == (Experiment.State.STOPPED, Experiment.State.RUNNING)
    assert finished.started_at is not None
    assert finished.stopped_at is not None
    assert start < finished.started_at < finished.stopped_at < end

    before = told.key("invoice-reader", start.timestamp() + 60)
    after = told.key("invoice-reader", end.timestamp() - 60)
    assert before.policy.by_task["extraction"] == "openai/gpt-5.4"
    assert after.policy.by_task["extraction"] == "openai/gpt-5.4-nano"
    during = told.key("research-agent", finished.started_at.timestamp() + 60)
    assert [found.experiment_id for found in during.experiments] == [finished.pk]
    assert [found.experiment_id for found in after.experiments] == [running.pk]


@pytest.mark.django_db
def test_the_large_demo_has_a_story_that_the_jobs_still_look_at(prices: tuple[Catalog, PriceBook]) -> None:
    owner = User.objects.create_user("alice@acme.test")
    end = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)

    told = story.tell(name="Demo, 30 days", owner=owner, catalog=prices[0], start=end - dt.timedelta(days=30), end=end)

    hurt = [change for change in told.changes if change.task_type == "extraction"]
    assert [end - change.happened_at <= dt.timedelta(days=7) for change in hurt] == [True]
