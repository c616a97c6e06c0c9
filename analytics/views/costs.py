"""What calls cost by one dimension: a chart over time, a chart of shares, a table that adds up, its CSV."""

from __future__ import annotations

from collections.abc import Mapping
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
from analytics import charts, log_query, money
from analytics.exports import csv
from analytics.log_query import LogQuery, Problem
from analytics.queries import costs as queries
from analytics.queries.costs import CostRow, Costs
from analytics.views import log_page
from analytics.views.log_page import Choice

_TEMPLATE = "analytics/costs.html"
_BARS = 10
_WORDS = {
    "model": "Model",
    "provider": "Provider",
    "task": "Task type",
    "agent": "Agent",
    "feature": "Feature",
    "key": "Key",
    "workspace": "Workspace",
}
CSV_COLUMNS = (
    "calls",
    "failed_calls",
    "unpriced_calls",
    "input_tokens",
    "cached_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost_usd",
    "simulated_cost_usd",
    "estimated_cost_usd",
    "billed_usd",
    "baseline_usd",
    "saved_usd",
)


@dataclass(frozen=True, slots=True)
class NamedRow:
    """A row with its words and the link to the calls behind it."""

    row: CostRow
    name: str
    url: str


@require_safe
@organization_view(roles.VIEW_COSTS)
def costs(request: MemberRequest, organization: Organization) -> HttpResponse:
    """Show what calls cost by the dimension that the URL names."""
    page = log_page.read(request, also=("by",))
    dimension, problems = _dimension(request)
    problems = [*page.problems, *problems]
    context: dict[str, Any] = {
        "organization": organization,
        "page": page,
        "query": page.query,
        "problems": problems,
        "dimension": dimension,
        "dimension_words": _WORDS[dimension],
        "dimensions": [
            Choice(words, log_page.link(page.query, {"by": name}), name == dimension) for name, words in _WORDS.items()
        ],
    }
    if problems:
        return render(request, _TEMPLATE, context, status=400)
    try:
        context |= _figures(request, organization, page.query, dimension)
    except queries.StoreError as error:
        return log_page.broken(request, _TEMPLATE, context, error)
    return render(request, _TEMPLATE, context)


@require_safe
@organization_view(roles.VIEW_COSTS)
def costs_csv(request: MemberRequest, organization: Organization) -> HttpResponseBase:
    """Download the rows of the table, its rest and its total."""
    page = log_page.read(request, also=("by",))
    dimension, problems = _dimension(request)
    if page.problems or problems:
        words = "\n".join(problem.message for problem in (*page.problems, *problems))
        return HttpResponse(words, "text/plain", status=400)
    try:
        found = queries.by(organization_id=organization.pk, query=page.query, dimension=dimension)
    except queries.StoreError:
        return HttpResponse("The log store does not answer now. Try again in a moment.", "text/plain", status=503)
    names = _names(organization, dimension)
    rows = [_csv_row(_name(row.value, names), row) for row in found.rows]
    if found.rest is not None:
        rows.append(_csv_row(charts.OTHER, found.rest))
    rows.append(_csv_row("Total", found.total))
    return csv.respond(
        request,
        filename=f"costs-by-{dimension}-{organization.slug}-{timezone.now():%Y-%m-%d}.csv",
        header=(dimension, *CSV_COLUMNS),
        blocks=[rows],
    )


def _dimension(request: MemberRequest) -> tuple[str, list[Problem]]:
    name = request.GET.get("by") or "model"
    if name in queries.DIMENSIONS:
        return name, []
    choices = ", ".join(queries.DIMENSIONS)
    return "model", [Problem("by", f"Costs cannot be grouped by “{name[:40]}”. Choose one of: {choices}.")]


def _figures(request: MemberRequest, organization: Organization, query: LogQuery, dimension: str) -> dict[str, Any]:
    found = queries.by(organization_id=organization.pk, query=query, dimension=dimension)
    names = _names(organization, dimension)
    named = [row.value for row in found.rows[: charts.SERIES] if row.cost_nanousd]
    points = queries.course(organization_id=organization.pk, query=query, dimension=dimension, named=named)
    over_time = charts.stack(
        ((point.started_at, point.value, point.cost_nanousd) for point in points),
        buckets=query.range.buckets(),
        bucket_seconds=query.range.bucket_seconds,
        names={value: _name(value, names) for value in named},
    )
    can_see_requests = roles.grants(request.membership.role, roles.VIEW_REQUESTS)
    return {
        "costs": found,
        "rows": [
            NamedRow(
                row,
                _name(row.value, names),
                _rows_url(organization, query, dimension, row.value) if can_see_requests else "",
            )
            for row in found.rows
        ],
        "over_time": over_time,
        "shares": charts.bars(_shares(found, names)),
        "csv_url": reverse("costs_csv", args=[organization.slug]) + log_page.link(query, {"by": dimension}),
        "rows_url": reverse("requests", args=[organization.slug]) if can_see_requests else "",
        "has_simulated": found.total.simulated_cost_nanousd > 0,
        "has_saved": found.total.baselined_calls > 0,
    }


def _shares(found: Costs, names: Mapping[str, str]) -> list[tuple[str, int]]:
    rows = [(_name(row.value, names), row.cost_nanousd) for row in found.rows if row.cost_nanousd]
    shown, rest = rows[:_BARS], rows[_BARS:]
    left = sum(cost for _, cost in rest) + (found.rest.cost_nanousd if found.rest else 0)
    return [*shown, (charts.OTHER, left)] if left else shown


def _names(organization: Organization, dimension: str) -> Mapping[str, str]:
    if dimension == "key":
        return log_page.key_names(organization)
    if dimension == "workspace":
        return log_page.workspace_names(organization)
    return {}


def _name(value: str, names: Mapping[str, str]) -> str:
    return names.get(value, value) or log_query.NONE


def _rows_url(organization: Organization, query: LogQuery, dimension: str, value: str) -> str:
    narrowed = query.changed(**{dimension: value or log_query.NONE})
    return reverse("requests", args=[organization.slug]) + log_page.link(narrowed)


def _csv_row(name: str, row: CostRow) -> tuple[csv.Cell, ...]:
    has_baseline = row.baselined_calls > 0
    return (
        name,
        row.calls,
        row.errors,
        row.unpriced,
        row.input_tokens,
        row.cached_read_tokens,
        row.cache_write_tokens,
        row.output_tokens,
        money.decimal(row.cost_nanousd),
        money.decimal(row.simulated_cost_nanousd),
        money.decimal(row.estimated_cost_nanousd),
        money.decimal(row.billed_nanousd),
        money.decimal(row.baseline_nanousd) if has_baseline else None,
        money.decimal(row.saved_nanousd) if has_baseline else None,
    )
