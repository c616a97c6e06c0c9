"""Memberships: who belongs to an organization with which role. It always keeps an owner.

MembershipError
├── LastOwner      the change would leave the organization without an owner
├── NotAllowed     the acting member may not touch or grant that role
└── AlreadyMember
"""

from __future__ import annotations

import datetime as dt

from django.db import transaction

from accounts import audit, roles
from accounts.models import Invitation, Membership, Organization, User


class MembershipError(ValueError):
    """The members cannot be changed like that; the message says why and what to do."""


class LastOwner(MembershipError):
    pass


class NotAllowed(MembershipError):
    pass


class AlreadyMember(MembershipError):
    pass


def add(*, organization: Organization, user: User, role: str, actor: audit.Actor, now: dt.datetime) -> Membership:
    """Make `user` a member. For people, `invitations.invite` comes first: nobody is added without a word.

    Raises:
        AlreadyMember: they belong to it already, with whatever role.
    """
    _check_role(role)
    with transaction.atomic():
        membership, is_new = Membership.objects.get_or_create(
            organization=organization, user=user, defaults={"role": role}
        )
        if not is_new:
            raise AlreadyMember(f"{user.email} is a member already. Change the role instead.")
        audit.record(
            organization_id=organization.pk,
            actor=actor,
            action="membership.add",
            target=membership,
            now=now,
            after={"email": user.email, "role": role},
        )
    return membership


def change_role(
    *, membership: Membership, role: str, by: Membership | None, actor: audit.Actor, now: dt.datetime
) -> None:
    """Give a member another role. `by` is the acting member, None where the system acts.

    Raises:
        NotAllowed: `by` may not manage members, or owners are concerned and `by` is not one.
        LastOwner: the only owner would lose the role.
    """
    _check_role(role)
    _check_authority(by=by, role=membership.role)
    _check_authority(by=by, role=role)
    with transaction.atomic():
        _lock(membership.organization_id)
        membership.refresh_from_db(fields=["role"])
        before = membership.role
        if before == role:
            return
        if before == Membership.Role.OWNER:
            _check_another_owner(membership)
        membership.role = role
        membership.save(update_fields=["role"])
        _withdraw_invitations_beyond(role, membership=membership, now=now)
        audit.record(
            organization_id=membership.organization_id,
            actor=actor,
            action="membership.change_role",
            target=membership,
            now=now,
            before={"email": membership.user.email, "role": before},
            after={"email": membership.user.email, "role": role},
        )


def remove(*, membership: Membership, by: Membership | None, actor: audit.Actor, now: dt.datetime) -> None:
    """End a membership; a member may always remove themselves. Keys that they made stay valid.

    Raises:
        NotAllowed: `by` may not manage members, or removes an owner without being one.
        LastOwner: it is the only owner.
    """
    if by is None or by.pk != membership.pk:
        _check_authority(by=by, role=membership.role)
    with transaction.atomic():
        _lock(membership.organization_id)
        membership.refresh_from_db(fields=["role"])
        if membership.role == Membership.Role.OWNER:
            _check_another_owner(membership)
        _withdraw_invitations_beyond("", membership=membership, now=now)
        audit.record(
            organization_id=membership.organization_id,
            actor=actor,
            action="membership.remove",
            target=membership,
            now=now,
            before={"email": membership.user.email, "role": membership.role},
        )
        membership.delete()


def check_may_grant(*, by: Membership | None, role: str) -> None:
    """Check that `by` may hand out `role`.

    Raises:
        NotAllowed: they may not.
        MembershipError: there is no such role.
    """
    _check_role(role)
    _check_authority(by=by, role=role)


def _check_role(role: str) -> None:
    if role not in roles.ROLES:
        raise MembershipError(f"There is no role {role!r}. Choose from: {', '.join(roles.ROLES)}.")


def _check_authority(*, by: Membership | None, role: str) -> None:
    if by is not None and not roles.may_manage(by.role, role):
        raise NotAllowed(
            "Only an owner can add, change or remove an owner. Ask one."
            if roles.grants(by.role, roles.MANAGE_MEMBERS)
            else "Your role cannot manage members. Ask an owner or admin."
        )


def _lock(organization_id: str) -> None:
    """Let one change of an organization's members happen at a time: two owners may demote each other at once."""
    Organization.objects.select_for_update().get(pk=organization_id)


def _check_another_owner(membership: Membership) -> None:
    owners = Membership.objects.for_organization(membership.organization_id).filter(role=Membership.Role.OWNER)
    if not owners.exclude(pk=membership.pk).exists():
        raise LastOwner(f"{membership.user.email} is the only owner. Make somebody else an owner first.")


def _withdraw_invitations_beyond(role: str, *, membership: Membership, now: dt.datetime) -> None:
    """Withdraw what the member offered and could not offer any more: no way back through a second address."""
    offered = Invitation.objects.for_organization(membership.organization_id).pending()
    offered = offered.filter(invited_by_id=membership.user_id)
    beyond = [invitation.pk for invitation in offered if not roles.may_manage(role, invitation.role)]
    Invitation.objects.filter(pk__in=beyond).update(revoked_at=now)
