"""The provider health page: how each endpoint does now, how the last day went, and what went out of service."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import access, roles
from accounts.models import Organization
from analytics.exports import csv
from analytics.queries import StoreError, providers
from analytics.queries.providers import Step
from analytics.views import log_page
from gateway.health import journal

_TEMPLATE = "gateway/health.html"
_STEP_S = 900
_STEPS = 96
_CHANGES_SHOWN = 50
CSV_COLUMNS = ("provider", "from", "calls", "faults", "rescued", "p95_ms")


@dataclass(frozen=True, slots=True)
class Cell:
    """A quarter of an hour of one provider. `tone`: good, warning, bad, or empty where nothing was called."""

    place: int
    tone: str
    words: str

    @property
    def x(self) -> int:
        return self.place * 4

    @property
    def height(self) -> int:
        """Full where calls failed, lower where none did, a line where none went out: it reads without colour too."""
        return {"": 2, "good": 12, "warning": 18}.get(self.tone, 24)

    @property
    def y(self) -> int:
        return 24 - self.height


@dataclass(frozen=True, slots=True)
class ProviderDay:
    """The last 24 hours of one provider."""

    provider: str
    calls: int
    faults: int
    rescued: int
    worst_p95_us: float | None
    cells: tuple[Cell, ...]


@require_safe
@access.organization_view(roles.VIEW_REQUESTS)
def provider_health(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Show the state of the moment, the last day, and the changes in it."""
    now = timezone.now()
    start_at, end_at = _day(now)
    told_at, endpoints = journal.picture()
    context: dict[str, Any] = {
        "organization": organization,
        "told_at": told_at,
        "endpoints": endpoints,
        "changes": journal.changes_since(now - dt.timedelta(days=1), most=_CHANGES_SHOWN),
        "start_at": start_at,
        "end_at": end_at,
    }
    try:
        steps = providers.course(
            organization_id=organization.pk, start_at=start_at, end_at=end_at, step_seconds=_STEP_S
        )
    except StoreError as error:
        return log_page.broken(request, _TEMPLATE, context, error)
    return render(request, _TEMPLATE, context | {"days": _days(steps, start_at)})


@require_safe
@access.organization_view(roles.VIEW_REQUESTS)
def provider_health_csv(request: access.MemberRequest, organization: Organization) -> HttpResponseBase:
    """Download the last day's steps."""
    start_at, end_at = _day(timezone.now())
    try:
        steps = providers.course(
            organization_id=organization.pk, start_at=start_at, end_at=end_at, step_seconds=_STEP_S
        )
    except StoreError:
        return HttpResponse("The log store does not answer now. Try again in a moment.", "text/plain", status=503)
    rows = [
        (
            step.provider,
            step.started_at.isoformat(),
            step.calls,
            step.faults,
            step.rescued,
            None if step.p95_us is None else round(step.p95_us / 1000, 1),
        )
        for step in steps
    ]
    return csv.respond(
        request,
        filename=f"provider-health-{organization.slug}-{end_at:%Y-%m-%d}.csv",
        header=CSV_COLUMNS,
        blocks=[rows],
    )


def _day(now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """Return the last 96 quarters of an hour, the present one included."""
    end = (int(now.timestamp()) // _STEP_S + 1) * _STEP_S
    return dt.datetime.fromtimestamp(end - _STEPS * _STEP_S, dt.UTC), dt.datetime.fromtimestamp(end, dt.UTC)


def _days(steps: Iterable[Step], start_at: dt.datetime) -> list[ProviderDay]:
    by_provider: dict[str, dict[int, Step]] = {}
    for step in steps:
        place = int((step.started_at - start_at).total_seconds()) // _STEP_S
        by_provider.setdefault(step.provider, {})[place] = step
    return [_day_of(provider, found, start_at) for provider, found in sorted(by_provider.items())]


def _day_of(provider: str, found: dict[int, Step], start_at: dt.datetime) -> ProviderDay:
    slowest = [step.p95_us for step in found.values() if step.p95_us is not None]
    return ProviderDay(
        provider=provider,
        calls=sum(step.calls for step in found.values()),
        faults=sum(step.faults for step in found.values()),
        rescued=sum(step.rescued for step in found.values()),
        worst_p95_us=max(slowest) if slowest else None,
        cells=tuple(
            _cell(place, found.get(place), start_at + dt.timedelta(seconds=place * _STEP_S)) for place in range(_STEPS)
        ),
    )


def _cell(place: int, step: Step | None, at: dt.datetime) -> Cell:
    if step is None:
        return Cell(place, "", f"{at:%H:%M}: no calls")
    ratio = step.faults / step.calls
    tone = "good" if not step.faults else "warning" if ratio < 0.1 else "bad"
    slow = "" if step.p95_us is None else f", p95 {step.p95_us / 1e6:.1f} s"
    return Cell(place, tone, f"{at:%H:%M}: {step.faults} of {step.calls} failed{slow}")
