"""The webhooks page: endpoints with their events, and what became of the last deliveries.

A secret is shown once, in the answer that made it.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts import access, roles, webhooks
from accounts.models import Organization, WebhookDelivery, WebhookEndpoint
from accounts.webhook_forms import WebhookForm

_DELIVERIES_SHOWN = 50


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """An endpoint as the page shows it."""

    endpoint: WebhookEndpoint
    events: tuple[str, ...]
    form: WebhookForm


@require_GET
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def listing(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """List the endpoints and their last deliveries."""
    return _page(request, organization)


@never_cache
@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def add(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Add an endpoint and show its secret. No redirect: a redirect would have to keep the secret somewhere."""
    form = WebhookForm(request.POST)
    if form.is_valid():
        try:
            new = webhooks.add(
                organization=organization,
                url=form.cleaned_data["url"],
                event_types=form.cleaned_data["event_types"],
                actor=access.actor(request),
                now=timezone.now(),
            )
        except webhooks.InvalidWebhook as error:
            form.add_error(None, str(error))
        else:
            return _page(request, organization, new_secret=new)
    return _page(request, organization, form=form, status=400)


@never_cache
@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def change(request: access.MemberRequest, organization: Organization, endpoint_id: str) -> HttpResponse:
    """Change where an endpoint's events go, and which."""
    endpoint = _endpoint(organization, endpoint_id)
    form = WebhookForm(request.POST, prefix=endpoint.pk)
    if form.is_valid():
        try:
            webhooks.change(
                endpoint=endpoint,
                url=form.cleaned_data["url"],
                event_types=form.cleaned_data["event_types"],
                actor=access.actor(request),
                now=timezone.now(),
            )
        except webhooks.InvalidWebhook as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "The webhook is changed.")
            return redirect("webhooks", organization.slug)
    return _page(request, organization, changed=form, status=400)


@never_cache
@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def rotate(request: access.MemberRequest, organization: Organization, endpoint_id: str) -> HttpResponse:
    """Give an endpoint a new secret and show it."""
    new = webhooks.rotate(
        endpoint=_endpoint(organization, endpoint_id), actor=access.actor(request), now=timezone.now()
    )
    return _page(request, organization, new_secret=new)


@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def attempt(request: access.MemberRequest, organization: Organization, endpoint_id: str) -> HttpResponse:
    """Send a test event to an endpoint."""
    webhooks.attempt(endpoint=_endpoint(organization, endpoint_id), now=timezone.now())
    messages.success(request, "A test event is on its way. See below what becomes of it.")
    return redirect("webhooks", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def pause(request: access.MemberRequest, organization: Organization, endpoint_id: str) -> HttpResponse:
    """Stop sending to an endpoint, or go on."""
    endpoint = _endpoint(organization, endpoint_id)
    webhooks.pause(endpoint=endpoint, is_paused=endpoint.is_enabled, actor=access.actor(request), now=timezone.now())
    return redirect("webhooks", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def remove(request: access.MemberRequest, organization: Organization, endpoint_id: str) -> HttpResponse:
    """Remove an endpoint."""
    webhooks.remove(endpoint=_endpoint(organization, endpoint_id), actor=access.actor(request), now=timezone.now())
    messages.success(request, "The webhook is removed.")
    return redirect("webhooks", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_INTEGRATIONS)
def resend(request: access.MemberRequest, organization: Organization, delivery_id: str) -> HttpResponse:
    """Send a delivery again."""
    delivery = get_object_or_404(WebhookDelivery.objects.for_organization(organization.pk), pk=delivery_id)
    webhooks.resend(delivery=delivery, now=timezone.now())
    messages.success(request, "The event is sent again, with the same id.")
    return redirect("webhooks", organization.slug)


def _endpoint(organization: Organization, endpoint_id: str) -> WebhookEndpoint:
    return get_object_or_404(WebhookEndpoint.objects.for_organization(organization.pk), pk=endpoint_id)


def _page(
    request: access.MemberRequest,
    organization: Organization,
    *,
    form: WebhookForm | None = None,
    changed: WebhookForm | None = None,
    new_secret: webhooks.NewSecret | None = None,
    status: int = 200,
) -> HttpResponse:
    rows = [
        EndpointRow(
            endpoint=endpoint,
            events=tuple(webhooks.TYPES.get(name, name) for name in endpoint.event_types),
            form=changed if changed is not None and changed.prefix == endpoint.pk else WebhookForm.of(endpoint),
        )
        for endpoint in WebhookEndpoint.objects.for_organization(organization.pk).order_by("created_at", "pk")
    ]
    deliveries = (
        WebhookDelivery.objects.for_organization(organization.pk)
        .select_related("event", "endpoint")
        .order_by("-created_at", "-pk")[:_DELIVERIES_SHOWN]
    )
    context = {
        "rows": rows,
        "deliveries": deliveries,
        "form": form or WebhookForm(),
        "changed": changed,
        "new_secret": new_secret,
        "most": webhooks.MOST_ENDPOINTS,
        "is_full": len(rows) >= webhooks.MOST_ENDPOINTS,
    }
    return render(request, "accounts/webhooks.html", context, status=status)
