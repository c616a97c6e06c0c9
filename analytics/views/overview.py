"""The overview: what calls cost, how they went, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts import roles
from accounts.access import MemberRequest, organization_view
from accounts.models import Organization
from analytics import charts, money
from analytics.log_query import LogQuery
from analytics.models import RouteChange
from analytics.queries import overview as queries
from analytics.queries import requests as request_queries
from analytics.queries.overview import Point, Totals
from analytics.views import log_page

_TEMPLATE = "analytics/overview.html"
_LATEST = 8
_MARKERS = 9
# A window before with fewer calls than this share of the present ones (the first week, mostly) is no comparison.
_COMPARABLE = 20


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure: its change against the window before, its course, and the link to the rows behind it."""

    label: str
    value: str
    title: str
    url: str
    change: str
    tone: str
    direction: str
    course: tuple[float, ...]
    note: str


@require_safe
@organization_view(roles.VIEW_COSTS)
def overview(request: MemberRequest, organization: Organization) -> HttpResponse:
    """Show the figures of a window of time, compared with the window before."""
    page = log_page.read(request)
    context: dict[str, Any] = {"organization": organization, "page": page, "query": page.query}
    if page.problems:
        return render(request, _TEMPLATE, context, status=page.status)
    try:
        context |= _figures(request, organization, page.query)
    except queries.StoreError as error:
        return log_page.broken(request, _TEMPLATE, context, error)
    return render(request, _TEMPLATE, context)


def _figures(request: MemberRequest, organization: Organization, query: LogQuery) -> dict[str, Any]:
    who = organization.pk
    now, before = queries.totals(organization_id=who, query=query)
    if not now.calls and not before.calls:
        return {"is_empty": True, "has_filters": bool(query.filters) or query.mode != "all"}
    parts = queries.parts(organization_id=who, query=query)
    changes = list(
        RouteChange.objects.filter(
            organization=organization, happened_at__gte=query.range.start_at, happened_at__lt=query.range.end_at
        ).order_by("happened_at", "pk")[:_MARKERS]
    )
    spend = charts.stack(
        ((point.started_at, point.model, point.cost_nanousd) for point in parts.models),
        buckets=query.range.buckets(),
        bucket_seconds=query.range.bucket_seconds,
        markers=[charts.Marker(change.happened_at, change.summary) for change in changes],
    )
    if before.calls * _COMPARABLE < now.calls:
        before = queries.NO_CALLS
    can_see_requests = roles.grants(request.membership.role, roles.VIEW_REQUESTS)
    latest = []
    if can_see_requests:
        latest = request_queries.page(organization_id=who, query=query, limit=_LATEST).rows
    return {
        "totals": now,
        "tiles": _tiles(organization, query, now, before, parts.course, can_see_requests=can_see_requests),
        "spend": spend,
        "changes": changes,
        "tasks": parts.tasks,
        "latest": latest,
        "can_see_requests": can_see_requests,
        "rows_url": reverse("requests", args=[organization.slug]) if can_see_requests else "",
    }


def _tiles(
    organization: Organization,
    query: LogQuery,
    now: Totals,
    before: Totals,
    course: Sequence[Point],
    *,
    can_see_requests: bool,
) -> list[Tile]:
    def rows(**changes: Any) -> str:
        if not can_see_requests:
            return ""
        return reverse("requests", args=[organization.slug]) + log_page.link(query.changed(**changes))

    costs = reverse("costs", args=[organization.slug])
    error_ratio = now.errors / now.calls if now.calls else 0.0
    error_ratio_before = before.errors / before.calls if before.calls else None
    baseline = ", ".join(now.baseline_models[:2]) + (" and others" if len(now.baseline_models) > 2 else "")
    simulated = ""
    if now.simulated_cost_nanousd:
        is_all = now.simulated_cost_nanousd == now.cost_nanousd
        simulated = f"{'all' if is_all else money.usd(now.simulated_cost_nanousd)} of it simulated"
    unpriced = f"{money.count(now.unpriced)} calls without a known price" if now.unpriced else ""
    return [
        _tile(
            "Spend",
            money.usd(now.cost_nanousd),
            costs + log_page.link(query),
            now.cost_nanousd,
            before.cost_nanousd,
            [point.cost_nanousd for point in course],
            title=money.usd_exact(now.cost_nanousd),
            note=unpriced or simulated,
        ),
        _tile(
            "Calls",
            money.compact(now.calls),
            rows(),
            now.calls,
            before.calls,
            [point.calls for point in course],
            title=money.count(now.calls),
            note=f"{money.count(now.interrupted)} interrupted" if now.interrupted else "",
        ),
        _tile(
            "Error rate",
            money.percent(now.errors, now.calls, places=2),
            rows(status="error"),
            error_ratio,
            error_ratio_before,
            [point.errors / point.calls if point.calls else 0.0 for point in course],
            title=f"{money.count(now.errors)} of {money.count(now.calls)} calls failed",
            lower_is_better=True,
            is_ratio=True,
        ),
        _tile(
            "Median latency",
            money.duration(now.p50_us),
            rows(status="ok"),
            now.p50_us,
            before.p50_us,
            [point.p50_us for point in course],
            title="Half of the calls that succeeded were faster",
            lower_is_better=True,
        ),
        _tile(
            "p95 latency",
            money.duration(now.p95_us),
            rows(status="ok", sort="latency"),
            now.p95_us,
            before.p95_us,
            [point.p95_us for point in course],
            title="95 of 100 calls that succeeded were faster",
            lower_is_better=True,
        ),
        _tile(
            "Tokens",
            money.compact(now.tokens),
            rows(sort="tokens"),
            now.tokens,
            before.tokens,
            [point.tokens for point in course],
            title=f"{money.count(now.input_tokens)} in, {money.count(now.output_tokens)} out",
            note=f"{money.percent(now.cached_read_tokens, now.input_tokens, places=0)} of input cached"
            if now.cached_read_tokens
            else "",
        ),
        _tile(
            "Saved",
            money.usd(now.saved_nanousd) if now.baselined_calls else "\u2014",
            costs + log_page.link(query, {"by": "task"}),
            now.saved_nanousd,
            before.saved_nanousd,
            [point.saved_nanousd for point in course],
            title=_saving_words(now, baseline),
            note=f"vs {_short_name(now.baseline_models)}" if baseline else "no baseline set",
            higher_is_better=True,
        ),
    ]


def _short_name(models: Sequence[str]) -> str:
    first = models[0].rpartition("/")[2]
    return first if len(models) == 1 else f"{first} and others"


def _change_words(ratio: float | None, *, is_points: bool) -> str:
    if ratio is None:
        return ""
    if abs(ratio) < 0.0005:
        return "unchanged"
    return money.points(ratio) if is_points else money.signed_percent(ratio)


def _saving_words(totals: Totals, baseline: str) -> str:
    if not totals.baselined_calls:
        return "No call of this window was compared with a baseline model"
    return (
        f"{money.usd_exact(totals.baseline_nanousd)} had all {money.count(totals.baselined_calls)} routed calls "
        f"gone to {baseline}, {money.usd_exact(totals.baselined_cost_nanousd)} as routed"
    )


def _tile(
    label: str,
    value: str,
    url: str,
    now: float | None,
    before: float | None,
    course: Sequence[float],
    *,
    title: str = "",
    note: str = "",
    lower_is_better: bool = False,
    higher_is_better: bool = False,
    is_ratio: bool = False,
) -> Tile:
    # A change of a share in percent would be read as points, so points it is.
    ratio = money.change(now, before) if not is_ratio or now is None or before is None else now - before
    tone = direction = ""
    if ratio is not None and abs(ratio) >= 0.0005:
        direction = "up" if ratio > 0 else "down"
        if lower_is_better or higher_is_better:
            tone = "good" if (ratio < 0) == lower_is_better else "bad"
    return Tile(
        label=label,
        value=value,
        title=title,
        url=url,
        change=_change_words(ratio, is_points=is_ratio),
        tone=tone,
        direction=direction,
        course=tuple(course),
        note=note,
    )
