"""Read the provider keys that customers brought: what the data plane holds of them, in the order of use.

Secrets are decrypted here and stay in memory only. How a call uses them is `gateway.credentials`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from accounts import provider_credentials
from accounts.encryption import KeyringError
from accounts.models import ProviderCredential, Workspace
from accounts.provider_credentials import InvalidCredential
from gateway.context import Credentials, CredentialSnapshot
from gateway.providers import quirks

logger = logging.getLogger(__name__)


def read(workspaces: Mapping[str, str]) -> dict[str, Credentials]:
    """Return the enabled keys of workspaces (id → organization's id); a workspace that has none is left out."""
    rows = ProviderCredential.objects.filter(organization_id__in=set(workspaces.values()), is_enabled=True)
    by_organization: dict[str, list[tuple[str | None, CredentialSnapshot]]] = {}
    for row in rows.order_by("order", "created_at", "pk"):
        by_organization.setdefault(row.organization_id, []).append((row.workspace_id, _held(row)))
    found: dict[str, Credentials] = {}
    for workspace_id, organization_id in workspaces.items():
        own = [
            held
            for of_workspace, held in by_organization.get(organization_id, ())
            if of_workspace in (None, workspace_id)
        ]
        if own:
            found[workspace_id] = _arranged(own)
    return found


def workspaces_changed_since(since: datetime) -> set[str]:
    """Return the ids of the workspaces whose calls may be served by keys that changed. A deleted key changed its
    organization."""
    changed = ProviderCredential.objects.filter(changed_at__gte=since).values_list("organization_id", flat=True)
    return set(Workspace.objects.filter(organization_id__in=set(changed)).values_list("id", flat=True))


def versions(organization_ids: Iterable[str]) -> dict[str, frozenset[tuple[str, datetime]]]:
    """Return what tells any change of an organization's enabled keys, whatever the clock said that wrote it."""
    found: dict[str, set[tuple[str, datetime]]] = {}
    wanted = sorted(organization_ids)
    for start in range(0, len(wanted), 500):
        rows = ProviderCredential.objects.filter(organization_id__in=wanted[start : start + 500], is_enabled=True)
        for organization_id, credential_id, changed_at in rows.values_list("organization_id", "id", "changed_at"):
            found.setdefault(organization_id, set()).add((credential_id, changed_at))
    return {organization_id: frozenset(pairs) for organization_id, pairs in found.items()}


def _held(row: ProviderCredential) -> CredentialSnapshot:
    secret, is_usable = "", True
    known = quirks.known(row.provider)
    try:
        secret = provider_credentials.open_secret(row)
    except InvalidCredential:
        is_usable = False
    except KeyringError as error:
        is_usable = False
        logger.error("A provider key cannot be decrypted: %s credential_id=%s", error, row.pk)
    return CredentialSnapshot(
        credential_id=row.pk,
        label=row.label,
        provider=known.provider if known else row.provider,
        api_key=secret,
        base_url=row.base_url,
        order=row.order,
        weight=row.weight,
        is_of_workspace=row.workspace_id is not None,
        is_usable=is_usable,
        allows_managed_fallback=row.allows_managed_fallback,
        models=tuple(row.model_names),
    )


def _arranged(own: Iterable[CredentialSnapshot]) -> Credentials:
    by_provider: dict[str, list[CredentialSnapshot]] = {}
    for held in sorted(own, key=lambda held: (not held.is_of_workspace, held.order)):
        by_provider.setdefault(held.provider, []).append(held)
    places = Counter((held.provider, held.is_of_workspace, held.order) for held in own)
    return Credentials(
        by_provider={provider: tuple(held) for provider, held in by_provider.items()},
        is_weighted=any(count > 1 for count in places.values()),
    )
