"""The limits page: what is used of each, new ones, changes, and what was told."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import access, roles
from accounts.models import Organization
from gateway import limits
from gateway.models import Limit
from gateway.views.limit_forms import LimitForm, TermsForm


@require_GET
@access.organization_view(roles.VIEW_COSTS)
def overview(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """List the limits with what is used of them; who may manage keys may make some."""
    return _page(request, organization)


@require_POST
@access.organization_view(roles.MANAGE_KEYS)
def create(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Make a limit."""
    form = LimitForm(request.POST, organization=organization)
    if form.is_valid():
        try:
            limit = limits.create(
                organization=organization,
                whom=form.chosen(),
                terms=form.terms(),
                created_by=request.user,
                actor=access.actor(request),
                now=timezone.now(),
            )
        except limits.InvalidLimit as error:
            form.refuse(error)
        else:
            messages.success(request, f"The limit “{limit.name}” holds within two seconds.")
            return redirect("limits", organization.slug)
    return _page(request, organization, form=form, status=400)


@require_http_methods(["GET", "HEAD", "POST"])
@access.organization_view(roles.MANAGE_KEYS)
def edit(request: access.MemberRequest, organization: Organization, limit_id: str) -> HttpResponse:
    """Show a limit's terms, and change them."""
    limit = get_object_or_404(Limit, organization=organization, pk=limit_id)
    form = TermsForm.of(limit)
    if request.method == "POST":
        form = TermsForm({**request.POST.dict(), "kind": limit.kind})
        if form.is_valid():
            try:
                limits.change(limit=limit, terms=form.terms(), actor=access.actor(request), now=timezone.now())
            except limits.InvalidLimit as error:
                form.refuse(error)
            else:
                messages.success(request, "The limit is changed; it holds within two seconds.")
                return redirect("limits", organization.slug)
    context = {
        "limit": limit,
        "form": form,
        "whom": limits.whom_in_words(limit, limits.names_of(organization)),
    }
    return render(request, "gateway/limit.html", context, status=400 if form.errors else 200)


@require_POST
@access.organization_view(roles.MANAGE_KEYS)
def remove(request: access.MemberRequest, organization: Organization, limit_id: str) -> HttpResponse:
    """Remove a limit."""
    limit = get_object_or_404(Limit, organization=organization, pk=limit_id)
    limits.remove(limit=limit, actor=access.actor(request), now=timezone.now())
    messages.success(request, f"The limit “{limit.name}” is removed.")
    return redirect("limits", organization.slug)


def _page(
    request: access.MemberRequest, organization: Organization, *, form: LimitForm | None = None, status: int = 200
) -> HttpResponse:
    context = {
        "burns": limits.burns(organization=organization, now=timezone.now()),
        "alerts": limits.alerts(organization=organization),
        "form": form or LimitForm(organization=organization),
        "can_manage": roles.grants(request.membership.role, roles.MANAGE_KEYS),
    }
    return render(request, "gateway/limits.html", context, status=status)
