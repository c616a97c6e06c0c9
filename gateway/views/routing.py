"""The routing page: what `auto` means in each workspace, its versions, and back to an old one."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts import access, roles
from accounts.models import Organization, Workspace
from analytics.models import Experiment
from gateway import policies
from gateway.catalog import loader
from gateway.catalog.models import CHAT, Catalog
from gateway.models import RoutingPolicy
from gateway.views.forms import PolicyForm

_VERSIONS_SHOWN = 10
# Suggestions for the browser: the first three are what the gateway itself finds, the rest what clients often name.
TASK_TYPES = (
    "general",
    "tool_calling",
    "structured_output",
    "chat",
    "code",
    "extraction",
    "classification",
    "summarization",
)


@dataclass(frozen=True, slots=True)
class WorkspaceCard:
    """A workspace with its policy in force, the form over it, and its versions, newest first."""

    workspace: Workspace
    policy: RoutingPolicy | None
    form: PolicyForm
    versions: tuple[RoutingPolicy, ...]
    experiments: tuple[Experiment, ...]


@functools.cache
def catalog() -> Catalog:
    """Return the catalog, read once a process."""
    return loader.load_catalog()


@require_GET
@access.organization_view(roles.VIEW_REQUESTS)
def routing(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Show every workspace's policy; who may change routing gets the forms."""
    return _page(request, organization)


@require_POST
@access.organization_view(roles.MANAGE_ROUTING)
def save(request: access.MemberRequest, organization: Organization, workspace_id: str) -> HttpResponse:
    """Put a new version in force."""
    workspace = get_object_or_404(Workspace, organization=organization, pk=workspace_id)
    form = PolicyForm(request.POST)
    if not form.is_valid():
        return _page(request, organization, refused=(workspace, form))
    before = policies.current(workspace=workspace)
    try:
        policy = policies.replace(
            workspace=workspace,
            content=form.content(),
            catalog=catalog(),
            changed_by=request.user,
            actor=access.actor(request),
            now=timezone.now(),
        )
    except policies.InvalidPolicy as error:
        form.refuse(error)
        return _page(request, organization, refused=(workspace, form))
    if policy == before:
        messages.info(request, "Nothing changed: that is the policy in force.")
    else:
        messages.success(request, f"The new policy of {workspace.name} is in force within two seconds.")
    return redirect("routing", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_ROUTING)
def roll_back(
    request: access.MemberRequest, organization: Organization, workspace_id: str, number: int
) -> HttpResponse:
    """Put an old version's content in force as a new version."""
    workspace = get_object_or_404(Workspace, organization=organization, pk=workspace_id)
    get_object_or_404(RoutingPolicy, workspace=workspace, number=number)
    try:
        policies.roll_back(
            workspace=workspace,
            number=number,
            catalog=catalog(),
            changed_by=request.user,
            actor=access.actor(request),
            now=timezone.now(),
        )
    except policies.InvalidPolicy as error:
        messages.error(request, f"Version {number} cannot come back. {error}")
    else:
        messages.success(request, f"Version {number} of {workspace.name} is in force again.")
    return redirect("routing", organization.slug)


def _page(
    request: access.MemberRequest,
    organization: Organization,
    *,
    refused: tuple[Workspace, PolicyForm] | None = None,
) -> HttpResponse:
    context = {
        "cards": [
            _card(workspace, refused[1] if refused and refused[0] == workspace else None)
            for workspace in Workspace.objects.filter(organization=organization).order_by("created_at")
        ],
        "can_manage": roles.grants(request.membership.role, roles.MANAGE_ROUTING),
        "cheapest": policies.CHEAPEST,
        "models": sorted(model.id for model in catalog().of_kind(CHAT)),
        "task_types": TASK_TYPES,
        "has_providers": bool(settings.PROVIDER_SETTINGS),
    }
    return render(request, "gateway/routing.html", context, status=400 if refused else 200)


def _card(workspace: Workspace, form: PolicyForm | None) -> WorkspaceCard:
    versions = tuple(
        RoutingPolicy.objects.filter(workspace=workspace)
        .select_related("created_by")
        .order_by("-number")[:_VERSIONS_SHOWN]
    )
    policy = versions[0] if versions else None
    running = Experiment.objects.filter(workspace=workspace, state=Experiment.State.RUNNING).order_by("started_at")
    return WorkspaceCard(
        workspace=workspace,
        policy=policy,
        form=form or PolicyForm(content=policies.content_of(policy)),
        versions=versions,
        experiments=tuple(running),
    )
