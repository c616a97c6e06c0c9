"""Two-arm experiments on live traffic: make, start, stop, and keep the latest evaluation of each.

Who gets which arm is `assignment`'s business, done in the data plane; what the numbers mean is `evaluation`'s.
Whether a model's name means something is checked by the caller: the catalog belongs to a room above this one.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import asdict
from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts import audit
from accounts.models import User, Workspace
from analytics import evaluation
from analytics.models import Experiment, ExperimentEvaluation, RouteChange
from analytics.queries import experiments as experiment_queries

logger = logging.getLogger(__name__)

UNITS = ("session", "end_user", "agent_run", "request")

SETTLE = dt.timedelta(minutes=1)
LATE_FEEDBACK = dt.timedelta(days=1)


class InvalidExperiment(Exception):
    """The experiment cannot be made or moved as asked; the message says what to change. `field` names the input."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def create(
    *,
    workspace: Workspace,
    name: str,
    question: str,
    task_type: str,
    unit: str,
    control_model: str,
    treatment_model: str,
    treatment_share: float,
    primary_metric: str,
    created_by: User | None,
    actor: audit.Actor,
    now: dt.datetime,
) -> Experiment:
    """Make a draft.

    Raises:
        InvalidExperiment: a value is missing or makes no experiment.
    """
    if not name.strip():
        raise InvalidExperiment("Give the experiment a name.", field="name")
    if unit not in UNITS:
        raise InvalidExperiment(f"The unit must be one of {', '.join(UNITS)}.", field="unit")
    if control_model == treatment_model:
        raise InvalidExperiment("Choose two different models: the arms would be the same.", field="treatment_model")
    if not 0.01 <= treatment_share <= 0.99:
        raise InvalidExperiment("Give the treatment between 1 % and 99 % of the traffic.", field="treatment_share")
    if primary_metric not in evaluation.PRIMARY_METRICS:
        raise InvalidExperiment("Choose the one metric that decides the experiment.", field="primary_metric")
    with transaction.atomic():
        experiment = Experiment.objects.create(
            organization_id=workspace.organization_id,
            workspace=workspace,
            name=name.strip(),
            question=question.strip(),
            task_type=task_type.strip(),
            unit=unit,
            control_model=control_model,
            treatment_model=treatment_model,
            treatment_share=treatment_share,
            primary_metric=primary_metric,
            created_by=created_by,
        )
        _audit(experiment, "experiment.create", actor, now)
    return experiment


def start(*, experiment: Experiment, actor: audit.Actor, now: dt.datetime) -> Experiment:
    """Send traffic to both arms from now on.

    Raises:
        InvalidExperiment: it is not a draft, or another experiment runs on the same calls.
    """
    with transaction.atomic():
        # The workspace's row is the lock: two starts at once must see each other.
        Workspace.objects.select_for_update().get(pk=experiment.workspace_id)
        current = Experiment.objects.get(pk=experiment.pk)
        if current.state != Experiment.State.DRAFT:
            raise InvalidExperiment("Only a draft can be started. Make a new experiment to test again.")
        rival = _running_on_the_same_calls(current)
        if rival is not None:
            raise InvalidExperiment(
                f"“{rival.name}” runs on the same calls. Stop it first, or choose another task type."
            )
        current.state = Experiment.State.RUNNING
        current.started_at = now
        current.save(update_fields=["state", "started_at", "changed_at"])
        _audit(current, "experiment.start", actor, now)
    return current


def stop(*, experiment: Experiment, stopped_by: User | None, actor: audit.Actor, now: dt.datetime) -> Experiment:
    """End the experiment: its calls go where the policy sends them, and the charts get a route change.

    Raises:
        InvalidExperiment: it is not running.
    """
    with transaction.atomic():
        Workspace.objects.select_for_update().get(pk=experiment.workspace_id)
        current = Experiment.objects.get(pk=experiment.pk)
        if current.state != Experiment.State.RUNNING:
            raise InvalidExperiment("Only a running experiment can be stopped.")
        current.state = Experiment.State.STOPPED
        current.stopped_at = now
        current.save(update_fields=["state", "stopped_at", "changed_at"])
        RouteChange.objects.create(
            organization_id=current.organization_id,
            workspace_id=current.workspace_id,
            kind=RouteChange.Kind.EXPERIMENT,
            task_type=current.task_type,
            before={
                "experiment": current.pk,
                "models": [current.control_model, current.treatment_model],
                "treatment_share": current.treatment_share,
            },
            after={},
            summary=f"Experiment “{current.name}” ended"[:300],
            changed_by=stopped_by,
            happened_at=now,
        )
        _audit(current, "experiment.stop", actor, now)
    return current


def _audit(experiment: Experiment, action: str, actor: audit.Actor, now: dt.datetime) -> None:
    audit.record(
        organization_id=experiment.organization_id,
        actor=actor,
        action=action,
        target=experiment,
        now=now,
        after={
            "state": experiment.state,
            "models": [experiment.control_model, experiment.treatment_model],
            "treatment_share": experiment.treatment_share,
        },
    )


def _running_on_the_same_calls(experiment: Experiment) -> Experiment | None:
    running = Experiment.objects.filter(workspace_id=experiment.workspace_id, state=Experiment.State.RUNNING)
    if experiment.task_type:
        running = running.filter(Q(task_type="") | Q(task_type=experiment.task_type))
    return running.order_by("started_at", "id").first()


def evaluate(experiment: Experiment, *, now: dt.datetime) -> ExperimentEvaluation | None:
    """Evaluate one experiment from the log and store the result in place of the former one.

    None before it has started.

    Raises:
        experiment_queries.StoreError: ClickHouse does not answer; nothing is stored.
    """
    if experiment.started_at is None:
        return None
    exposure = experiment_queries.exposure(
        organization_id=experiment.organization_id,
        workspace_id=experiment.workspace_id,
        experiment_id=experiment.pk,
        unit=experiment.unit,
        start_at=experiment.started_at,
        # Calls that were assigned just before the stop reached every process still count.
        end_at=(experiment.stopped_at or now) + SETTLE,
    )
    found = evaluation.judge(
        exposure, treatment_share=experiment.treatment_share, primary_metric=experiment.primary_metric
    )
    stored, _ = ExperimentEvaluation.objects.update_or_create(
        experiment=experiment,
        defaults={"result": _stored(found), "verdict": found.verdict, "computed_at": now},
    )
    return stored


def evaluate_due(*, now: dt.datetime) -> int:
    """Evaluate the experiments that are due; return how many were.

    A running one is evaluated every minute at first and every ten minutes after a day; a stopped one once its last
    calls are in, then hourly until late feedback is in. One that cannot be evaluated is logged and does not keep
    the others from it.
    """
    due = Experiment.objects.filter(
        Q(state=Experiment.State.RUNNING) | Q(state=Experiment.State.STOPPED, stopped_at__gte=now - LATE_FEEDBACK)
    )
    done = 0
    for experiment in due.select_related("evaluation").order_by("id"):
        if not _is_due(experiment, now=now):
            continue
        try:
            evaluate(experiment, now=now)
        except experiment_queries.StoreError:
            logger.exception("An experiment could not be evaluated. experiment=%s", experiment.pk)
            continue
        done += 1
    return done


def _is_due(experiment: Experiment, *, now: dt.datetime) -> bool:
    evaluated: ExperimentEvaluation | None = getattr(experiment, "evaluation", None)
    if evaluated is None or experiment.started_at is None:
        return True
    if experiment.stopped_at is not None:
        settled_at = experiment.stopped_at + SETTLE
        return evaluated.computed_at < settled_at <= now or now - evaluated.computed_at >= dt.timedelta(hours=1)
    pause = min(dt.timedelta(minutes=10), (now - experiment.started_at) / 150)
    return now - evaluated.computed_at >= pause


def _stored(found: evaluation.Evaluation) -> dict[str, Any]:
    stored = asdict(found)
    del stored["verdict"]
    return stored
