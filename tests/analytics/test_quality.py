"""The quality job on the log store: planted effects are found, planted nulls are not, and nobody else's calls count."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest

from accounts.models import Workspace
from analytics import quality
from analytics.models import QualityComparison, RouteChange
from analytics.queries.quality import SignalRow
from analytics.request_log import RequestLog
from analytics.statistics.moments import RatioSample
from tests.factories import accounts, request_logs

CHANGED_AT = dt.datetime(2026, 11, 18, 12, 0, tzinfo=dt.UTC)
NOW = CHANGED_AT + dt.timedelta(hours=6)
HOUR = dt.timedelta(hours=1)


def calls(number: int, *, rng: random.Random, workspace: Workspace, is_after: bool, **fields: Any) -> list[RequestLog]:
    """Return calls of `auto` spread over six hours on one side of the change; callables are drawn for each call."""
    # The windows leave out the last half minute, so before starts a minute later.
    first = CHANGED_AT if is_after else CHANGED_AT - 6 * HOUR + dt.timedelta(seconds=60)
    found = []
    for _ in range(number):
        drawn = {name: value(rng) if callable(value) else value for name, value in fields.items()}
        values: dict[str, Any] = {
            "organization_id": workspace.organization_id,
            "workspace_id": workspace.pk,
            "started_at": first + dt.timedelta(seconds=rng.uniform(0, 6 * 3600 - 60)),
            "is_pinned": 0,
            "task_type": "chat",
            "is_refusal": int(rng.random() < 0.02),
            "is_truncated": 0,
            "output_characters": int(rng.lognormvariate(6.6, 0.5)),
        }
        found.append(request_logs.make_request_log(**(values | drawn)))
    return found


def share(probability: float) -> Any:
    return lambda rng: int(rng.random() < probability)


@pytest.fixture
def workspace(db: None) -> Workspace:
    return accounts.make_organization("Acme").workspaces.get()


def make_change(workspace: Workspace, **fields: Any) -> RouteChange:
    values: dict[str, Any] = {
        "kind": RouteChange.Kind.POLICY,
        "summary": "chat: openai/gpt-5.4 → anthropic/claude-haiku-4-5",
        "happened_at": CHANGED_AT,
    }
    return RouteChange.objects.create(
        organization_id=workspace.organization_id, workspace=workspace, **(values | fields)
    )


def verdicts(change: RouteChange) -> dict[tuple[str, str], str]:
    return {(found.task_type, found.signal): found.verdict for found in change.comparisons.all()}


@pytest.mark.clickhouse
def test_a_planted_regression_is_found_and_what_did_not_move_is_not(workspace: Workspace, log_store: None):
    rng = random.Random(1)
    before = {"is_json_valid": share(0.98), "is_schema_valid": share(0.97)}
    after = {"is_json_valid": share(0.86), "is_schema_valid": share(0.97)}
    request_logs.load(calls(1500, rng=rng, workspace=workspace, is_after=False, **before))
    request_logs.load(calls(1500, rng=rng, workspace=workspace, is_after=True, **after))
    change = make_change(workspace)
    assert quality.detect(now=NOW) == 1
    found = verdicts(change)
    assert found["chat", "json_validity"] == quality.REGRESSED
    assert {verdict for (_, signal), verdict in found.items() if signal != "json_validity"} == {quality.UNCHANGED}
    stored = change.comparisons.get(signal="json_validity").result
    assert (stored["calls_before"], stored["calls_after"]) == (1500, 1500)
    effect = stored["effect"]
    assert effect["lower"] < effect["value"] < effect["upper"] < 0
    assert effect["value"] == pytest.approx(-0.12, abs=0.03)


@pytest.mark.clickhouse
def test_shorter_answers_are_a_symptom_and_fewer_refusals_an_improvement(workspace: Workspace, log_store: None):
    rng = random.Random(2)
    request_logs.load(calls(800, rng=rng, workspace=workspace, is_after=False, is_refusal=share(0.15)))
    request_logs.load(
        calls(
            800,
            rng=rng,
            workspace=workspace,
            is_after=True,
            is_refusal=share(0.02),
            output_characters=lambda rng: int(rng.lognormvariate(6.2, 0.5)),
        )
    )
    change = make_change(workspace)
    quality.detect(now=NOW)
    found = verdicts(change)
    assert found["chat", "refusal"] == quality.IMPROVED
    assert found["chat", "length"] == quality.CHANGED
    length = change.comparisons.get(signal="length").result["effect"]
    assert length["value"] == pytest.approx(0.67 - 1, abs=0.05)  # exp(6.2 - 6.6)
    assert length["mean_control"] == pytest.approx(735, rel=0.1)


@pytest.mark.clickhouse
def test_worse_feedback_is_found_by_its_name(workspace: Workspace, log_store: None):
    rng = random.Random(3)
    before = calls(700, rng=rng, workspace=workspace, is_after=False)
    after = calls(700, rng=rng, workspace=workspace, is_after=True)
    thumbs = [request_logs.make_feedback(call, value=float(rng.random() < 0.9)) for call in before]
    thumbs += [request_logs.make_feedback(call, value=float(rng.random() < 0.7)) for call in after]
    request_logs.load([*before, *after], feedback=thumbs)
    change = make_change(workspace)
    quality.detect(now=NOW)
    assert verdicts(change)["chat", "feedback:helpful"] == quality.REGRESSED


@pytest.mark.clickhouse
def test_one_long_conversation_is_not_taken_for_hundreds_of_calls(workspace: Workspace, log_store: None):
    rng = random.Random(4)
    steady = {"is_tool_call_valid": share(0.97), "session": lambda rng: f"s-{rng.randrange(400)}"}
    request_logs.load(calls(1200, rng=rng, workspace=workspace, is_after=False, **steady))
    request_logs.load(calls(1200, rng=rng, workspace=workspace, is_after=True, **steady))
    # A stuck agent repeats one invalid call 150 times: 11 % of the calls, one conversation of four hundred.
    stuck = {"is_tool_call_valid": 0, "session": "s-stuck"}
    request_logs.load(calls(150, rng=rng, workspace=workspace, is_after=True, **stuck))
    change = make_change(workspace)
    quality.detect(now=NOW)
    found = change.comparisons.get(signal="tool_call_validity")
    assert found.verdict == quality.NOT_ENOUGH_DATA
    assert found.result["effect"]["value"] < -0.08
    assert found.result["calls_missing"] > 0


@pytest.mark.clickhouse
def test_only_calls_that_the_policy_routes_in_this_workspace_count(workspace: Workspace, log_store: None):
    rng = random.Random(5)
    neighbour = accounts.make_workspace(workspace.organization)
    foreign = accounts.make_organization("Other").workspaces.get()
    for is_after in (False, True):
        bad = {"is_json_valid": share(0.5 if is_after else 1.0)}
        request_logs.load(
            calls(120, rng=rng, workspace=workspace, is_after=is_after, is_json_valid=1)
            + calls(400, rng=rng, workspace=workspace, is_after=is_after, is_pinned=1, **bad)
            + calls(400, rng=rng, workspace=workspace, is_after=is_after, experiment_id="exp_1", **bad)
            + calls(400, rng=rng, workspace=workspace, is_after=is_after, state="interrupted", **bad)
            + calls(400, rng=rng, workspace=workspace, is_after=is_after, is_test=1, **bad)
            + calls(400, rng=rng, workspace=workspace, is_after=is_after, error_class="InvalidRequest", **bad)
            + calls(400, rng=rng, workspace=neighbour, is_after=is_after, **bad)
            + calls(400, rng=rng, workspace=foreign, is_after=is_after, **bad)
        )
    change = make_change(workspace)
    quality.detect(now=NOW)
    found = change.comparisons.get(signal="json_validity")
    assert (found.result["calls_before"], found.result["calls_after"]) == (120, 120)
    assert found.verdict != quality.REGRESSED


@pytest.mark.clickhouse
def test_a_change_of_one_task_type_leaves_the_others_out(workspace: Workspace, log_store: None):
    rng = random.Random(6)
    for is_after in (False, True):
        for task_type in ("chat", "code", "extraction"):
            request_logs.load(calls(60, rng=rng, workspace=workspace, is_after=is_after, task_type=task_type))
    of_one = make_change(workspace, task_type="code")
    of_the_rest = make_change(workspace, after={"except": ["code", "extraction"]})
    assert quality.detect(now=NOW) == 2
    assert {task_type for task_type, _ in verdicts(of_one)} == {"code"}
    assert {task_type for task_type, _ in verdicts(of_the_rest)} == {"chat"}


@pytest.mark.clickhouse
def test_comparing_again_replaces_and_never_adds(workspace: Workspace, log_store: None):
    rng = random.Random(7)
    for is_after in (False, True):
        request_logs.load(calls(80, rng=rng, workspace=workspace, is_after=is_after))
    change = make_change(workspace)
    quality.compare(change, now=NOW)
    first = {found.pk: found.result for found in QualityComparison.objects.all()}
    quality.compare(change, now=NOW + HOUR)
    second = {found.pk: found for found in QualityComparison.objects.all()}
    assert first.keys() == second.keys()
    assert all(found.computed_at == NOW + HOUR for found in second.values())


@pytest.mark.clickhouse
def test_a_young_change_says_that_there_is_not_enough_data(workspace: Workspace, log_store: None):
    rng = random.Random(8)
    request_logs.load(calls(500, rng=rng, workspace=workspace, is_after=False, is_refusal=0))
    request_logs.load(calls(20, rng=rng, workspace=workspace, is_after=True, is_refusal=1))
    change = make_change(workspace)
    quality.detect(now=NOW)
    found = change.comparisons.get(signal="refusal")
    assert found.verdict == quality.NOT_ENOUGH_DATA
    assert found.result["calls_missing"] == 30


def test_the_windows_are_equally_long_without_a_gap_and_reach_no_other_change():
    found = quality.window(
        happened_at=CHANGED_AT, previous_at=CHANGED_AT - 5 * HOUR, next_at=CHANGED_AT + 3 * HOUR, now=NOW
    )
    assert found is not None
    assert (found.start_at, found.boundary_at, found.end_at) == (
        CHANGED_AT - 3 * HOUR,
        CHANGED_AT,
        CHANGED_AT + 3 * HOUR,
    )


def test_the_windows_grow_up_to_a_week_and_leave_out_the_last_seconds():
    young = quality.window(happened_at=CHANGED_AT, previous_at=None, next_at=None, now=CHANGED_AT + HOUR)
    old = quality.window(happened_at=CHANGED_AT, previous_at=None, next_at=None, now=CHANGED_AT + 24 * 30 * HOUR)
    assert young is not None
    assert old is not None
    assert young.end_at == CHANGED_AT + HOUR - quality.SETTLE
    assert old.end_at - old.start_at == 2 * quality.SPAN


def test_a_change_of_the_last_minute_has_no_window_yet():
    assert quality.window(happened_at=NOW, previous_at=None, next_at=None, now=NOW + dt.timedelta(seconds=60)) is None


def test_live_traffic_decides_where_there_is_any():
    def row(*, is_test: bool, is_after: bool, successes: int) -> SignalRow:
        sample = RatioSample.of([(1, 1)] * successes + [(0, 1)] * (500 - successes))
        return SignalRow("chat", is_test, is_after, "json_validity", sample)

    test_only = [row(is_test=True, is_after=False, successes=500), row(is_test=True, is_after=True, successes=300)]
    live = [row(is_test=False, is_after=False, successes=490), row(is_test=False, is_after=True, successes=490)]
    assert quality.judge(test_only)[0].verdict == quality.REGRESSED
    assert quality.judge(test_only)[0].is_test_traffic
    assert quality.judge([*test_only, *live])[0].verdict == quality.UNCHANGED


def test_only_the_most_frequent_task_types_and_feedback_names_are_compared():
    def row(task_type: str, signal: str, calls: int, *, is_after: bool) -> SignalRow:
        return SignalRow(task_type, False, is_after, signal, RatioSample.of([(1, 1)] * calls))

    rows = [
        row(f"task-{number}", signal, 10 + number, is_after=is_after)
        for number in range(30)
        for signal in ("json_validity", f"feedback:name-{number}")
        for is_after in (False, True)
    ]
    found = quality.judge(rows)
    assert {finding.task_type for finding in found} == {f"task-{number}" for number in range(10, 30)}
    assert {finding.signal for finding in found if finding.signal.startswith("feedback")} == {
        "feedback:name-27",
        "feedback:name-28",
        "feedback:name-29",
    }


def test_a_side_without_a_single_call_promises_no_number_of_calls():
    found = quality.judge([SignalRow("chat", False, True, "errors", RatioSample.of([(0, 1)] * 500))])
    assert [(finding.verdict, finding.calls_missing) for finding in found] == [(quality.NOT_ENOUGH_DATA, None)]


def test_without_any_calls_nothing_is_found():
    assert quality.judge([]) == []


def test_changes_that_change_nothing_are_called_regressed_at_most_once_in_a_hundred_however_often_one_looks():
    rng = random.Random(20261122)
    rates = {"json_validity": 0.95, "refusal": 0.03, "errors": 0.02, "tool_call_validity": 0.9}
    alarms = 0
    for _ in range(150):
        units: dict[tuple[str, bool], RatioSample] = {
            (signal, is_after): RatioSample.of([]) for signal in rates for is_after in (False, True)
        }
        for _look in range(12):
            rows = []
            for (signal, is_after), sample in units.items():
                hits = sum(rng.random() < rates[signal] for _ in range(60))
                grown = sample + RatioSample.of([(1, 1)] * hits + [(0, 1)] * (60 - hits))
                units[signal, is_after] = grown
                rows.append(SignalRow("chat", False, is_after, signal, grown))
            if any(found.verdict in {quality.REGRESSED, quality.IMPROVED} for found in quality.judge(rows)):
                alarms += 1
                break
    assert alarms <= 4  # 150 changes at 1 %: five or more would happen once in fifty runs
