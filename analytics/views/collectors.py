"""The integrations page: the organization's OpenTelemetry collectors; add, change, try, pause, remove."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.db.models import Count, Sum
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts import access, roles
from accounts.models import Organization
from analytics import collectors
from analytics.models import Collector
from analytics.views.collector_form import CollectorForm


@dataclass(frozen=True, slots=True)
class CollectorRow:
    """A collector as the page shows it. `waiting_records` have not been taken yet."""

    collector: Collector
    waiting_records: int
    form: CollectorForm

    @property
    def signals(self) -> str:
        names = [
            name
            for name, is_sent in (("traces", self.collector.sends_traces), ("metrics", self.collector.sends_metrics))
            if is_sent
        ]
        share = self.collector.sample_percent
        return " and ".join(names).capitalize() + (
            f", {share}% of traces" if self.collector.sends_traces and share < 100 else ""
        )


@require_GET
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def listing(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """List the collectors and what became of what was sent to them."""
    return _page(request, organization)


@never_cache
@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def add(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Add a collector."""
    form = CollectorForm(request.POST, organization=organization)
    if form.is_valid():
        try:
            collectors.add(
                organization=organization, choices=form.choices(), actor=access.actor(request), now=timezone.now()
            )
        except collectors.InvalidCollector as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "The collector is added. Calls from now on are sent to it.")
            return redirect("integrations", organization.slug)
    return _page(request, organization, form=form, status=400)


@never_cache
@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def change(request: access.MemberRequest, organization: Organization, collector_id: str) -> HttpResponse:
    """Change a collector."""
    collector = _collector(organization, collector_id)
    form = CollectorForm(request.POST, organization=organization, prefix=collector.pk)
    if form.is_valid():
        try:
            collectors.change(
                collector=collector, choices=form.choices(), actor=access.actor(request), now=timezone.now()
            )
        except collectors.InvalidCollector as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "The collector is changed.")
            return redirect("integrations", organization.slug)
    return _page(request, organization, changed=form, status=400)


@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def attempt(request: access.MemberRequest, organization: Organization, collector_id: str) -> HttpResponse:
    """Send a made-up call to a collector and say what it answered."""
    failure = collectors.attempt(collector=_collector(organization, collector_id), now=timezone.now())
    if failure:
        messages.error(request, f"The test did not arrive. {failure}")
    else:
        messages.success(request, "The collector took the test. Look for the span “chat connection-test”.")
    return redirect("integrations", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def pause(request: access.MemberRequest, organization: Organization, collector_id: str) -> HttpResponse:
    """Stop sending to a collector, or go on."""
    collector = _collector(organization, collector_id)
    collectors.pause(
        collector=collector, is_paused=collector.is_enabled, actor=access.actor(request), now=timezone.now()
    )
    return redirect("integrations", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def remove(request: access.MemberRequest, organization: Organization, collector_id: str) -> HttpResponse:
    """Remove a collector."""
    collectors.remove(collector=_collector(organization, collector_id), actor=access.actor(request), now=timezone.now())
    messages.success(request, "The collector is removed.")
    return redirect("integrations", organization.slug)


def _collector(organization: Organization, collector_id: str) -> Collector:
    return get_object_or_404(Collector.objects.for_organization(organization.pk), pk=collector_id)


def _page(
    request: access.MemberRequest,
    organization: Organization,
    *,
    form: CollectorForm | None = None,
    changed: CollectorForm | None = None,
    status: int = 200,
) -> HttpResponse:
    found = (
        Collector.objects.for_organization(organization.pk)
        .select_related("workspace")
        .annotate(waiting=Sum("batches__records"), batch_count=Count("batches"))
        .order_by("created_at", "pk")
    )
    rows = [
        CollectorRow(
            collector=collector,
            waiting_records=getattr(collector, "waiting", 0) or 0,
            form=changed
            if changed is not None and changed.prefix == collector.pk
            else CollectorForm.of(collector, organization),
        )
        for collector in found
    ]
    context = {
        "rows": rows,
        "form": form or CollectorForm(organization=organization),
        "changed": changed,
        "most": collectors.MOST_COLLECTORS,
        "is_full": len(rows) >= collectors.MOST_COLLECTORS,
    }
    return render(request, "analytics/integrations.html", context, status=status)
