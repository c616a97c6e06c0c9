"""What the data of a two-arm experiment says so far: metrics with intervals, the split, and a verdict. Pure.

Where the data comes from is `queries.experiments`' business, what an experiment is stands in `experiments`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics.queries.experiments import Arm, Exposure
from analytics.statistics import effects, multiplicity, srm
from analytics.statistics.effects import Effect, Scale
from analytics.statistics.moments import RatioSample
from analytics.statistics.srm import SampleRatio

CONTROL = "control"
TREATMENT = "treatment"

SHIP_TREATMENT = "ship_treatment"
KEEP_CONTROL = "keep_control"
TRADE_OFF = "trade_off"
NO_DIFFERENCE = "no_difference"
NO_DIFFERENCE_YET = "no_difference_yet"
BROKEN_SPLIT = "broken_split"

ALPHA = 0.05
MIN_UNITS = 100  # of each arm
MAX_UNITS_IN_BOTH = 0.01


@dataclass(frozen=True, slots=True)
class Metric:
    """What arms are compared by. `margin` is the smallest difference that matters, on the scale of the test."""

    name: str
    title: str
    scale: Scale
    good: int  # +1: more is better, -1: less is better, 0: shown, not judged
    margin: float
    is_margin_relative: bool = False
    is_guardrail: bool = False


METRICS = (
    Metric("success", "Success rate", Scale.SHARE, 1, 0.02, is_guardrail=True),
    Metric("feedback", "Feedback", Scale.MEAN, 1, 0.05, is_margin_relative=True, is_guardrail=True),
    Metric("cost", "Cost per call", Scale.MEAN, -1, 0.05, is_margin_relative=True, is_guardrail=True),
    Metric("latency", "Latency", Scale.LOG, -1, 0.05, is_guardrail=True),
    Metric("fallbacks", "Calls answered by a fallback", Scale.SHARE, -1, 0.02, is_guardrail=True),
    Metric("output_tokens", "Output tokens", Scale.MEAN, 0, 0.05, is_margin_relative=True),
)
PRIMARY_METRICS = ("success", "feedback", "cost", "latency")
_BY_NAME = {metric.name: metric for metric in METRICS}


def margin_of(metric: Metric, effect: Effect) -> float:
    """Return the smallest difference that matters, on the scale of the test."""
    return metric.margin * abs(effect.mean_control) if metric.is_margin_relative else metric.margin


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric of both arms. `outcome` is better, worse, different, same or open, seen from the treatment."""

    metric: str
    outcome: str
    effect: Effect | None
    p_value: float | None  # valid at any time; guardrails corrected by Holm
    calls_missing: int | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The state of an experiment: its split, its metrics (the primary first) and what follows."""

    verdict: str
    split: SampleRatio
    units_in_both: int
    is_crossed: bool  # more units than chance allows were seen in both arms
    calls: tuple[int, int]
    fallback_calls: tuple[int, int]
    metrics: tuple[MetricResult, ...]
    worse_guardrails: tuple[str, ...]
    calls_missing: int | None
    is_test_traffic: bool


def metric_of(name: str) -> Metric:
    """Return a metric by name."""
    return _BY_NAME[name]


def judge(exposure: Exposure, *, treatment_share: float, primary_metric: str) -> Evaluation:
    """Return what the data says so far. Pure.

    Verdicts rest on results that are valid at any time, so evaluating every minute raises no false alarms: the
    primary metric at 5 %, the guardrails together at 5 % by Holm. Live traffic decides where there is any.
    """
    is_test = all(arm.is_test for arm in exposure.arms)
    arms = {arm.name: arm for arm in exposure.arms if arm.is_test == is_test}
    control, treatment = (arms.get(name, _empty(name)) for name in (CONTROL, TREATMENT))
    split = srm.check([control.units, treatment.units], [1.0 - treatment_share, treatment_share])
    units = control.units + treatment.units
    measured = _measure(control, treatment)
    primary = _result(_BY_NAME[primary_metric], measured.get(primary_metric), p_value=None)
    guardrails = [metric for metric in METRICS if metric.is_guardrail and metric.name != primary_metric]
    tested = [metric for metric in guardrails if metric.name in measured]
    adjusted = multiplicity.holm([measured[metric.name].anytime_p_value for metric in tested])
    by_name = {metric.name: p_value for metric, p_value in zip(tested, adjusted, strict=True)}
    rest = [metric for metric in METRICS if metric.name != primary_metric]
    results = (primary, *(_result(m, measured.get(m.name), p_value=by_name.get(m.name)) for m in rest))
    worse = tuple(r.metric for r in results[1:] if r.outcome == "worse" and _BY_NAME[r.metric].is_guardrail)
    return Evaluation(
        verdict=_verdict(primary, is_broken=split.is_broken, worse=worse),
        split=split,
        units_in_both=exposure.units_in_both,
        is_crossed=exposure.units_in_both > MAX_UNITS_IN_BOTH * units,
        calls=(control.calls, treatment.calls),
        fallback_calls=(control.fallback_calls, treatment.fallback_calls),
        metrics=results,
        worse_guardrails=worse,
        calls_missing=_calls_missing(primary, control, treatment),
        is_test_traffic=is_test and bool(arms),
    )


def _empty(name: str) -> Arm:
    return Arm(name, False, 0, 0, 0, {})


def _measure(control: Arm, treatment: Arm) -> dict[str, Effect]:
    """Return the effect of every metric that both arms have enough units of; feedback is its most frequent kind."""
    nothing = RatioSample.of([])
    measured: dict[str, Effect] = {}
    for metric in METRICS:
        column = _column(metric, control, treatment)
        left, right = control.samples.get(column, nothing), treatment.samples.get(column, nothing)
        if min(left.n, right.n) >= MIN_UNITS:
            measured[metric.name] = effects.between(left, right, scale=metric.scale, alpha=ALPHA)
    return measured


def _column(metric: Metric, control: Arm, treatment: Arm) -> str:
    if metric.name != "feedback":
        return metric.name
    counts: dict[str, float] = {}
    for arm in (control, treatment):
        for name, sample in arm.samples.items():
            if name.startswith("feedback:"):
                counts[name] = counts.get(name, 0) + sample.denominator
    return max(sorted(counts), key=lambda name: counts[name], default="feedback:")


def _result(metric: Metric, effect: Effect | None, *, p_value: float | None) -> MetricResult:
    if effect is None:
        return MetricResult(metric.name, "open", None, None, None)
    p_value = effect.anytime_p_value if p_value is None else p_value
    margin = margin_of(metric, effect)
    if p_value < ALPHA:
        better = (effect.value > 0) == (metric.good > 0)
        return MetricResult(
            metric.name, ("better" if better else "worse") if metric.good else "different", effect, p_value, None
        )
    if margin == 0.0 or effects.excludes_margin(effect, margin):
        return MetricResult(metric.name, "same", effect, p_value, None)
    missing = max(1, effects.calls_missing(effect, margin, alpha=ALPHA))
    return MetricResult(metric.name, "open", effect, p_value, missing)


def _verdict(primary: MetricResult, *, is_broken: bool, worse: Sequence[str]) -> str:
    if is_broken:
        return BROKEN_SPLIT
    if primary.outcome == "better":
        return TRADE_OFF if worse else SHIP_TREATMENT
    if primary.outcome == "worse":
        return KEEP_CONTROL
    return NO_DIFFERENCE if primary.outcome == "same" else NO_DIFFERENCE_YET


def _calls_missing(primary: MetricResult, control: Arm, treatment: Arm) -> int | None:
    """Return about how many more calls the primary metric needs: for its first test, or to see its margin."""
    if primary.effect is not None:
        return primary.calls_missing
    units = control.units + treatment.units
    calls_a_unit = (control.calls + treatment.calls) / units if units else 1.0
    missing = sum(max(0, MIN_UNITS - arm.units) for arm in (control, treatment))
    return round(missing * calls_a_unit) or None
