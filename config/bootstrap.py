"""The first owner of an installation: an account, an organization, keys, and a link to sign in by.

It touches the control database only, so it works beside a running server. It stands here because
which key works at once depends on the providers that are configured.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import transaction
from django.urls import reverse

from accounts import api_keys, audit, organizations, sign_in_links, users
from accounts.models import ApiKey, Membership, Organization, User
from gateway.providers import registry


@dataclass(frozen=True, slots=True)
class FirstOwner:
    """What the operator hands on. Keys are known only in the run that made them."""

    organization: str
    organization_slug: str
    owner_email: str
    sign_in_link: str = field(repr=False)
    test_api_key: str | None = field(repr=False)
    live_api_key: str | None = field(repr=False)
    has_provider: bool

    @property
    def api_key(self) -> str | None:
        """The key that gets an answer now: without a provider only the simulator gives one."""
        return self.live_api_key if self.has_provider else self.test_api_key


def prepare(
    *,
    organization_name: str,
    email: str,
    makes_new_keys: bool,
    base_url: str,
    provider_settings: Mapping[str, str],
    now: dt.datetime,
) -> FirstOwner:
    """Make what is missing of owner, organization and keys, and a new sign-in link in any case.

    The organization is found again by its name among those that the person owns. Keys are made
    when it has none yet, or when asked for; older ones keep working.

    Raises:
        users.InvalidEmail, organizations.InvalidOrganization, registry.ProviderMisconfigured
    """
    has_provider = bool(registry.build(provider_settings).names())
    with transaction.atomic():
        owner = users.find_or_create(email=email)
        organization = _find(owner, organization_name) or organizations.create(
            name=organization_name, owner=owner, actor=audit.SYSTEM, now=now
        )
        has_keys = ApiKey.objects.for_organization(organization.pk).exists()
        test_key, live_key = _make_keys(organization, owner, now) if makes_new_keys or not has_keys else (None, None)
        token = sign_in_links.create(user=owner, now=now)
    return FirstOwner(
        organization=organization.name,
        organization_slug=organization.slug,
        owner_email=owner.email,
        sign_in_link=base_url + reverse("sign_in_link", args=[token]),
        test_api_key=test_key,
        live_api_key=live_key,
        has_provider=has_provider,
    )


def _find(owner: User, name: str) -> Organization | None:
    owned = Membership.objects.filter(user=owner, role=Membership.Role.OWNER).select_related("organization")
    found = owned.filter(organization__name=" ".join(name.split())).order_by("created_at", "pk").first()
    return found.organization if found else None


def _make_keys(organization: Organization, owner: User, now: dt.datetime) -> tuple[str, str]:
    workspace = organization.workspaces.order_by("created_at", "pk").first()
    if workspace is None:
        raise organizations.InvalidOrganization(f"{organization.name} has no workspace. Make one in its settings.")
    test = api_keys.create(
        workspace=workspace, name="First test key", mode="test", created_by=owner, actor=audit.SYSTEM, now=now
    )
    live = api_keys.create(
        workspace=workspace, name="First live key", mode="live", created_by=owner, actor=audit.SYSTEM, now=now
    )
    return test.key, live.key
