"""The experiment job on the log store, and the life of an experiment."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest

from accounts import audit
from accounts.models import AuditEvent, Workspace
from analytics import assignment, evaluation, experiments
from analytics.models import Experiment, ExperimentEvaluation, RouteChange
from analytics.request_log import RequestLog
from tests.factories import accounts, request_logs

STARTED_AT = dt.datetime(2026, 11, 18, 12, 0, tzinfo=dt.UTC)
NOW = STARTED_AT + dt.timedelta(days=3)
HALVES = ((evaluation.CONTROL, 0.5), (evaluation.TREATMENT, 0.5))


@pytest.fixture
def workspace(db: None) -> Workspace:
    return accounts.make_organization("Acme").workspaces.get()


def make_experiment(workspace: Workspace, *, is_running: bool = True, **fields: Any) -> Experiment:
    values: dict[str, Any] = {
        "name": "Haiku for replies",
        "question": "",
        "task_type": "chat",
        "unit": "session",
        "control_model": "openai/gpt-5.4",
        "treatment_model": "anthropic/claude-haiku-4-5",
        "treatment_share": 0.5,
        "primary_metric": "success",
        "created_by": None,
        "actor": audit.SYSTEM,
        "now": STARTED_AT,
    }
    experiment = experiments.create(workspace=workspace, **(values | fields))
    return experiments.start(experiment=experiment, actor=audit.SYSTEM, now=STARTED_AT) if is_running else experiment


def sessions(
    experiment: Experiment, number: int, *, seed: int, truncated: tuple[float, float] = (0.08, 0.08), **fields: Any
) -> list[RequestLog]:
    """Return calls of `number` sessions, one to four each, assigned as the data plane assigns them."""
    rng = random.Random(seed)
    arms = ((evaluation.CONTROL, 1 - experiment.treatment_share), (evaluation.TREATMENT, experiment.treatment_share))
    found = []
    for index in range(number):
        session = f"s-{seed}-{index}"
        arm = assignment.assign(experiment.pk, session, arms)
        is_treatment = arm == evaluation.TREATMENT
        for _ in range(rng.randint(1, 4)):
            values: dict[str, Any] = {
                "organization_id": experiment.organization_id,
                "workspace_id": experiment.workspace_id,
                "started_at": STARTED_AT + dt.timedelta(seconds=rng.uniform(1, 3 * 86400 - 60)),
                "is_pinned": 0,
                "task_type": "chat",
                "session": session,
                "experiment_id": experiment.pk,
                "experiment_arm": arm,
                "model": experiment.treatment_model if is_treatment else experiment.control_model,
                "is_truncated": int(rng.random() < truncated[is_treatment]),
                "latency_us": int(rng.lognormvariate(13.5, 0.4)),
                "output_tokens": rng.randint(100, 300),
            }
            drawn = {name: value(rng, is_treatment) if callable(value) else value for name, value in fields.items()}
            found.append(request_logs.make_request_log(**(values | drawn)))
    return found


def result(experiment: Experiment, metric: str) -> dict[str, Any]:
    stored = ExperimentEvaluation.objects.get(experiment=experiment).result
    return next(found for found in stored["metrics"] if found["metric"] == metric)


@pytest.mark.clickhouse
def test_a_planted_loss_of_success_keeps_the_control(workspace: Workspace, log_store: None):
    experiment = make_experiment(workspace)
    request_logs.load(sessions(experiment, 1500, seed=1, truncated=(0.05, 0.14)))
    assert experiments.evaluate_due(now=NOW) == 1
    assert experiment.evaluation.verdict == evaluation.KEEP_CONTROL
    success = result(experiment, "success")
    assert success["outcome"] == "worse"
    assert success["effect"]["lower"] < success["effect"]["value"] < success["effect"]["upper"] < 0
    assert success["effect"]["value"] == pytest.approx(-0.09, abs=0.025)
    assert success["effect"]["relative"] == pytest.approx(-0.09 / 0.95, abs=0.03)


@pytest.mark.clickhouse
def test_a_planted_gain_ships_the_treatment_and_its_cost_is_measured(workspace: Workspace, log_store: None):
    experiment = make_experiment(workspace)
    request_logs.load(sessions(experiment, 1500, seed=2, truncated=(0.16, 0.05)))
    experiments.evaluate_due(now=NOW)
    assert experiment.evaluation.verdict == evaluation.SHIP_TREATMENT
    assert result(experiment, "cost")["outcome"] == "better"
    assert result(experiment, "latency")["outcome"] in {"same", "open"}


@pytest.mark.clickhouse
def test_two_equal_arms_show_no_difference_yet_and_how_much_is_missing(workspace: Workspace, log_store: None):
    experiment = make_experiment(workspace)
    request_logs.load(sessions(experiment, 600, seed=3))
    experiments.evaluate_due(now=NOW)
    assert experiment.evaluation.verdict == evaluation.NO_DIFFERENCE_YET
    missing = experiment.evaluation.result["calls_missing"]
    # 0.92 against 0.90 at any time of looking: about 5,000 to 25,000 calls, of which 1,500 are here.
    assert 3_000 < missing < 25_000


@pytest.mark.clickhouse
def test_a_better_primary_with_a_worse_guardrail_is_a_trade_off(workspace: Workspace, log_store: None):
    experiment = make_experiment(workspace)
    slow = sessions(
        experiment,
        1500,
        seed=4,
        truncated=(0.16, 0.05),
        latency_us=lambda rng, is_treatment: int(rng.lognormvariate(13.5 + 0.4 * is_treatment, 0.4)),
    )
    request_logs.load(slow)
    experiments.evaluate_due(now=NOW)
    assert experiment.evaluation.verdict == evaluation.TRADE_OFF
    assert experiment.evaluation.result["worse_guardrails"] == ["latency"]
    assert result(experiment, "latency")["effect"]["value"] == pytest.approx(0.49, abs=0.08)  # exp(0.4) - 1


@pytest.mark.clickhouse
def test_a_broken_split_blocks_every_other_verdict(workspace: Workspace, log_store: None):
    experiment = make_experiment(workspace)
    found = sessions(experiment, 1500, seed=5, truncated=(0.16, 0.02))
    lost = [call for call in found if call.experiment_arm == evaluation.CONTROL or call.request_id[-1] in "02468bdf"]
    kept = {call.session for call in lost if call.experiment_arm == evaluation.TREATMENT and call.session[-1] in "1357"}
    request_logs.load([c for c in lost if c.experiment_arm == evaluation.CONTROL or c.session in kept])
    experiments.evaluate_due(now=NOW)
    assert experiment.evaluation.verdict == evaluation.BROKEN_SPLIT
    assert experiment.evaluation.result["split"]["p_value"] < 0.001


@pytest.mark.clickhouse
def test_calls_that_a_fallback_answered_are_counted_and_left_out(workspace: Workspace, log_store: None):
    experiment = make_experiment(workspace)
    whole = sessions(experiment, 800, seed=6)
    rescued = sessions(experiment, 150, seed=7, is_fallback=1, truncated=(1.0, 1.0))
    request_logs.load([*whole, *rescued])
    experiments.evaluate_due(now=NOW)
    stored = experiment.evaluation.result
    assert sum(stored["fallback_calls"]) == len(rescued)
    assert sum(stored["calls"]) == len(whole) + len(rescued)
    success = result(experiment, "success")["effect"]
    assert success["calls_control"] + success["calls_treatment"] == len(whole)
    assert sum(stored["split"]["observed"]) == 950  # everybody assigned stays in the split


@pytest.mark.clickhouse
def test_calls_whose_every_attempt_failed_are_failures_of_their_arm(workspace: Workspace, log_store: None):
    experiment = make_experiment(workspace)
    failed = sessions(experiment, 400, seed=13, is_fallback=1, attempts=2, error_class="UpstreamError")
    request_logs.load(failed)
    experiments.evaluate_due(now=NOW)
    success = result(experiment, "success")["effect"]
    assert success["calls_control"] + success["calls_treatment"] == len(failed)
    assert success["mean_control"] == success["mean_treatment"] == 0.0
    assert experiment.evaluation.result["fallback_calls"] == [0, 0]


@pytest.mark.clickhouse
def test_sessions_that_agree_with_themselves_are_not_counted_call_by_call(workspace: Workspace, log_store: None):
    experiment = make_experiment(workspace)
    rng = random.Random(8)
    bad = {f"s-8-{index}": int(rng.random() < 0.1) for index in range(400)}
    found = [
        request_logs.make_request_log(
            organization_id=experiment.organization_id,
            workspace_id=experiment.workspace_id,
            started_at=STARTED_AT + dt.timedelta(hours=1),
            session=session,
            experiment_id=experiment.pk,
            experiment_arm=assignment.assign(experiment.pk, session, HALVES),
            is_truncated=is_bad,
        )
        for session, is_bad in bad.items()
        for _ in range(10)
    ]
    request_logs.load(found)
    experiments.evaluate_due(now=NOW)
    effect = result(experiment, "success")["effect"]
    assert effect["calls_control"] + effect["calls_treatment"] == 4000
    assert effect["units_control"] + effect["units_treatment"] == 400
    # 400 sessions of ten equal calls: the interval is that of 400 calls, about 2 x 1.96 x 0.03.
    assert effect["upper"] - effect["lower"] == pytest.approx(0.118, abs=0.025)


@pytest.mark.clickhouse
def test_units_seen_in_both_arms_are_counted_and_flagged(workspace: Workspace, log_store: None):
    experiment = make_experiment(workspace)
    crossed = [
        request_logs.make_request_log(
            organization_id=experiment.organization_id,
            workspace_id=experiment.workspace_id,
            started_at=STARTED_AT + dt.timedelta(hours=1),
            session=f"s-{index % 50}",
            experiment_id=experiment.pk,
            experiment_arm=HALVES[index // 50][0],
        )
        for index in range(100)
    ]
    request_logs.load(crossed)
    experiments.evaluate_due(now=NOW)
    assert experiment.evaluation.result["units_in_both"] == 50
    assert experiment.evaluation.result["is_crossed"]


@pytest.mark.clickhouse
def test_only_this_experiment_in_this_organization_counts_and_once(workspace: Workspace, log_store: None):
    experiment = make_experiment(workspace)
    mine = sessions(experiment, 60, seed=9)
    request_logs.load(mine)
    request_logs.load(mine)
    request_logs.load(sessions(experiment, 60, seed=10, experiment_id="exp_other"))
    request_logs.load(sessions(experiment, 60, seed=11, organization_id="org_other"))
    request_logs.load(sessions(experiment, 60, seed=12, started_at=STARTED_AT - dt.timedelta(days=1)))
    experiments.evaluate_due(now=NOW)
    assert sum(experiment.evaluation.result["calls"]) == len(mine)


@pytest.mark.clickhouse
def test_an_experiment_without_calls_is_evaluated_in_peace_and_evaluating_again_replaces(
    workspace: Workspace, log_store: None
):
    experiment = make_experiment(workspace)
    experiments.evaluate_due(now=NOW)
    assert experiments.evaluate_due(now=NOW + dt.timedelta(minutes=1)) == 0
    assert experiments.evaluate_due(now=NOW + dt.timedelta(minutes=10)) == 1
    found = ExperimentEvaluation.objects.get()
    assert (found.experiment, found.verdict) == (experiment, evaluation.NO_DIFFERENCE_YET)
    assert found.result["calls_missing"] == 2 * evaluation.MIN_UNITS


@pytest.mark.clickhouse
def test_a_stopped_experiment_is_evaluated_once_its_last_calls_are_in(workspace: Workspace, log_store: None):
    experiment = make_experiment(workspace)
    experiments.evaluate_due(now=NOW)
    experiments.stop(experiment=experiment, stopped_by=None, actor=audit.SYSTEM, now=NOW)
    request_logs.load(sessions(experiment, 60, seed=14))
    assert experiments.evaluate_due(now=NOW + experiments.SETTLE) == 1
    assert experiments.evaluate_due(now=NOW + experiments.SETTLE + dt.timedelta(minutes=1)) == 0
    assert sum(experiment.evaluation.result["calls"]) > 60
    assert experiments.evaluate_due(now=NOW + experiments.LATE_FEEDBACK + dt.timedelta(hours=2)) == 0


def test_drafts_and_experiments_stopped_long_ago_are_not_evaluated(workspace: Workspace):
    make_experiment(workspace, is_running=False)
    stopped = make_experiment(workspace)
    experiments.stop(experiment=stopped, stopped_by=None, actor=audit.SYSTEM, now=STARTED_AT + dt.timedelta(hours=1))
    assert experiments.evaluate_due(now=NOW) == 0  # the log store is blocked here: asking it would fail the test


def test_stopping_writes_a_route_change(workspace: Workspace):
    experiment = make_experiment(workspace)
    alice = accounts.make_user()
    experiments.stop(experiment=experiment, stopped_by=alice, actor=audit.user(alice), now=NOW)
    change = RouteChange.objects.get()
    assert (change.kind, change.task_type, change.happened_at) == (RouteChange.Kind.EXPERIMENT, "chat", NOW)
    assert (change.workspace, change.changed_by) == (workspace, alice)
    assert Experiment.objects.get().stopped_at == NOW
    actions = AuditEvent.objects.filter(object_id=experiment.pk).order_by("at", "pk").values_list("action", flat=True)
    assert set(actions) == {"experiment.create", "experiment.start", "experiment.stop"}


def test_an_experiment_starts_once_and_stops_once(workspace: Workspace):
    experiment = make_experiment(workspace, is_running=False)
    with pytest.raises(experiments.InvalidExperiment, match="Only a running"):
        experiments.stop(experiment=experiment, stopped_by=None, actor=audit.SYSTEM, now=NOW)
    experiments.start(experiment=experiment, actor=audit.SYSTEM, now=STARTED_AT)
    with pytest.raises(experiments.InvalidExperiment, match="Only a draft"):
        experiments.start(experiment=experiment, actor=audit.SYSTEM, now=NOW)
    experiments.stop(experiment=experiment, stopped_by=None, actor=audit.SYSTEM, now=NOW)
    with pytest.raises(experiments.InvalidExperiment, match="Only a running"):
        experiments.stop(experiment=experiment, stopped_by=None, actor=audit.SYSTEM, now=NOW)


@pytest.mark.parametrize(
    ("first", "second", "is_refused"),
    [("chat", "chat", True), ("", "chat", True), ("chat", "code", False), ("chat", "", True)],
)
def test_two_experiments_never_run_on_the_same_calls(workspace: Workspace, first: str, second: str, is_refused: bool):
    make_experiment(workspace, task_type=first)
    later = make_experiment(workspace, is_running=False, task_type=second)
    if is_refused:
        with pytest.raises(experiments.InvalidExperiment, match="runs on the same calls"):
            experiments.start(experiment=later, actor=audit.SYSTEM, now=NOW)
    else:
        assert experiments.start(experiment=later, actor=audit.SYSTEM, now=NOW).state == Experiment.State.RUNNING


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "  "),
        ("unit", "month"),
        ("treatment_model", "openai/gpt-5.4"),
        ("treatment_share", 0.0),
        ("treatment_share", 1.0),
        ("treatment_share", float("nan")),
        ("primary_metric", "tone"),
    ],
)
def test_a_value_that_makes_no_experiment_is_refused_by_its_field(workspace: Workspace, field: str, value: Any):
    with pytest.raises(experiments.InvalidExperiment) as refusal:
        make_experiment(workspace, is_running=False, **{field: value})
    assert refusal.value.field == field
    assert not Experiment.objects.exists()
