"""The keys page: list, create, rotate and revoke. A key is shown once, in the answer that made it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts import access, api_keys, key_scopes, roles
from accounts.forms import GuardrailsForm, KeyForm, RotationForm
from accounts.models import ApiKey, Organization

_ORDER = {"active": 0, "replaced": 1, "disabled": 2, "expired": 3, "revoked": 4}


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as the list shows it."""

    api_key: ApiKey
    state: str
    scopes: tuple[str, ...]
    guardrails_form: GuardrailsForm

    @property
    def is_usable(self) -> bool:
        return self.state in {"active", "replaced", "disabled"}


@require_GET
@access.organization_view(roles.MANAGE_KEYS)
def keys(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """List the organization's keys, usable ones first, and offer to make one."""
    return _page(request, organization)


@never_cache
@require_POST
@access.organization_view(roles.MANAGE_KEYS)
def key_create(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Make a key and show it. No redirect: a redirect would have to keep the key somewhere."""
    form = KeyForm(request.POST, organization=organization)
    if form.is_valid():
        try:
            new = api_keys.create(
                workspace=form.cleaned_data["workspace"],
                name=form.cleaned_data["name"],
                mode=form.cleaned_data["mode"],
                scopes=form.cleaned_data["scopes"],
                expires_at=form.expires_at(),
                created_by=request.user,
                actor=access.actor(request),
                now=timezone.now(),
            )
        except api_keys.InvalidKey as error:
            form.add_error(None, str(error))
        else:
            return _page(request, organization, new_key=new)
    return _page(request, organization, form=form, status=400)


@never_cache
@require_POST
@access.organization_view(roles.MANAGE_KEYS)
def key_rotate(request: access.MemberRequest, organization: Organization, key_id: str) -> HttpResponse:
    """Replace a key and show the new one."""
    api_key = get_object_or_404(ApiKey.objects.for_organization(organization.pk), pk=key_id)
    form = RotationForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose how long the old key should work.")
        return _page(request, organization, status=400)
    try:
        new = api_keys.rotate(
            api_key=api_key,
            overlap=form.overlap(),
            created_by=request.user,
            actor=access.actor(request),
            now=timezone.now(),
        )
    except api_keys.InvalidKey as error:
        messages.error(request, str(error))
        return _page(request, organization, status=409)
    return _page(request, organization, new_key=new)


@require_POST
@access.organization_view(roles.MANAGE_KEYS)
def key_revoke(request: access.MemberRequest, organization: Organization, key_id: str) -> HttpResponse:
    """End a key."""
    api_key = get_object_or_404(ApiKey.objects.for_organization(organization.pk), pk=key_id)
    api_keys.revoke(api_key=api_key, actor=access.actor(request), now=timezone.now())
    messages.success(request, f"The key “{api_key.name}” is revoked. Programs that use it are refused within seconds.")
    return redirect("keys", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_KEYS)
def key_guardrails(request: access.MemberRequest, organization: Organization, key_id: str) -> HttpResponse:
    """Set what every call of a key is held to."""
    api_key = get_object_or_404(ApiKey.objects.for_organization(organization.pk), pk=key_id)
    form = GuardrailsForm(request.POST, prefix=api_key.pk)
    if not form.is_valid():
        problems = " ".join(str(problem) for field in form.errors.values() for problem in field)
        messages.error(request, f"The guardrails of “{api_key.name}” stay as they are. {problems}")
        return _page(request, organization, status=400)
    api_keys.set_guardrails(
        api_key=api_key,
        quality_floor=form.cleaned_data["quality_floor"],
        max_cost_per_request_nanousd=form.max_cost_nanousd(),
        has_plain_budget_errors=form.cleaned_data["has_plain_budget_errors"],
        actor=access.actor(request),
        now=timezone.now(),
    )
    messages.success(request, f"The guardrails of “{api_key.name}” hold within two seconds.")
    return redirect("keys", organization.slug)


def _page(
    request: access.MemberRequest,
    organization: Organization,
    *,
    form: KeyForm | None = None,
    new_key: api_keys.NewKey | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "rows": _rows(organization, now=timezone.now()),
        "form": form or KeyForm(organization=organization),
        "rotation_form": RotationForm(),
        "new_key": new_key,
    }
    return render(request, "accounts/keys.html", context, status=status)


def _rows(organization: Organization, *, now: dt.datetime) -> list[KeyRow]:
    listed = ApiKey.objects.for_organization(organization.pk).select_related("workspace", "created_by")
    rows = [
        KeyRow(
            api_key=api_key,
            state=api_key.state(now),
            scopes=tuple(key_scopes.DESCRIPTIONS.get(scope, scope) for scope in api_key.scopes),
            guardrails_form=GuardrailsForm.of(api_key),
        )
        for api_key in listed.order_by("-created_at", "pk")
    ]
    return sorted(rows, key=lambda row: _ORDER[row.state])
