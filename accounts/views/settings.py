"""The settings page: the organization's name, its workspaces, what each of them stores; the end of a demo."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts import access, organizations, roles, workspaces
from accounts.forms import ContentForm, OrganizationForm, TimeZoneForm, WorkspaceForm
from accounts.models import Organization, Workspace


@dataclass(frozen=True, slots=True)
class WorkspaceSection:
    """A workspace with its two forms."""

    workspace: Workspace
    name_form: WorkspaceForm
    content_form: ContentForm


@require_GET
@access.organization_view(roles.MANAGE_ORGANIZATION)
def settings(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Show the organization's name and its workspaces."""
    return _page(request, organization)


@require_POST
@access.organization_view(roles.MANAGE_ORGANIZATION)
def organization_rename(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Change the organization's name."""
    form = OrganizationForm(request.POST)
    if form.is_valid():
        try:
            organizations.rename(
                organization=organization,
                name=form.cleaned_data["name"],
                actor=access.actor(request),
                now=timezone.now(),
            )
        except organizations.InvalidOrganization as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, "The name is changed. Links keep the old one.")
            return redirect("settings", organization.slug)
    return _page(request, organization, organization_form=form, status=400)


@require_POST
@access.organization_view(roles.MANAGE_ORGANIZATION)
def organization_time_zone(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Choose where the organization's days begin."""
    form = TimeZoneForm(request.POST)
    if not form.is_valid():
        return _page(request, organization, time_zone_form=form, status=400)
    organizations.set_time_zone(
        organization=organization,
        time_zone=form.cleaned_data["time_zone"],
        actor=access.actor(request),
        now=timezone.now(),
    )
    messages.success(request, f"Budgets reset at midnight in {organization.time_zone}.")
    return redirect("settings", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_ORGANIZATION)
def workspace_create(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Make a further workspace."""
    form = WorkspaceForm(request.POST)
    if form.is_valid():
        try:
            workspace = workspaces.create(
                organization=organization,
                name=form.cleaned_data["name"],
                actor=access.actor(request),
                now=timezone.now(),
            )
        except workspaces.InvalidWorkspace as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, f"The workspace {workspace.name} is ready. It stores no prompts or answers.")
            return redirect("settings", organization.slug)
    return _page(request, organization, new_workspace_form=form, status=400)


@require_POST
@access.organization_view(roles.MANAGE_ORGANIZATION)
def workspace_rename(request: access.MemberRequest, organization: Organization, workspace_id: str) -> HttpResponse:
    """Change a workspace's name."""
    workspace = _workspace(organization, workspace_id)
    form = WorkspaceForm(request.POST, prefix=workspace.pk)
    if form.is_valid():
        try:
            workspaces.rename(
                workspace=workspace,
                name=form.cleaned_data["name"],
                actor=access.actor(request),
                now=timezone.now(),
            )
        except workspaces.InvalidWorkspace as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, f"The workspace is now called {workspace.name}.")
            return redirect("settings", organization.slug)
    return _page(request, organization, edited=workspace, name_form=form, status=400)


@require_POST
@access.organization_view(roles.MANAGE_ORGANIZATION)
def workspace_content(request: access.MemberRequest, organization: Organization, workspace_id: str) -> HttpResponse:
    """Choose whether, how much and how long a workspace stores of prompts and answers."""
    workspace = _workspace(organization, workspace_id)
    form = ContentForm(request.POST, prefix=workspace.pk)
    if form.is_valid():
        try:
            workspaces.set_content_storage(
                workspace=workspace,
                stores_content=form.cleaned_data["stores_content"],
                cap_bytes=form.cap_bytes(),
                retention_days=form.cleaned_data["retention_days"],
                actor=access.actor(request),
                now=timezone.now(),
            )
        except workspaces.InvalidWorkspace as error:
            form.add_error(None, str(error))
        else:
            stored = "stores prompts and answers from now on" if workspace.stores_content else "stores none of them"
            messages.success(request, f"{workspace.name} {stored}.")
            return redirect("settings", organization.slug)
    return _page(request, organization, edited=workspace, content_form=form, status=400)


@require_POST
@access.organization_view(roles.MANAGE_ORGANIZATION)
def organization_remove(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Remove a demo; other organizations have no such page."""
    name = organization.name
    try:
        organizations.remove_demo(organization=organization, actor=access.actor(request), now=timezone.now())
    except organizations.NotADemo as error:
        raise Http404("Only a demo is removed here.") from error
    messages.success(request, f"{name} is removed.")
    return redirect("home")


def _workspace(organization: Organization, workspace_id: str) -> Workspace:
    return get_object_or_404(Workspace.objects.for_organization(organization.pk), pk=workspace_id)


def _page(
    request: access.MemberRequest,
    organization: Organization,
    *,
    organization_form: OrganizationForm | None = None,
    time_zone_form: TimeZoneForm | None = None,
    new_workspace_form: WorkspaceForm | None = None,
    edited: Workspace | None = None,
    name_form: WorkspaceForm | None = None,
    content_form: ContentForm | None = None,
    status: int = 200,
) -> HttpResponse:
    listed = Workspace.objects.for_organization(organization.pk).order_by("created_at", "pk")
    sections = [
        WorkspaceSection(
            workspace=workspace,
            name_form=(name_form if workspace == edited else None) or WorkspaceForm.of(workspace),
            content_form=(content_form if workspace == edited else None) or ContentForm.of(workspace),
        )
        for workspace in listed
    ]
    context = {
        "organization_form": organization_form or OrganizationForm(initial={"name": organization.name}),
        "time_zone_form": time_zone_form or TimeZoneForm(initial={"time_zone": organization.time_zone}),
        "new_workspace_form": new_workspace_form or WorkspaceForm(),
        "sections": sections,
    }
    return render(request, "accounts/settings.html", context, status=status)
