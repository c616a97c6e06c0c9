"""People, organizations, memberships and keys for tests, made by the same functions that the product uses."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass
from typing import Any

from allauth.account.models import EmailAddress
from django.utils import timezone

from accounts import api_keys, audit, memberships, organizations, provider_credentials, tokens, workspaces
from accounts.models import Membership, Organization, ProviderCredential, User, Workspace

PASSWORD = "correct horse battery staple"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who appears in the tests: Acme's five, and charlie, who owns another organization."""

    acme: Organization
    other: Organization
    alice: User  # owner of Acme
    adam: User  # admin
    bob: User  # developer
    finn: User  # finance
    victor: User  # viewer
    charlie: User  # owner of the other organization

    def member(self, role: str) -> User:
        """Return Acme's member with `role`."""
        return Membership.objects.select_related("user").get(organization=self.acme, role=role).user


def make_user(email: str | None = None, *, password: str | None = PASSWORD) -> User:
    """Make a person with a confirmed address."""
    user = User.objects.create_user(email or f"person{next(_numbers)}@example.com", password)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def make_organization(name: str | None = None, *, owner: User | None = None, is_demo: bool = False) -> Organization:
    """Make an organization with its owner and the workspace "Production"."""
    return organizations.create(
        name=name or f"Organization {next(_numbers)}",
        owner=owner or make_user(),
        is_demo=is_demo,
        actor=audit.SYSTEM,
        now=timezone.now(),
    )


def make_membership(organization: Organization, user: User | None = None, *, role: str = "viewer") -> Membership:
    """Make `user`, or somebody new, a member."""
    return memberships.add(
        organization=organization, user=user or make_user(), role=role, actor=audit.SYSTEM, now=timezone.now()
    )


def make_workspace(organization: Organization, name: str = "Staging") -> Workspace:
    """Make a further workspace."""
    return workspaces.create(organization=organization, name=name, actor=audit.SYSTEM, now=timezone.now())


def make_api_key(
    workspace: Workspace | Organization | None = None,
    *,
    name: str = "support bot",
    mode: tokens.Mode = "live",
    scopes: tuple[str, ...] = (),
    expires_at: dt.datetime | None = None,
    now: dt.datetime | None = None,
) -> api_keys.NewKey:
    """Make a key; an organization stands for its first workspace, nothing for a new organization."""
    if workspace is None:
        workspace = make_organization()
    if isinstance(workspace, Organization):
        workspace = workspace.workspaces.order_by("created_at").first() or make_workspace(workspace)
    return api_keys.create(
        workspace=workspace,
        name=name,
        mode=mode,
        scopes=scopes,
        expires_at=expires_at,
        actor=audit.SYSTEM,
        now=now or timezone.now(),
    )


def make_cast() -> Cast:
    """Make both organizations with all who belong to them."""
    alice, charlie = make_user("alice@acme.example"), make_user("charlie@other.example")
    acme = make_organization("Acme", owner=alice)
    people = {role: make_user(f"{name}@acme.example") for role, name in _ACME.items()}
    for role, person in people.items():
        make_membership(acme, person, role=role)
    return Cast(
        acme=acme,
        other=make_organization("Other", owner=charlie),
        alice=alice,
        adam=people["admin"],
        bob=people["developer"],
        finn=people["finance"],
        victor=people["viewer"],
        charlie=charlie,
    )


_ACME = {"admin": "adam", "developer": "bob", "finance": "finn", "viewer": "victor"}


def make_provider_credential(
    organization: Organization | None = None, *, label: str | None = None, **values: Any
) -> ProviderCredential:
    """Bring a provider key: OpenAI's for the whole organization, unless `values` say otherwise."""
    defaults: dict[str, Any] = {"workspace": None, "provider": "openai", "secret": "sk-provider-key-of-the-customer"}
    return provider_credentials.create(
        organization=organization or make_organization(),
        label=label or f"Key {next(_numbers)}",
        actor=audit.SYSTEM,
        now=timezone.now(),
        **{**defaults, **values},
    )
