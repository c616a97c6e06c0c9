"""The experiment pages: what runs, what it says so far, start and stop. Making one belongs to the gateway's pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts import access, roles
from accounts.models import Organization
from analytics import evaluation, experiments, intervals, money
from analytics.exports import csv
from analytics.intervals import Shown
from analytics.log_query import LogQuery
from analytics.models import Experiment, ExperimentEvaluation
from analytics.timerange import TimeRange

# verdict -> (words, tone of the badge)
_VERDICTS = {
    evaluation.SHIP_TREATMENT: ("Ship the treatment", "positive"),
    evaluation.KEEP_CONTROL: ("Keep the control", "warning"),
    evaluation.TRADE_OFF: ("A trade-off", "warning"),
    evaluation.NO_DIFFERENCE: ("No difference that matters", ""),
    evaluation.NO_DIFFERENCE_YET: ("No difference seen yet", ""),
    evaluation.BROKEN_SPLIT: ("Broken split", "danger"),
}
_OUTCOMES = {
    "better": ("Better", "positive"),
    "worse": ("Worse", "danger"),
    "different": ("Different", "warning"),
    "same": ("No difference that matters", ""),
    "open": ("Not clear yet", ""),
}
_STATES = {Experiment.State.DRAFT: "", Experiment.State.RUNNING: "accent", Experiment.State.STOPPED: ""}
_UNITS_OF_METRICS = {
    "success": intervals.SHARE,
    "fallbacks": intervals.SHARE,
    "feedback": intervals.SCORE,
    "cost": intervals.USD,
    "latency": intervals.DURATION,
    "output_tokens": intervals.TOKENS,
}
UNITS = {"session": "session", "end_user": "end user", "agent_run": "agent run", "request": "request"}


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """An experiment as lists and headers show it."""

    experiment: Experiment
    state_tone: str
    verdict_words: str
    verdict_tone: str
    primary_title: str


@dataclass(frozen=True, slots=True)
class ArmRow:
    """What one arm got, and its calls on the requests page."""

    name: str
    model: str
    planned_share: float
    units: int
    calls: int
    fallback_calls: int
    rows_url: str


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric in words. `shown` is None while an arm is too small to test."""

    title: str
    is_primary: bool
    is_guardrail: bool
    outcome_words: str
    tone: str
    shown: Shown | None
    p_value: str
    calls_missing: int | None


@require_GET
@access.organization_view(roles.VIEW_REQUESTS)
def listing(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """List the experiments: running ones first, then drafts, then the newest stopped."""
    order = {Experiment.State.RUNNING: 0, Experiment.State.DRAFT: 1, Experiment.State.STOPPED: 2}
    found = _experiments(organization).order_by("-created_at", "id")
    rows = sorted(
        (_row(experiment) for experiment in found), key=lambda row: order[Experiment.State(row.experiment.state)]
    )
    return render(request, "analytics/experiments.html", {"rows": rows, "can_manage": _can_manage(request)})


@require_GET
@access.organization_view(roles.VIEW_REQUESTS)
def detail(request: access.MemberRequest, organization: Organization, experiment_id: str) -> HttpResponse:
    """Show one experiment: verdict, split, arms and metrics."""
    experiment = get_object_or_404(_experiments(organization), pk=experiment_id)
    found = _evaluation(experiment)
    context: dict[str, Any] = {
        "row": _row(experiment),
        "unit": UNITS[experiment.unit],
        "evaluation": found,
        "can_manage": _can_manage(request),
    }
    if found is not None:
        result = found.result
        context |= {
            "sentence": _sentence(experiment, found),
            "split": result["split"],
            "split_p_value": intervals.p_value(result["split"]["p_value"]),
            "units_in_both": result["units_in_both"],
            "is_crossed": result["is_crossed"],
            "is_test_traffic": result["is_test_traffic"],
            "arms": _arms(experiment, result),
            "metrics": [_metric(experiment, metric) for metric in result["metrics"]],
        }
    return render(request, "analytics/experiment_detail.html", context)


@require_GET
@access.organization_view(roles.VIEW_REQUESTS)
def detail_csv(request: access.MemberRequest, organization: Organization, experiment_id: str) -> HttpResponseBase:
    """Send the metrics of one experiment, unrounded."""
    experiment = get_object_or_404(_experiments(organization), pk=experiment_id)
    found = _evaluation(experiment)
    rows = [
        [metric["metric"], metric["outcome"], *intervals.cells(metric["effect"]), metric["p_value"]]
        for metric in (found.result["metrics"] if found else ())
    ]
    header = ["metric", "treatment_is", *intervals.COLUMNS, "p_value_used"]
    return csv.respond(request, filename=f"{experiment.pk}.csv", header=header, blocks=[rows])


@require_POST
@access.organization_view(roles.MANAGE_ROUTING)
def start(request: access.MemberRequest, organization: Organization, experiment_id: str) -> HttpResponse:
    """Send traffic to both arms."""
    experiment = get_object_or_404(_experiments(organization), pk=experiment_id)
    try:
        experiments.start(experiment=experiment, actor=access.actor(request), now=timezone.now())
    except experiments.InvalidExperiment as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"“{experiment.name}” runs. Calls to `auto` reach both models within two seconds.")
    return redirect("experiment", organization.slug, experiment.pk)


@require_POST
@access.organization_view(roles.MANAGE_ROUTING)
def stop(request: access.MemberRequest, organization: Organization, experiment_id: str) -> HttpResponse:
    """End an experiment; its calls go where the policy sends them."""
    experiment = get_object_or_404(_experiments(organization), pk=experiment_id)
    try:
        experiments.stop(
            experiment=experiment, stopped_by=request.user, actor=access.actor(request), now=timezone.now()
        )
    except experiments.InvalidExperiment as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"“{experiment.name}” is stopped. To keep the better model, set it in the routing.")
    return redirect("experiment", organization.slug, experiment.pk)


def _experiments(organization: Organization) -> Any:
    return Experiment.objects.filter(organization=organization).select_related(
        "workspace", "evaluation", "created_by", "organization"
    )


def _can_manage(request: access.MemberRequest) -> bool:
    return roles.grants(request.membership.role, roles.MANAGE_ROUTING)


def _evaluation(experiment: Experiment) -> ExperimentEvaluation | None:
    return getattr(experiment, "evaluation", None)


def _row(experiment: Experiment) -> ExperimentRow:
    found = _evaluation(experiment)
    words, tone = _VERDICTS[found.verdict] if found else ("", "")
    return ExperimentRow(
        experiment=experiment,
        state_tone=_STATES[Experiment.State(experiment.state)],
        verdict_words=words,
        verdict_tone=tone,
        primary_title=evaluation.metric_of(experiment.primary_metric).title,
    )


def _sentence(experiment: Experiment, found: ExperimentEvaluation) -> str:
    """Return the verdict as a sentence that says what to do."""
    metric = evaluation.metric_of(experiment.primary_metric).title.lower()
    if found.verdict == evaluation.BROKEN_SPLIT:
        return (
            "The arms did not get their shares of the traffic, and chance does not explain it. Calls of one arm are"
            " lost or sent elsewhere: find out why before you read anything else here."
        )
    if found.verdict == evaluation.SHIP_TREATMENT:
        better = f"{experiment.treatment_model} is better by {metric}"
        return f"{better}, and no guardrail is seen to be worse. Ship it.{_unclear(found)}"
    if found.verdict == evaluation.KEEP_CONTROL:
        return f"{experiment.treatment_model} is worse by {metric}. Keep {experiment.control_model}."
    if found.verdict == evaluation.TRADE_OFF:
        worse = ", ".join(evaluation.metric_of(name).title.lower() for name in found.result["worse_guardrails"])
        return f"{experiment.treatment_model} is better by {metric} but worse by {worse}. Decide what weighs more."
    if found.verdict == evaluation.NO_DIFFERENCE:
        return f"The models do not differ by {metric} in a way that matters. Choose by the other metrics, such as cost."
    missing = found.result["calls_missing"]
    more = f" About {money.count(missing)} more calls would show one that matters." if missing else ""
    return f"No difference by {metric} is seen yet.{more}"


def _unclear(found: ExperimentEvaluation) -> str:
    """Return what a decision taken now does not know: guardrails whose intervals still hold a loss that matters."""
    open_ones = [
        f"{evaluation.metric_of(result['metric']).title.lower()}"
        f" (about {money.count(result['calls_missing'])} more calls)"
        for result in found.result["metrics"][1:]
        if result["outcome"] == "open"
        and result["calls_missing"]
        and evaluation.metric_of(result["metric"]).is_guardrail
    ]
    return f" Not clear yet: {', '.join(open_ones)}." if open_ones else ""


def _arms(experiment: Experiment, result: dict[str, Any]) -> list[ArmRow]:
    share = experiment.treatment_share
    plan = (
        (evaluation.CONTROL, experiment.control_model, 1.0 - share),
        (evaluation.TREATMENT, experiment.treatment_model, share),
    )
    return [
        ArmRow(
            name=name,
            model=model,
            planned_share=planned,
            units=result["split"]["observed"][position],
            calls=result["calls"][position],
            fallback_calls=result["fallback_calls"][position],
            rows_url=_rows_url(experiment, name, is_test=result["is_test_traffic"]),
        )
        for position, (name, model, planned) in enumerate(plan)
    ]


def _metric(experiment: Experiment, result: dict[str, Any]) -> MetricRow:
    metric = evaluation.metric_of(result["metric"])
    words, tone = _OUTCOMES[result["outcome"]]
    shown = None
    if result["effect"] is not None:
        effect = intervals.restored(result["effect"])
        unit = _UNITS_OF_METRICS[metric.name]
        shown = intervals.shown(effect, unit=unit, margin=evaluation.margin_of(metric, effect))
    return MetricRow(
        title=metric.title,
        is_primary=metric.name == experiment.primary_metric,
        is_guardrail=metric.is_guardrail,
        outcome_words=words,
        tone=tone,
        shown=shown,
        p_value=intervals.p_value(result["p_value"]),
        calls_missing=result["calls_missing"],
    )


def _rows_url(experiment: Experiment, arm: str, *, is_test: bool) -> str:
    if experiment.started_at is None:
        return ""
    query = LogQuery(
        range=TimeRange("", experiment.started_at, experiment.stopped_at or timezone.now()),
        mode="test" if is_test else "live",
        experiment=experiment.pk,
        arm=arm,
    )
    try:
        return f"{reverse('requests', args=[experiment.organization.slug])}?{query.encode()}"
    except NoReverseMatch:
        return ""
