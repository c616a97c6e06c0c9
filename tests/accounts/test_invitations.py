"""Invitations: for one address, once, for 7 days, and only as far as the inviter's own rights go."""

from __future__ import annotations

import datetime as dt
import smtplib
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend

from accounts import audit, invitations, memberships
from accounts.models import AuditEvent, Invitation, Membership, User
from tests.factories.accounts import Cast, make_user

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


class RefusingMailServer(BaseEmailBackend):
    """Takes nothing."""

    def send_messages(self, email_messages: object) -> int:
        raise smtplib.SMTPServerDisconnected("gone")


def test_whoever_is_invited_becomes_a_member_with_that_role(cast: Cast) -> None:
    new = _invite(cast, "Dora@Example.com", role="finance")
    dora = make_user("dora@example.com")
    offer = invitations.find_open(token=new.token, now=NOW + 6 * DAY)
    membership = _accept(offer, dora)
    assert (membership.organization, membership.role) == (cast.acme, "finance")
    actions = AuditEvent.objects.for_organization(cast.acme.pk).values_list("action", "actor_label")
    assert ("membership.add", "dora@example.com") in actions


def test_the_token_is_stored_by_its_hash_only(cast: Cast) -> None:
    new = _invite(cast, "dora@example.com")
    assert new.token not in str(list(Invitation.objects.values()) + list(AuditEvent.objects.values()))


def test_an_invitation_works_once(cast: Cast) -> None:
    new = _invite(cast, "dora@example.com")
    dora = make_user("dora@example.com")
    _accept(new.invitation, dora)
    with pytest.raises(invitations.InvitationClosed):
        invitations.find_open(token=new.token, now=NOW)
    with pytest.raises(invitations.InvitationClosed):
        _accept(new.invitation, dora)


def test_an_invitation_ends_after_7_days(cast: Cast) -> None:
    new = _invite(cast, "dora@example.com")
    with pytest.raises(invitations.InvitationClosed):
        invitations.find_open(token=new.token, now=NOW + 7 * DAY)
    with pytest.raises(invitations.InvitationClosed):
        _accept(new.invitation, make_user("dora@example.com"), now=NOW + 7 * DAY)


def test_a_withdrawn_invitation_is_closed(cast: Cast) -> None:
    new = _invite(cast, "dora@example.com")
    _withdraw(new.invitation, by=cast.adam)
    with pytest.raises(invitations.InvitationClosed):
        invitations.find_open(token=new.token, now=NOW)


def test_a_guessed_token_opens_nothing(cast: Cast) -> None:
    _invite(cast, "dora@example.com")
    with pytest.raises(invitations.InvitationClosed):
        invitations.find_open(token="guess", now=NOW)


def test_an_invitation_is_for_its_address_only(cast: Cast) -> None:
    new = _invite(cast, "dora@example.com")
    with pytest.raises(invitations.WrongAddress, match=r"is for dora@example\.com, and you are signed in as charlie"):
        _accept(new.invitation, cast.charlie)
    assert not Membership.objects.filter(user=cast.charlie, organization=cast.acme).exists()


def test_inviting_again_ends_the_earlier_invitation(cast: Cast) -> None:
    first, second = _invite(cast, "dora@example.com"), _invite(cast, "DORA@example.com", role="viewer")
    with pytest.raises(invitations.InvitationClosed):
        invitations.find_open(token=first.token, now=NOW)
    assert invitations.find_open(token=second.token, now=NOW).role == "viewer"


def test_a_member_is_not_invited(cast: Cast) -> None:
    with pytest.raises(memberships.AlreadyMember):
        _invite(cast, "BOB@acme.example")


@pytest.mark.parametrize("email", ["", "dora", "dora@", "dora@example.com\nbcc: x@example.com"])
def test_only_an_address_is_invited(cast: Cast, email: str) -> None:
    with pytest.raises(invitations.InvitationError, match="Enter an e-mail address"):
        _invite(cast, email)


def test_an_admin_invites_no_owner_and_ends_no_owners_invitation(cast: Cast) -> None:
    with pytest.raises(memberships.NotAllowed):
        _invite(cast, "dora@example.com", role="owner", by=cast.adam)
    offer = _invite(cast, "dora@example.com", role="owner", by=cast.alice).invitation
    with pytest.raises(memberships.NotAllowed):
        _withdraw(offer, by=cast.adam)
    with pytest.raises(memberships.NotAllowed):
        _invite(cast, "dora@example.com", role="viewer", by=cast.adam)
    assert list(Invitation.objects.pending()) == [offer]


def test_an_organization_invites_100_people_a_day(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "DAILY_LIMIT", 3)
    now = dt.datetime.now(dt.UTC)
    for number in range(3):
        _invite(cast, f"guest{number}@example.com", now=now)
    with pytest.raises(invitations.TooManyInvitations, match="3 people a day"):
        _invite(cast, "guest4@example.com", now=now)
    _invite(cast, "guest4@example.com", now=now + DAY + dt.timedelta(minutes=1))


def test_the_mail_names_inviter_organization_role_and_link(cast: Cast) -> None:
    cast.acme.name = "Acme & Söhne"
    new = _invite(cast, "dora@example.com", by=cast.adam)
    assert invitations.send(invitation=new.invitation, link="https://kr.example/accounts/invitations/t/")
    (message,) = mail.outbox
    assert message.to == ["dora@example.com"]
    assert message.subject == "Acme & Söhne invites you to KairosRoute"
    for part in ("adam@acme.example", "“Acme & Söhne”", "Developer", "https://kr.example/accounts/invitations/t/"):
        assert part in str(message.body)


def test_a_line_break_in_a_name_does_not_reach_the_mails_head(cast: Cast) -> None:
    cast.acme.name = "Acme\nBcc: victim@example.com"
    new = _invite(cast, "dora@example.com")
    assert invitations.send(invitation=new.invitation, link="https://kr.example/")
    assert mail.outbox[0].subject == "Acme Bcc: victim@example.com invites you to KairosRoute"


def test_a_mail_server_that_refuses_is_reported(cast: Cast, settings: Any) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.RefusingMailServer"
    new = _invite(cast, "dora@example.com")
    assert invitations.send(invitation=new.invitation, link="https://kr.example/") is False


def _membership(user: User) -> Membership:
    return Membership.objects.select_related("user").get(user=user)


def _invite(
    cast: Cast, email: str, *, role: str = "developer", by: User | None = None, now: dt.datetime = NOW
) -> invitations.NewInvitation:
    return invitations.invite(
        organization=cast.acme,
        email=email,
        role=role,
        by=_membership(by or cast.alice),
        actor=audit.user(by or cast.alice),
        now=now,
    )


def _accept(offer: Invitation, user: User, *, now: dt.datetime = NOW) -> Membership:
    return invitations.accept(invitation=offer, user=user, actor=audit.user(user), now=now)


def _withdraw(offer: Invitation, *, by: User) -> None:
    invitations.withdraw(invitation=offer, by=_membership(by), actor=audit.user(by), now=NOW)
