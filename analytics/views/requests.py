"""The list of calls with its filters, its histogram and its CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import roles
from accounts.access import MemberRequest, organization_view
from accounts.models import Organization
from analytics import log_query, money, timerange
from analytics.exports import csv
from analytics.log_query import LogQuery, Problem
from analytics.queries import requests as queries
from analytics.queries.requests import Cursor, InvalidCursor, RequestRow
from analytics.views import log_page

_TEMPLATE = "analytics/requests.html"
_ROWS = 50
CSV_LIMIT = 100_000
_PLACE = ("after", "before")

CSV_HEADER = (
    "request_id",
    "started_at",
    "state",
    "http_status",
    "error_class",
    "requested_model",
    "model",
    "provider",
    "task_type",
    "agent",
    "feature",
    "session",
    "workspace",
    "key",
    "is_test",
    "is_simulated",
    "is_stream",
    "is_fallback",
    "finish_reason",
    "input_tokens",
    "cached_read_tokens",
    "output_tokens",
    "price_state",
    "cost_usd",
    "latency_ms",
    "first_token_ms",
)


@dataclass(frozen=True, slots=True)
class Facet:
    """One select of the filter bar: (value, words, calls) each; the value in force is always among them."""

    name: str
    label: str
    value: str
    options: tuple[tuple[str, str, int | None], ...]


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter in force, and the link that removes it."""

    label: str
    words: str
    url: str


_LABELS = {
    "model": "Model",
    "status": "Status",
    "task": "Task",
    "agent": "Agent",
    "feature": "Feature",
    "key": "Key",
    "workspace": "Workspace",
    "provider": "Provider",
    "error": "Error",
    "signal": "Signal",
    "stream": "Streamed",
    "session": "Session",
    "run": "Agent run",
    "user": "End user",
    "request": "Request id",
    "experiment": "Experiment",
    "arm": "Arm",
    "policy": "Policy",
    "min_cost": "Cost at least",
    "min_latency": "Latency at least",
}
_BAR = ("status", "model", "task", "agent", "key")
_MORE = ("provider", "feature", "workspace", "error", "signal", "stream")
_FIXED: dict[str, Mapping[str, str]] = {
    "status": log_query.STATUSES,
    "signal": log_query.SIGNALS,
    "stream": {"yes": "Streamed", "no": "Not streamed"},
}
# filter -> attribute of LogQuery where the two differ
_ATTRIBUTES = {"min_cost": "min_cost_nanousd", "min_latency": "min_latency_ms"}


@require_safe
@organization_view(roles.VIEW_REQUESTS)
def requests(request: MemberRequest, organization: Organization) -> HttpResponse:
    """Show a page of calls; the URL holds every filter and the place in the list."""
    page = log_page.read(request, also=_PLACE)
    context: dict[str, Any] = {"organization": organization, "page": page, "query": page.query}
    problems = list(page.problems)
    try:
        after, before = (_cursor(request, name) for name in _PLACE)
    except InvalidCursor as error:
        problems.append(Problem("after", str(error)))
        after = before = None
    context["problems"] = problems
    if problems:
        return render(request, _TEMPLATE, context, status=400)
    try:
        context |= _list(organization, page.query, after=after, before=before)
    except queries.StoreError as error:
        return log_page.broken(request, _TEMPLATE, context, error)
    return render(request, _TEMPLATE, context)


@require_safe
@organization_view(roles.VIEW_REQUESTS)
def requests_csv(request: MemberRequest, organization: Organization) -> HttpResponseBase:
    """Download the calls of the query, all pages of them up to CSV_LIMIT."""
    page = log_page.read(request, also=_PLACE)
    if page.problems:
        return HttpResponse("\n".join(problem.message for problem in page.problems), "text/plain", status=400)
    keys = log_page.key_names(organization)
    workspaces = log_page.workspace_names(organization)

    def blocks() -> Iterator[list[tuple[csv.Cell, ...]]]:
        for rows in queries.walk(organization_id=organization.pk, query=page.query, limit=CSV_LIMIT):
            yield [_csv_row(row, keys, workspaces) for row in rows]

    try:
        return csv.respond(
            request,
            filename=f"requests-{organization.slug}-{timezone.now():%Y-%m-%d}.csv",
            header=CSV_HEADER,
            blocks=blocks(),
        )
    except queries.StoreError:
        return HttpResponse("The log store does not answer now. Try again in a moment.", "text/plain", status=503)


def _cursor(request: MemberRequest, name: str) -> Cursor | None:
    text = request.GET.get(name)
    return Cursor.decode(text) if text else None


def _list(
    organization: Organization, query: LogQuery, *, after: Cursor | None, before: Cursor | None
) -> dict[str, Any]:
    who = organization.pk
    page = queries.page(organization_id=who, query=query, limit=_ROWS, after=after, before=before)
    bars = queries.histogram(organization_id=who, query=query)
    found = queries.facets(organization_id=who, query=query)
    names = {"key": log_page.key_names(organization), "workspace": log_page.workspace_names(organization)}
    facets = {name: _facet(name, query, found, names) for name in (*_BAR, *_MORE)}
    total = sum(bar.calls for bar in bars)
    address = reverse("requests", args=[organization.slug])
    return {
        "rows": page.rows,
        "newer_url": address + log_page.link(query, {"before": page.before.encode()}) if page.before else "",
        "older_url": address + log_page.link(query, {"after": page.after.encode()}) if page.after else "",
        "bars": _bars(bars, query),
        "total": total,
        "errors": sum(bar.errors for bar in bars),
        "has_any": total > 0 or any(found["model"]) or bool(query.filters),
        "bar_facets": [facets[name] for name in _BAR],
        "more_facets": [facets[name] for name in _MORE],
        "chips": _chips(query, names),
        "more_in_force": sum(1 for name in query.filters if name not in _BAR),
        "sorts": log_query.SORTS,
        "key_names": names["key"],
        "csv_url": reverse("requests_csv", args=[organization.slug]) + log_page.link(query),
        "csv_limit": CSV_LIMIT,
    }


def _facet(
    name: str,
    query: LogQuery,
    found: Mapping[str, Sequence[tuple[str, int]]],
    names: Mapping[str, Mapping[str, str]],
) -> Facet:
    value = getattr(query, name)
    options: list[tuple[str, str, int | None]] = []
    if name in _FIXED:
        options = [(option, words, None) for option, words in _FIXED[name].items()]
    else:
        for option, calls in found[name]:
            if name == "error" and not option:
                continue
            options.append((option or log_query.NONE, names.get(name, {}).get(option, option) or "(none)", calls))
    if value and value not in {option for option, _, _ in options}:
        options.append((value, names.get(name, {}).get(value, value), 0))
    return Facet(name, _LABELS[name], value, tuple(options))


def _chips(query: LogQuery, names: Mapping[str, Mapping[str, str]]) -> list[Chip]:
    chips = []
    for name, value in query.filters.items():
        attribute = _ATTRIBUTES.get(name, name)
        words = _FIXED.get(name, names.get(name, {})).get(value, value)
        if name == "min_cost":
            words = money.usd_exact(query.min_cost_nanousd)
        elif name == "min_latency":
            words = money.duration((query.min_latency_ms or 0) * 1000)
        chips.append(Chip(_LABELS[name], words, log_page.link(query.changed(**{attribute: None}))))
    return chips


@dataclass(frozen=True, slots=True)
class HistogramBar:
    """One bar of the histogram in a drawing 100 high; it links to its stretch of time."""

    x: int
    ok_y: float
    ok_height: float
    error_y: float
    error_height: float
    title: str
    url: str


def _bars(bars: Sequence[queries.Bar], query: LogQuery) -> list[HistogramBar]:
    highest = max((bar.calls for bar in bars), default=0) or 1
    width = query.range.bucket_seconds
    drawn = []
    for position, bar in enumerate(bars):
        ok = bar.ok / highest * 100
        # A single failure among thousands stays visible.
        error = max(bar.errors / highest * 100, 3.0) if bar.errors else 0.0
        ok = min(ok, 100 - error)
        start = bar.started_at
        end = timerange.moment(log_query.microseconds(start) + width * 1_000_000)
        zoomed = query.changed(range=timerange.TimeRange("", start, end))
        failed = f", {money.count(bar.errors)} failed" if bar.errors else ""
        drawn.append(
            HistogramBar(
                x=position * 10,
                ok_y=round(100 - ok, 2),
                ok_height=round(ok, 2),
                error_y=round(100 - ok - error, 2),
                error_height=round(error, 2),
                title=f"{start:%a} {start.day} {start:%b %H:%M}: {money.count(bar.calls)} calls{failed}",
                url=log_page.link(zoomed),
            )
        )
    return drawn


def _csv_row(row: RequestRow, keys: Mapping[str, str], workspaces: Mapping[str, str]) -> tuple[csv.Cell, ...]:
    return (
        row.request_id,
        row.started_at.isoformat(timespec="microseconds"),
        row.state,
        row.http_status or None,
        row.error_class,
        row.requested_model,
        row.model,
        row.provider,
        row.task_type,
        row.agent,
        row.feature,
        row.session,
        workspaces.get(row.workspace_id, row.workspace_id),
        keys.get(row.api_key_id, row.api_key_id),
        row.is_test,
        row.is_simulated,
        row.is_stream,
        row.is_fallback,
        row.finish_reason,
        row.input_tokens,
        row.cached_read_tokens,
        row.output_tokens,
        row.price_state,
        money.decimal(row.cost_nanousd),
        f"{row.latency_us // 1000}.{row.latency_us % 1000:03d}",
        None if row.first_token_us is None else f"{row.first_token_us // 1000}.{row.first_token_us % 1000:03d}",
    )
