"""Members: roles change by those who may, and an owner always stays."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.utils import timezone

from accounts import audit, invitations, memberships
from accounts.models import AuditEvent, Invitation, Membership, User
from tests.factories.accounts import Cast, make_membership, make_organization, make_user


def test_nobody_is_a_member_twice(cast: Cast) -> None:
    with pytest.raises(memberships.AlreadyMember, match=r"bob@acme\.example is a member already"):
        make_membership(cast.acme, cast.bob, role="owner")
    assert _of(cast.bob).role == "developer"


def test_an_unknown_role_is_refused(cast: Cast) -> None:
    with pytest.raises(memberships.MembershipError, match="There is no role 'root'"):
        _change(_of(cast.bob), "root", by=_of(cast.alice))


def test_an_owner_changes_any_role(cast: Cast) -> None:
    _change(_of(cast.bob), "owner", by=_of(cast.alice))
    assert _of(cast.bob).role == "owner"
    event = AuditEvent.objects.get(action="membership.change_role")
    assert event.before == {"email": "bob@acme.example", "role": "developer"}
    assert event.after == {"email": "bob@acme.example", "role": "owner"}


def test_an_admin_changes_roles_below_owner(cast: Cast) -> None:
    _change(_of(cast.victor), "developer", by=_of(cast.adam))
    assert _of(cast.victor).role == "developer"


@pytest.mark.parametrize("who", ["adam", "bob"])
def test_an_admin_makes_nobody_an_owner_not_even_themselves(cast: Cast, who: str) -> None:
    with pytest.raises(memberships.NotAllowed, match="Only an owner"):
        _change(_of(getattr(cast, who)), "owner", by=_of(cast.adam))


def test_an_admin_cannot_demote_or_remove_an_owner(cast: Cast) -> None:
    make_membership(cast.acme, role="owner")
    with pytest.raises(memberships.NotAllowed, match="Only an owner"):
        _change(_of(cast.alice), "viewer", by=_of(cast.adam))
    with pytest.raises(memberships.NotAllowed, match="Only an owner"):
        _remove(_of(cast.alice), by=_of(cast.adam))


@pytest.mark.parametrize("who", ["bob", "finn", "victor"])
def test_other_roles_manage_nobody(cast: Cast, who: str) -> None:
    by = _of(getattr(cast, who))
    with pytest.raises(memberships.NotAllowed, match="Your role cannot manage members"):
        _change(_of(cast.adam), "viewer", by=by)
    with pytest.raises(memberships.NotAllowed, match="Your role cannot manage members"):
        _remove(_of(cast.adam), by=by)


def test_the_only_owner_stays(cast: Cast) -> None:
    with pytest.raises(memberships.LastOwner, match=r"alice@acme\.example is the only owner"):
        _change(_of(cast.alice), "admin", by=_of(cast.alice))
    with pytest.raises(memberships.LastOwner):
        _remove(_of(cast.alice), by=_of(cast.alice))
    with pytest.raises(memberships.LastOwner):
        _remove(_of(cast.alice), by=None)
    assert _of(cast.alice).role == "owner"


def test_one_of_two_owners_may_go(cast: Cast) -> None:
    second = make_membership(cast.acme, role="owner")
    _remove(_of(cast.alice), by=second)
    assert list(cast.acme.memberships.filter(role="owner")) == [second]


def test_a_member_may_leave_whatever_the_role(cast: Cast) -> None:
    _remove(_of(cast.victor), by=_of(cast.victor))
    assert not Membership.objects.filter(user=cast.victor).exists()
    event = AuditEvent.objects.get(action="membership.remove")
    assert event.before == {"email": "victor@acme.example", "role": "viewer"}


def test_whoever_loses_the_right_to_invite_loses_the_open_invitations(cast: Cast) -> None:
    for email in ("dora@example.com", "eve@example.com"):
        _invite(email, by=_of(cast.adam))
    _invite("frank@example.com", by=_of(cast.alice))
    _change(_of(cast.adam), "developer", by=_of(cast.alice))
    assert [offer.email for offer in Invitation.objects.pending()] == ["frank@example.com"]


def test_an_owner_who_becomes_admin_keeps_the_invitations_that_an_admin_may_make(cast: Cast) -> None:
    make_membership(cast.acme, role="owner")
    _invite("dora@example.com", by=_of(cast.alice), role="owner")
    _invite("eve@example.com", by=_of(cast.alice), role="viewer")
    _change(_of(cast.alice), "admin", by=_of(cast.alice))
    assert [offer.email for offer in Invitation.objects.pending()] == ["eve@example.com"]


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_demote_each_other_at_once_leave_one() -> None:
    alice, anna = make_user(), make_user()
    acme = make_organization(owner=alice)
    make_membership(acme, anna, role="owner")
    outcomes: list[str] = []
    start = threading.Barrier(2)

    def demote(by: User, other: User) -> None:
        acting, target = _of(by), _of(other)
        start.wait(timeout=10)
        try:
            _change(target, "viewer", by=acting)
            outcomes.append("changed")
        except memberships.LastOwner:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=demote, args=pair) for pair in ((alice, anna), (anna, alice))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["changed", "refused"]
    assert acme.memberships.filter(role="owner").count() == 1


def _of(user: User) -> Membership:
    return Membership.objects.select_related("user").get(user=user)


def _change(membership: Membership, role: str, *, by: Membership | None) -> None:
    memberships.change_role(membership=membership, role=role, by=by, actor=audit.SYSTEM, now=timezone.now())


def _remove(membership: Membership, *, by: Membership | None) -> None:
    memberships.remove(membership=membership, by=by, actor=audit.SYSTEM, now=timezone.now())


def _invite(email: str, *, by: Membership, role: str = "viewer") -> None:
    invitations.invite(
        organization=by.organization, email=email, role=role, by=by, actor=audit.SYSTEM, now=timezone.now()
    )
