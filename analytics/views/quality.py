"""The quality pages: what happened to the signals around each route change."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass

from django.core.paginator import Paginator
from django.db.models import Prefetch, QuerySet
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_GET

from accounts import access, roles
from accounts.models import Organization
from analytics import intervals, quality
from analytics.exports import csv
from analytics.intervals import Shown
from analytics.log_query import LogQuery
from analytics.models import QualityComparison, RouteChange
from analytics.timerange import TimeRange

_CHANGES_A_PAGE = 20

# verdict -> (words, tone of the badge)
_VERDICTS = {
    quality.REGRESSED: ("Regressed", "danger"),
    quality.IMPROVED: ("Improved", "positive"),
    quality.CHANGED: ("Changed", "warning"),
    quality.UNCHANGED: ("Unchanged", ""),
    quality.NOT_ENOUGH_DATA: ("Not enough data yet", ""),
}
_UNITS = {"length": intervals.CHARACTERS}
# signal -> what the requests page calls the bad calls
_ROWS = {
    "truncation": {"signal": "truncated"},
    "refusal": {"signal": "refusal"},
    "json_validity": {"signal": "invalid_json"},
    "schema_validity": {"signal": "invalid_schema"},
    "tool_call_validity": {"signal": "invalid_tool_call"},
    "errors": {"status": "error"},
}


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One comparison in words. `shown` is None where a side is too small to test."""

    task_type: str
    title: str
    is_symptom: bool
    verdict: str
    verdict_words: str
    tone: str
    calls_before: int
    calls_after: int
    shown: Shown | None
    adjusted_p_value: str
    calls_missing: int | None
    rows_before_url: str
    rows_after_url: str


@dataclass(frozen=True, slots=True)
class ChangeCard:
    """A route change with what stands out, and how many signals did not."""

    change: RouteChange
    rows: tuple[FindingRow, ...]
    standing_out: tuple[FindingRow, ...]
    unchanged: int
    open: int
    headline: str
    tone: str
    start_at: dt.datetime | None
    end_at: dt.datetime | None
    is_test_traffic: bool


@require_GET
@access.organization_view(roles.VIEW_REQUESTS)
def changes(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """List the route changes, newest first, each with the signals that moved."""
    listed = _changes(organization).order_by("-happened_at", "id")
    page = Paginator(listed, _CHANGES_A_PAGE).get_page(request.GET.get("page"))
    return render(request, "analytics/quality.html", {"cards": [_card(change) for change in page], "page": page})


@require_GET
@access.organization_view(roles.VIEW_REQUESTS)
def change(request: access.MemberRequest, organization: Organization, change_id: str) -> HttpResponse:
    """Show every comparison of one route change."""
    found = get_object_or_404(_changes(organization), pk=change_id)
    return render(request, "analytics/quality_change.html", {"card": _card(found)})


@require_GET
@access.organization_view(roles.VIEW_REQUESTS)
def change_csv(request: access.MemberRequest, organization: Organization, change_id: str) -> HttpResponseBase:
    """Send every comparison of one route change, unrounded."""
    found = get_object_or_404(_changes(organization), pk=change_id)
    header = [
        "task_type",
        "signal",
        "verdict",
        *intervals.COLUMNS,
        "adjusted_p_value",
        "start_at",
        "boundary_at",
        "end_at",
    ]
    rows = [
        [
            comparison.task_type,
            comparison.signal,
            comparison.verdict,
            *intervals.cells(comparison.result["effect"]),
            *(comparison.result[name] for name in ("adjusted_p_value", "start_at", "boundary_at", "end_at")),
        ]
        for comparison in found.comparisons.all()
    ]
    return csv.respond(request, filename=f"{found.pk}.csv", header=header, blocks=[rows])


def _changes(organization: Organization) -> QuerySet[RouteChange]:
    return (
        RouteChange.objects.filter(organization=organization)
        .select_related("workspace", "changed_by", "organization")
        .prefetch_related(Prefetch("comparisons", QualityComparison.objects.order_by("task_type", "signal")))
    )


def _card(change: RouteChange) -> ChangeCard:
    comparisons = sorted(
        change.comparisons.all(), key=lambda c: (c.task_type, quality.ORDER.get(c.signal, len(quality.ORDER)), c.signal)
    )
    rows = tuple(_row(change, comparison) for comparison in comparisons)
    counts = Counter(row.verdict for row in rows)
    headline, tone = _headline(counts)
    seen = comparisons[0].result if comparisons else None
    return ChangeCard(
        change=change,
        rows=rows,
        standing_out=tuple(row for row in rows if row.verdict not in {quality.UNCHANGED, quality.NOT_ENOUGH_DATA}),
        unchanged=counts[quality.UNCHANGED],
        open=counts[quality.NOT_ENOUGH_DATA],
        headline=headline,
        tone=tone,
        start_at=dt.datetime.fromisoformat(seen["start_at"]) if seen else None,
        end_at=dt.datetime.fromisoformat(seen["end_at"]) if seen else None,
        is_test_traffic=bool(seen and seen["is_test_traffic"]),
    )


def _headline(counts: Counter[str]) -> tuple[str, str]:
    if not counts:
        return "Waiting for calls", ""
    for verdict in (quality.REGRESSED, quality.CHANGED, quality.IMPROVED):
        if counts[verdict]:
            return _VERDICTS[verdict]
    return _VERDICTS[quality.UNCHANGED if counts[quality.UNCHANGED] else quality.NOT_ENOUGH_DATA]


def _row(change: RouteChange, comparison: QualityComparison) -> FindingRow:
    result = comparison.result
    signal = quality.signal_of(comparison.signal)
    words, tone = _VERDICTS[comparison.verdict]
    if not result["calls_before"]:
        words = "No calls before the change"
    elif not result["calls_after"]:
        words = "No calls after the change"
    shown = None
    if result["effect"] is not None:
        effect = intervals.restored(result["effect"])
        feedback_or_share = intervals.SCORE if comparison.signal.startswith("feedback:") else intervals.SHARE
        unit = _UNITS.get(comparison.signal, feedback_or_share)
        shown = intervals.shown(effect, unit=unit, margin=quality.margin_of(signal, effect))
    return FindingRow(
        task_type=comparison.task_type,
        title=signal.title,
        is_symptom=signal.good == 0,
        verdict=comparison.verdict,
        verdict_words=words,
        tone=tone,
        calls_before=result["calls_before"],
        calls_after=result["calls_after"],
        shown=shown,
        adjusted_p_value=intervals.p_value(result["adjusted_p_value"]),
        calls_missing=result["calls_missing"],
        rows_before_url=_rows_url(change, comparison, "start_at", "boundary_at"),
        rows_after_url=_rows_url(change, comparison, "boundary_at", "end_at"),
    )


def _rows_url(change: RouteChange, comparison: QualityComparison, start: str, end: str) -> str:
    """Return the requests page narrowed to one side: the bad calls, or all of them where no call is bad by itself."""
    result = comparison.result
    query = LogQuery(
        range=TimeRange("", dt.datetime.fromisoformat(result[start]), dt.datetime.fromisoformat(result[end])),
        mode="test" if result["is_test_traffic"] else "live",
        workspace=change.workspace_id,
        task=comparison.task_type,
    ).changed(**_ROWS.get(comparison.signal, {}))
    try:
        return f"{reverse('requests', args=[change.organization.slug])}?{query.encode()}"
    except NoReverseMatch:
        return ""
