"""The provider keys page: list, add, change, replace, test, switch and delete. A key is never shown again."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from accounts import access, provider_credentials, roles
from accounts.models import Organization, ProviderCredential
from accounts.provider_credentials import InvalidCredential
from gateway import connections
from gateway.providers import quirks
from gateway.views.provider_key_forms import ProviderKeyChangeForm, ProviderKeyForm


@dataclass(frozen=True, slots=True)
class ProviderKeyRow:
    """A provider key as the list shows it, and the form over it."""

    credential: ProviderCredential
    title: str  # the provider's
    form: ProviderKeyChangeForm


@require_GET
@access.organization_view(roles.MANAGE_PROVIDER_KEYS)
def provider_keys(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """List the organization's provider keys in the order of their use, and offer to add one."""
    return _page(request, organization)


@sensitive_variables("form")
@sensitive_post_parameters("secret")
@require_POST
@access.organization_view(roles.MANAGE_PROVIDER_KEYS)
def provider_key_create(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Add a provider key."""
    form = ProviderKeyForm(request.POST, organization=organization)
    if not form.is_valid():
        return _page(request, organization, form=form, status=400)
    given = form.cleaned_data
    try:
        credential = provider_credentials.create(
            organization=organization,
            workspace=given["workspace"],
            provider=given["provider"],
            label=given["label"],
            secret=given["secret"],
            base_url=given["base_url"],
            model_names=form.models(),
            order=given["order"],
            weight=given["weight"],
            allows_managed_fallback=given["allows_managed_fallback"],
            created_by=request.user,
            actor=access.actor(request),
            now=timezone.now(),
        )
    except InvalidCredential as error:
        form.refuse(error)
        return _page(request, organization, form=form, status=400)
    messages.success(request, f"“{credential.label}” is stored. Calls use it within two seconds. Test it below.")
    return redirect("provider_keys", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_PROVIDER_KEYS)
def provider_key_change(request: access.MemberRequest, organization: Organization, credential_id: str) -> HttpResponse:
    """Change a key's label, address, models, order, weight or fallback."""
    credential = _found(organization, credential_id)
    form = ProviderKeyChangeForm(request.POST, prefix=credential.pk)
    if not form.is_valid():
        return _page(request, organization, changed=(credential, form), status=400)
    given = form.cleaned_data
    try:
        current = provider_credentials.change(
            credential=credential,
            label=given["label"],
            base_url=given["base_url"],
            model_names=form.models(),
            order=given["order"],
            weight=given["weight"],
            allows_managed_fallback=given["allows_managed_fallback"],
            actor=access.actor(request),
            now=timezone.now(),
        )
    except InvalidCredential as error:
        form.refuse(error)
        return _page(request, organization, changed=(credential, form), status=400)
    if credential.has_secret and not current.has_secret:
        messages.warning(
            request,
            f"The address of “{current.label}” changed, so its key was cleared. Give the key for the new address.",
        )
    else:
        messages.success(request, f"“{current.label}” is changed. Calls follow within two seconds.")
    return redirect("provider_keys", organization.slug)


@sensitive_post_parameters("secret")
@require_POST
@access.organization_view(roles.MANAGE_PROVIDER_KEYS)
def provider_key_replace(request: access.MemberRequest, organization: Organization, credential_id: str) -> HttpResponse:
    """Put a new key in the place of the old one."""
    credential = _found(organization, credential_id)
    try:
        provider_credentials.replace_secret(
            credential=credential,
            secret=request.POST.get("secret", ""),
            actor=access.actor(request),
            now=timezone.now(),
        )
    except InvalidCredential as error:
        messages.error(request, f"“{credential.label}” keeps its key. {error}")
        return _page(request, organization, status=400)
    messages.success(request, f"The key of “{credential.label}” is replaced; nothing is left of the old one.")
    return redirect("provider_keys", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_PROVIDER_KEYS)
def provider_key_test(request: access.MemberRequest, organization: Organization, credential_id: str) -> HttpResponse:
    """Try a key at its provider and keep what came out."""
    credential = _found(organization, credential_id)
    outcome = connections.probe(credential)
    provider_credentials.note_test(
        credential=credential,
        result=outcome.result,
        message=outcome.message,
        actor=access.actor(request),
        now=timezone.now(),
    )
    tell = messages.success if outcome.has_passed else messages.error
    tell(request, f"“{credential.label}”: {outcome.message}")
    return redirect("provider_keys", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_PROVIDER_KEYS)
def provider_key_switch(request: access.MemberRequest, organization: Organization, credential_id: str) -> HttpResponse:
    """Let calls use a key, or stop that: `is_enabled` is 1 or 0."""
    credential = _found(organization, credential_id)
    wanted = request.POST.get("is_enabled")
    if wanted not in {"0", "1"}:
        messages.error(request, "Choose whether the key should be used.")
        return _page(request, organization, status=400)
    provider_credentials.switch(
        credential=credential, is_enabled=wanted == "1", actor=access.actor(request), now=timezone.now()
    )
    messages.success(
        request, f"“{credential.label}” is {'in use' if wanted == '1' else 'out of use'} within two seconds."
    )
    return redirect("provider_keys", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_PROVIDER_KEYS)
def provider_key_delete(request: access.MemberRequest, organization: Organization, credential_id: str) -> HttpResponse:
    """Delete a key with its secret."""
    credential = _found(organization, credential_id)
    provider_credentials.delete(credential=credential, actor=access.actor(request), now=timezone.now())
    messages.success(request, f"“{credential.label}” is deleted.")
    return redirect("provider_keys", organization.slug)


def _found(organization: Organization, credential_id: str) -> ProviderCredential:
    return get_object_or_404(ProviderCredential.objects.for_organization(organization.pk), pk=credential_id)


def _page(
    request: access.MemberRequest,
    organization: Organization,
    *,
    form: ProviderKeyForm | None = None,
    changed: tuple[ProviderCredential, ProviderKeyChangeForm] | None = None,
    status: int = 200,
) -> HttpResponse:
    listed = ProviderCredential.objects.for_organization(organization.pk).select_related("workspace", "created_by")
    context = {
        "rows": [
            ProviderKeyRow(
                credential=credential,
                title=row.title if (row := quirks.known(credential.provider)) else credential.provider,
                form=ProviderKeyChangeForm.of(credential),
            )
            for credential in listed.in_order_of_use()
        ],
        "form": form or ProviderKeyForm(organization=organization),
        "refused": changed,
    }
    return render(request, "gateway/provider_keys.html", context, status=status)
