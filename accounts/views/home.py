"""The front door: where `/` leads, and making a further organization."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from accounts import access, organizations
from accounts.forms import OrganizationForm
from accounts.models import Organization


@require_GET
@login_required
def home(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the overview of the organization opened last, or to a form for the first one."""
    membership = access.current_membership(request)
    if membership is None:
        return redirect("organization_new")
    return redirect("overview", membership.organization.slug)


@require_GET
@access.organization_view(None)
def organization_home(request: access.MemberRequest, organization: Organization) -> HttpResponseRedirect:
    """Lead from the bare address of an organization to its overview."""
    return redirect("overview", organization.slug)


@require_http_methods(["GET", "POST"])
@login_required
def organization_new(request: HttpRequest) -> HttpResponse:
    """Make an organization that the user owns."""
    if request.method == "GET":
        return render(request, "accounts/organization_new.html", {"form": OrganizationForm()})
    form = OrganizationForm(request.POST)
    if form.is_valid():
        actor = access.actor(request)
        try:
            organization = organizations.create(
                name=form.cleaned_data["name"], owner=access.person(request), actor=actor, now=timezone.now()
            )
        except organizations.InvalidOrganization as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, f"{organization.name} is ready.")
            return redirect("overview", organization.slug)
    return render(request, "accounts/organization_new.html", {"form": form}, status=400)
