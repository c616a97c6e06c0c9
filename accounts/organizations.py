"""Organizations: make one with its owner and first workspace, rename it, and remove a demo."""

from __future__ import annotations

import datetime as dt
import zoneinfo

from django.db import IntegrityError, transaction

from accounts import audit, memberships, slugs, tokens, workspaces
from accounts.models import Membership, Organization, User

FIRST_WORKSPACE = "Production"
_SLUG_ATTEMPTS = 5


class InvalidOrganization(ValueError):
    """The name cannot be used; the message says what can."""


class NotADemo(Exception):
    """The organization holds real work and is not removed by a click."""


def create(*, name: str, owner: User, actor: audit.Actor, now: dt.datetime, is_demo: bool = False) -> Organization:
    """Make an organization with a unique slug, `owner` as its owner, and the workspace "Production".

    Raises:
        InvalidOrganization: no name.
    """
    name = clean_name(name)
    with transaction.atomic():
        organization = _insert(name=name, is_demo=is_demo)
        audit.record(
            organization_id=organization.pk,
            actor=actor,
            action="organization.create",
            target=organization,
            now=now,
            after={"name": name, "slug": organization.slug},
        )
        memberships.add(organization=organization, user=owner, role=Membership.Role.OWNER, actor=actor, now=now)
        workspaces.create(organization=organization, name=FIRST_WORKSPACE, actor=actor, now=now)
    return organization


def rename(*, organization: Organization, name: str, actor: audit.Actor, now: dt.datetime) -> None:
    """Change the name; the slug stays, because links carry it.

    Raises:
        InvalidOrganization: no name.
    """
    name = clean_name(name)
    if name == organization.name:
        return
    before, organization.name = organization.name, name
    with transaction.atomic():
        organization.save(update_fields=["name", "changed_at"])
        audit.record(
            organization_id=organization.pk,
            actor=actor,
            action="organization.rename",
            target=organization,
            now=now,
            before={"name": before},
            after={"name": name},
        )


def set_time_zone(*, organization: Organization, time_zone: str, actor: audit.Actor, now: dt.datetime) -> None:
    """Choose where the organization's days begin: budgets reset at midnight there.

    Raises:
        InvalidOrganization: it is no IANA name.
    """
    if time_zone not in zoneinfo.available_timezones():
        raise InvalidOrganization("Choose a time zone from the list.")
    if time_zone == organization.time_zone:
        return
    before, organization.time_zone = organization.time_zone, time_zone
    with transaction.atomic():
        organization.save(update_fields=["time_zone", "changed_at"])
        audit.record(
            organization_id=organization.pk,
            actor=actor,
            action="organization.time_zone",
            target=organization,
            now=now,
            before={"time_zone": before},
            after={"time_zone": time_zone},
        )


def remove_demo(*, organization: Organization, actor: audit.Actor, now: dt.datetime) -> None:
    """Delete a demo with its workspaces, keys, policies, route changes and experiments; its keys stop working.

    The audit event stays. So do the records of its simulated calls in the log store, which no page reaches any more.

    Raises:
        NotADemo: it is not one.
    """
    if not organization.is_demo:
        raise NotADemo(organization.slug)
    with transaction.atomic():
        audit.record(
            organization_id=organization.pk,
            actor=actor,
            action="organization.remove",
            target=organization,
            now=now,
            before={"name": organization.name, "slug": organization.slug},
        )
        organization.delete()


def clean_name(name: str) -> str:
    """Return `name` with single spaces.

    Raises:
        InvalidOrganization: it is empty, longer than 200 characters, or an API key.
    """
    name = " ".join(name.split())
    if tokens.PATTERN.search(name):
        raise InvalidOrganization(
            "That is an API key. A name is stored and shown to all members: choose another, and revoke that key."
        )
    if not name or len(name) > 200:
        raise InvalidOrganization("Give the organization a name of 1 to 200 characters.")
    return name


def _insert(*, name: str, is_demo: bool) -> Organization:
    """Insert under the first free slug. Two sign-ups may find the same one free: the loser looks again."""
    for attempt in range(1, _SLUG_ATTEMPTS + 1):
        base = slugs.from_name(name)
        taken = Organization.objects.filter(slug__startswith=base[: slugs.MAXIMUM_LENGTH - 8])
        slug = slugs.unused(name, taken=taken.values_list("slug", flat=True), fallback="organization")
        try:
            with transaction.atomic():
                return Organization.objects.create(name=name, slug=slug, is_demo=is_demo)
        except IntegrityError:
            if attempt == _SLUG_ATTEMPTS:
                raise
    raise AssertionError("unreachable")
