"""Invitations: offer a seat to an e-mail address, take it up after sign-in, withdraw it.

InvitationError
├── InvitationClosed   unknown, expired, withdrawn or taken up already
└── WrongAddress       the person who is signed in is not the one who was invited
"""

from __future__ import annotations

import datetime as dt
import smtplib
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import transaction
from django.template.loader import render_to_string

from accounts import audit, memberships, tokens
from accounts.models import Invitation, Membership, Organization, User

LIFETIME = dt.timedelta(days=7)
DAILY_LIMIT = 100  # per organization: our mail server must not become somebody's spam cannon


class InvitationError(ValueError):
    """The invitation cannot be made or used; the message says what to do."""


class TooManyInvitations(InvitationError):
    pass


class InvitationClosed(InvitationError):
    pass


class WrongAddress(InvitationError):
    pass


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation with its token, which is known only now."""

    invitation: Invitation
    token: str


def invite(
    *,
    organization: Organization,
    email: str,
    role: str,
    by: Membership | None,
    actor: audit.Actor,
    now: dt.datetime,
) -> NewInvitation:
    """Offer `role` to `email` for 7 days. An earlier offer to the same address ends, whatever its role.

    Raises:
        InvitationError: not an e-mail address.
        TooManyInvitations: 100 were made in the last 24 hours.
        memberships.AlreadyMember: they belong to the organization already.
        memberships.NotAllowed: `by` may not hand out that role.
    """
    memberships.check_may_grant(by=by, role=role)
    email = _clean_email(email)
    if Membership.objects.for_organization(organization.pk).filter(user__email=email).exists():
        raise memberships.AlreadyMember(f"{email} is a member already. Change the role instead.")
    token = tokens.make_one_time()
    with transaction.atomic():
        # Serialises two invitations of one address, which the database would refuse.
        Organization.objects.select_for_update().get(pk=organization.pk)
        mine = Invitation.objects.for_organization(organization.pk)
        if mine.filter(created_at__gt=now - dt.timedelta(days=1)).count() >= DAILY_LIMIT:
            raise TooManyInvitations(f"An organization can invite {DAILY_LIMIT} people a day. Continue tomorrow.")
        earlier = mine.pending().filter(email=email)
        for invitation in earlier:
            _check_may_withdraw(invitation, by=by)
        earlier.update(revoked_at=now)
        invitation = Invitation.objects.create(
            organization=organization,
            invited_by=by.user if by else None,
            email=email,
            role=role,
            sha256=tokens.sha256(token),
            expires_at=now + LIFETIME,
        )
        audit.record(
            organization_id=organization.pk,
            actor=actor,
            action="invitation.create",
            target=invitation,
            now=now,
            after={"email": email, "role": role},
        )
    return NewInvitation(invitation=invitation, token=token)


def send(*, invitation: Invitation, link: str) -> bool:
    """Mail the link to the invited address; return whether the mail server took it."""
    context = {"invitation": invitation, "organization": invitation.organization, "link": link}
    subject = render_to_string("emails/invitation_subject.txt", context)
    try:
        send_mail(
            " ".join(subject.split()), render_to_string("emails/invitation.txt", context), None, [invitation.email]
        )
    except (OSError, smtplib.SMTPException):
        return False
    return True


def find_open(*, token: str, now: dt.datetime) -> Invitation:
    """Return the invitation that `token` opens.

    Raises:
        InvitationClosed: unknown, expired, withdrawn or taken up; which of them is not told.
    """
    invitation = Invitation.objects.select_related("organization").filter(sha256=tokens.sha256(token)).first()
    if invitation is None or not invitation.is_open(now):
        raise InvitationClosed("This invitation is not valid any more. Ask for a new one.")
    return invitation


def accept(*, invitation: Invitation, user: User, actor: audit.Actor, now: dt.datetime) -> Membership:
    """Make `user` a member with the offered role; a member keeps the role that they have.

    Raises:
        WrongAddress: the invitation is for another address.
        InvitationClosed: it was taken up or withdrawn in the meantime.
    """
    if user.email.lower() != invitation.email:
        raise WrongAddress(
            f"The invitation is for {invitation.email}, and you are signed in as {user.email}. "
            "Sign out and use the invited address."
        )
    with transaction.atomic():
        still_open = Invitation.objects.pending().filter(pk=invitation.pk, expires_at__gt=now)
        if not still_open.update(accepted_at=now):
            raise InvitationClosed("This invitation is not valid any more. Ask for a new one.")
        existing = Membership.objects.filter(organization=invitation.organization, user=user).first()
        return existing or memberships.add(
            organization=invitation.organization, user=user, role=invitation.role, actor=actor, now=now
        )


def withdraw(*, invitation: Invitation, by: Membership | None, actor: audit.Actor, now: dt.datetime) -> None:
    """End an offer that nobody took up; one that has ended stays as it is.

    Raises:
        memberships.NotAllowed: it offers a role that `by` may not hand out.
    """
    _check_may_withdraw(invitation, by=by)
    with transaction.atomic():
        if not Invitation.objects.pending().filter(pk=invitation.pk).update(revoked_at=now):
            return
        audit.record(
            organization_id=invitation.organization_id,
            actor=actor,
            action="invitation.withdraw",
            target=invitation,
            now=now,
            before={"email": invitation.email, "role": invitation.role},
        )


def _check_may_withdraw(invitation: Invitation, *, by: Membership | None) -> None:
    memberships.check_may_grant(by=by, role=invitation.role)


def _clean_email(email: str) -> str:
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise InvitationError("Enter an e-mail address such as bob@example.com.") from error
    return email
