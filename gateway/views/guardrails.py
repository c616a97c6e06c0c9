"""The guardrails page: what each workspace lets pass to providers, and what it takes out of what it stores."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts import access, roles
from accounts.models import Organization, Workspace
from gateway import guardrail_policies
from gateway.guardrail_policies import Content
from gateway.guardrails import DETECTORS
from gateway.views.forms import GuardrailForm


@dataclass(frozen=True, slots=True)
class WorkspaceCard:
    """A workspace with its guardrails and the form over them."""

    workspace: Workspace
    content: Content
    form: GuardrailForm

    @property
    def redacted_titles(self) -> list[str]:
        return [DETECTORS[name].title for name in self.content.redacted]

    @property
    def blocked_titles(self) -> list[str]:
        return [DETECTORS[name].title for name in self.content.blocked]


@require_GET
@access.organization_view(roles.VIEW_REQUESTS)
def guardrails(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Show every workspace's guardrails; who may change routing gets the forms."""
    return _page(request, organization)


@require_POST
@access.organization_view(roles.MANAGE_ROUTING)
def save(request: access.MemberRequest, organization: Organization, workspace_id: str) -> HttpResponse:
    """Put other guardrails in force."""
    workspace = get_object_or_404(Workspace, organization=organization, pk=workspace_id)
    form = GuardrailForm(request.POST, prefix=workspace.pk)
    if not form.is_valid():
        return _page(request, organization, refused=(workspace, form))
    try:
        guardrail_policies.replace(
            workspace=workspace,
            content=form.content(),
            changed_by=request.user,
            actor=access.actor(request),
            now=timezone.now(),
        )
    except guardrail_policies.InvalidGuardrails as error:
        for field, problem in error.problems.items():
            form.add_error(field, problem)
        return _page(request, organization, refused=(workspace, form))
    messages.success(request, f"The guardrails of {workspace.name} are in force within two seconds.")
    return redirect("guardrails", organization.slug)


def _page(
    request: access.MemberRequest,
    organization: Organization,
    *,
    refused: tuple[Workspace, GuardrailForm] | None = None,
) -> HttpResponse:
    context = {
        "cards": [
            _card(workspace, refused[1] if refused and refused[0] == workspace else None)
            for workspace in Workspace.objects.filter(organization=organization).order_by("created_at")
        ],
        "can_manage": roles.grants(request.membership.role, roles.MANAGE_ROUTING),
    }
    return render(request, "gateway/guardrails.html", context, status=400 if refused else 200)


def _card(workspace: Workspace, form: GuardrailForm | None) -> WorkspaceCard:
    content = guardrail_policies.current(workspace=workspace)
    return WorkspaceCard(workspace, content, form or GuardrailForm(prefix=workspace.pk, holds=content))
