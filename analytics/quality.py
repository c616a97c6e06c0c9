"""Compare quality signals before and after route changes, and keep the latest result of each.

An uncontrolled comparison: whatever else changed at the same time is in it too. What it protects against is chance:
calls are grouped by conversation, looking often is allowed, and Holm's correction holds over all signals and task
types of a change, so that a change that changes nothing is called regressed at most once in a hundred.
The SQL stands in `queries.quality`, the tests in `statistics`.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.db.models import Max, Q

from analytics.models import QualityComparison, RouteChange
from analytics.queries import quality as quality_queries
from analytics.queries.quality import SignalRow, Window
from analytics.statistics import effects, multiplicity
from analytics.statistics.effects import Effect, Scale
from analytics.statistics.moments import RatioSample

logger = logging.getLogger(__name__)

REGRESSED = "regressed"
IMPROVED = "improved"
CHANGED = "changed"  # a symptom moved: look at the rows
UNCHANGED = "unchanged"
NOT_ENOUGH_DATA = "not_enough_data"

FAMILY_ALPHA = 0.01  # one false alarm in a hundred route changes
MIN_UNITS = 30  # conversations on each side, below which the normal approximations are not trusted
MIN_CALLS = 50
MAX_TASK_TYPES = 20
MAX_FEEDBACK_NAMES = 3
SMALL_EFFECT = 0.2  # of the scatter, where a scale has no unit of its own (Cohen 1988, "small")
SPAN = dt.timedelta(days=7)
SHORTEST_WINDOW = dt.timedelta(minutes=1)
SETTLE = dt.timedelta(seconds=30)  # records travel from the spool to ClickHouse in seconds
LATE_FEEDBACK = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Signal:
    """What is compared. `margin` is the smallest change that matters; None means a small effect."""

    name: str
    title: str
    scale: Scale
    good: int  # +1: more is better, -1: less is better, 0: only a symptom
    margin: float | None


_SIGNALS = (
    Signal("length", "Output length", Scale.LOG, 0, 0.1),
    Signal("tool_call_validity", "Valid tool calls", Scale.SHARE, 1, 0.03),
    Signal("json_validity", "Valid JSON", Scale.SHARE, 1, 0.03),
    Signal("schema_validity", "Answers that match their schema", Scale.SHARE, 1, 0.03),
    Signal("refusal", "Refusals", Scale.SHARE, -1, 0.03),
    Signal("truncation", "Truncated answers", Scale.SHARE, -1, 0.03),
    Signal("errors", "Errors", Scale.SHARE, -1, 0.03),
)
_BY_NAME = {signal.name: signal for signal in _SIGNALS}
ORDER = {signal.name: position for position, signal in enumerate(_SIGNALS)}


@dataclass(frozen=True, slots=True)
class Finding:
    """The comparison of one signal in one task type. `effect` is None where a side is too small to test."""

    task_type: str
    signal: str
    verdict: str
    calls_before: int
    calls_after: int
    effect: Effect | None
    adjusted_p_value: float | None
    calls_missing: int | None  # about how many more calls, on both sides together, would settle it
    is_test_traffic: bool


def signal_of(name: str) -> Signal:
    """Return the signal of a stored name; feedback has one signal for each of its names."""
    known = _BY_NAME.get(name)
    if known is not None:
        return known
    return Signal(name, f"Feedback “{name.partition(':')[2]}”", Scale.MEAN, 1, None)


def margin_of(signal: Signal, effect: Effect) -> float:
    """Return the smallest change that matters, on the scale of the test."""
    return signal.margin if signal.margin is not None else SMALL_EFFECT * effect.spread


def window(
    *,
    happened_at: dt.datetime,
    previous_at: dt.datetime | None,
    next_at: dt.datetime | None,
    now: dt.datetime,
    span: dt.timedelta = SPAN,
) -> Window | None:
    """Return the two windows around a change: equally long, without a gap, reaching no other change.

    None while the after side is shorter than a minute.
    """
    length = min(span, now - SETTLE - happened_at)
    if previous_at is not None:
        length = min(length, happened_at - previous_at)
    if next_at is not None:
        length = min(length, next_at - happened_at)
    if length < SHORTEST_WINDOW:
        return None
    return Window(happened_at - length, happened_at, happened_at + length)


def judge(rows: Sequence[SignalRow], *, alpha: float = FAMILY_ALPHA) -> list[Finding]:
    """Return a verdict for every signal of every task type that was seen on a side. Pure.

    Live traffic decides where there is any; test-key traffic is judged only in a workspace that has nothing else.
    """
    is_test = all(row.is_test for row in rows)
    sides: dict[tuple[str, str], dict[bool, RatioSample]] = {}
    for row in _most_frequent([row for row in rows if row.is_test == is_test]):
        sides.setdefault((row.task_type, row.signal), {})[row.is_after] = row.sample
    nothing = RatioSample.of([])
    pairs = {key: (found.get(False, nothing), found.get(True, nothing)) for key, found in sides.items()}
    tested = {
        key: effects.between(before, after, scale=signal_of(key[1]).scale)
        for key, (before, after) in pairs.items()
        if min(before.n, after.n) >= MIN_UNITS and min(before.denominator, after.denominator) >= MIN_CALLS
    }
    adjusted = dict(zip(tested, multiplicity.holm([e.anytime_p_value for e in tested.values()]), strict=True))
    return [
        _finding(key, pairs[key], tested.get(key), adjusted.get(key), alpha=alpha, is_test=is_test)
        for key in sorted(pairs, key=lambda key: (key[0], ORDER.get(key[1], len(ORDER)), key[1]))
    ]


def _most_frequent(rows: Sequence[SignalRow]) -> list[SignalRow]:
    """Leave out rare task types and rare feedback names: every further comparison costs the others certainty."""
    task_types: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for row in rows:
        calls = int(row.sample.denominator)
        task_types[row.task_type] += calls
        if row.signal not in _BY_NAME:
            names[row.signal] += calls
    kept_types = {task_type for task_type, _ in task_types.most_common(MAX_TASK_TYPES)}
    kept_names = {name for name, _ in names.most_common(MAX_FEEDBACK_NAMES)}
    return [row for row in rows if row.task_type in kept_types and (row.signal in _BY_NAME or row.signal in kept_names)]


def _finding(
    key: tuple[str, str],
    pair: tuple[RatioSample, RatioSample],
    effect: Effect | None,
    adjusted: float | None,
    *,
    alpha: float,
    is_test: bool,
) -> Finding:
    signal = signal_of(key[1])
    before, after = int(pair[0].denominator), int(pair[1].denominator)
    if effect is None or adjusted is None:
        # A side without a single call is not short of some: waiting does not fill the time before the first policy.
        few = max(0, MIN_CALLS - before) + max(0, MIN_CALLS - after) if before and after else 0
        return Finding(*key, NOT_ENOUGH_DATA, before, after, None, None, few or None, is_test)
    margin = margin_of(signal, effect)
    verdict = NOT_ENOUGH_DATA
    missing: int | None = None
    if adjusted <= alpha:
        verdict = _direction(signal, effect)
    elif margin == 0.0 or effects.excludes_margin(effect, margin):
        verdict = UNCHANGED
    else:
        missing = max(1, effects.calls_missing(effect, margin, alpha=alpha))
    return Finding(*key, verdict, before, after, effect, adjusted, missing, is_test)


def _direction(signal: Signal, effect: Effect) -> str:
    if signal.good == 0:
        return CHANGED
    return IMPROVED if (effect.value > 0) == (signal.good > 0) else REGRESSED


def compare(change: RouteChange, *, now: dt.datetime) -> list[Finding]:
    """Compare before with after for one change and store the findings, replacing those of an earlier look.

    Raises:
        quality_queries.StoreError: ClickHouse does not answer; nothing is stored.
    """
    seen = _window_of(change, now=now)
    if seen is None:
        return []
    rows = quality_queries.signals(
        organization_id=change.organization_id,
        workspace_id=change.workspace_id,
        window=seen,
        task_type=change.task_type,
        except_task_types=tuple(change.after.get("except", ())),
        # A policy or an experiment decides only where `auto` goes; a catalog change moves calls that name a model too.
        with_pinned=change.kind == RouteChange.Kind.CATALOG,
        with_experiments=change.kind != RouteChange.Kind.POLICY,
    )
    findings = judge(rows)
    _store(change, findings, seen, now=now)
    return findings


def detect(*, now: dt.datetime, span: dt.timedelta = SPAN) -> int:
    """Compare every recent route change whose comparison is due; return how many were compared.

    A change is looked at often while it is young and hourly later, until its window is full and late feedback is in.
    One that cannot be compared is logged and does not keep the others from it.
    """
    recent = RouteChange.objects.filter(happened_at__gte=now - span - LATE_FEEDBACK, happened_at__lte=now)
    done = 0
    for change in recent.annotate(compared_at=Max("comparisons__computed_at")).order_by("-happened_at", "id"):
        if not _is_due(happened_at=change.happened_at, compared_at=change.compared_at, now=now):
            continue
        try:
            compare(change, now=now)
        except quality_queries.StoreError:
            logger.exception("A route change could not be compared. route_change=%s", change.pk)
            continue
        done += 1
    return done


def _is_due(*, happened_at: dt.datetime, compared_at: dt.datetime | None, now: dt.datetime) -> bool:
    if compared_at is None:
        return True
    pause = min(dt.timedelta(hours=1), (now - happened_at) / 50)
    return now - compared_at >= pause


def _window_of(change: RouteChange, *, now: dt.datetime) -> Window | None:
    others = RouteChange.objects.filter(organization_id=change.organization_id, workspace_id=change.workspace_id)
    if change.task_type:
        others = others.filter(Q(task_type="") | Q(task_type=change.task_type))
    earlier = others.filter(happened_at__lt=change.happened_at).order_by("-happened_at").first()
    later = others.filter(happened_at__gt=change.happened_at).order_by("happened_at").first()
    return window(
        happened_at=change.happened_at,
        previous_at=earlier.happened_at if earlier else None,
        next_at=later.happened_at if later else None,
        now=now,
    )


def _store(change: RouteChange, findings: Iterable[Finding], seen: Window, *, now: dt.datetime) -> None:
    with transaction.atomic():
        QualityComparison.objects.bulk_create(
            [
                QualityComparison(
                    route_change=change,
                    task_type=finding.task_type,
                    signal=finding.signal,
                    result=_result(finding, seen),
                    verdict=finding.verdict,
                    computed_at=now,
                )
                for finding in findings
            ],
            update_conflicts=True,
            unique_fields=["route_change", "task_type", "signal"],
            update_fields=["result", "verdict", "computed_at"],
        )
        # What is not seen any more: test-key traffic once live traffic has come.
        change.comparisons.exclude(computed_at=now).delete()


def _result(finding: Finding, seen: Window) -> dict[str, Any]:
    result = asdict(finding)
    for known_as_columns in ("task_type", "signal", "verdict"):
        del result[known_as_columns]
    return result | {
        "start_at": seen.start_at.isoformat(),
        "boundary_at": seen.boundary_at.isoformat(),
        "end_at": seen.end_at.isoformat(),
    }
