"""The members page and the way of an invitation through it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.core import mail
from django.test import Client

from accounts import roles
from accounts.models import Invitation, Membership, User
from tests.factories.accounts import Cast, make_membership, make_user

Login = Callable[[User], Client]

LIST = "/o/acme/members/"
INVITE = "/o/acme/members/invite/"


@pytest.mark.parametrize("role", roles.ROLES)
def test_every_member_sees_who_belongs_to_it(cast: Cast, login: Login, role: str) -> None:
    page = login(cast.member(role)).get(LIST).content.decode()
    for name in ("alice", "adam", "bob", "finn", "victor"):
        assert f"{name}@acme.example" in page
    assert "charlie@other.example" not in page


def test_controls_are_for_those_who_may_use_them(cast: Cast, login: Login) -> None:
    alice, bob = _membership(cast.alice), _membership(cast.bob)
    for_owner, for_admin, for_viewer = (
        login(user).get(LIST).content.decode() for user in (cast.alice, cast.adam, cast.victor)
    )
    assert f"/members/{bob.pk}/role/" in for_owner
    assert f"/members/{alice.pk}/role/" in for_owner
    assert f"/members/{bob.pk}/role/" in for_admin
    assert f"/members/{alice.pk}/role/" not in for_admin, "an admin does not manage owners"
    assert 'value="owner"' not in for_admin
    assert "/role/" not in for_viewer
    assert "Invite somebody" not in for_viewer


def test_a_viewer_does_not_see_who_is_invited(cast: Cast, login: Login) -> None:
    login(cast.alice).post(INVITE, {"email": "dora@example.com", "role": "viewer"})
    assert "dora@example.com" in login(cast.adam).get(LIST).content.decode()
    assert "dora@example.com" not in login(cast.victor).get(LIST).content.decode()


def test_an_anonymous_visitor_signs_in_first(cast: Cast, client: Client) -> None:
    for answer in (client.get(LIST), client.post(INVITE, {"email": "dora@example.com", "role": "viewer"})):
        assert answer.status_code == 302
        assert answer["Location"].startswith("/accounts/login/?next=/o/acme/members/")
    assert not Invitation.objects.exists()


def test_a_stranger_finds_nothing(cast: Cast, login: Login) -> None:
    client, bob = login(cast.charlie), _membership(cast.bob)
    assert client.get(LIST).status_code == 404
    assert client.post(INVITE, {"email": "dora@example.com", "role": "viewer"}).status_code == 404
    for slug in ("acme", "other"):
        assert client.post(f"/o/{slug}/members/{bob.pk}/role/", {"role": "viewer"}).status_code == 404
        assert client.post(f"/o/{slug}/members/{bob.pk}/remove/").status_code == 404
    assert _membership(cast.bob).role == "developer"


@pytest.mark.parametrize("role", ["developer", "finance", "viewer"])
def test_other_roles_change_nothing(cast: Cast, login: Login, role: str) -> None:
    client, adam = login(cast.member(role)), _membership(cast.adam)
    assert client.post(INVITE, {"email": "dora@example.com", "role": "viewer"}).status_code == 403
    assert client.post(f"{LIST}{adam.pk}/role/", {"role": "viewer"}).status_code == 403
    assert client.post(f"{LIST}{adam.pk}/remove/").status_code == 403
    assert _membership(cast.adam).role == "admin"


def test_wrong_methods_are_refused(cast: Cast, login: Login) -> None:
    client, bob = login(cast.alice), _membership(cast.bob)
    assert client.post(LIST).status_code == 405
    for url in (INVITE, f"{LIST}{bob.pk}/role/", f"{LIST}{bob.pk}/remove/", f"{LIST}leave/"):
        assert client.get(url).status_code == 405


def test_a_role_is_changed(cast: Cast, login: Login) -> None:
    answer = login(cast.adam).post(f"{LIST}{_membership(cast.victor).pk}/role/", {"role": "developer"}, follow=True)
    assert answer.redirect_chain == [(LIST, 302)]
    assert "victor@acme.example is now developer." in answer.content.decode()
    assert _membership(cast.victor).role == "developer"


def test_an_admin_who_reaches_for_ownership_is_refused(cast: Cast, login: Login) -> None:
    answer = login(cast.adam).post(f"{LIST}{_membership(cast.adam).pk}/role/", {"role": "owner"})
    assert answer.status_code == 403
    assert "Only an owner can add, change or remove an owner." in answer.content.decode()
    assert _membership(cast.adam).role == "admin"


def test_an_unknown_role_is_bad_input(cast: Cast, login: Login) -> None:
    answer = login(cast.alice).post(f"{LIST}{_membership(cast.bob).pk}/role/", {"role": "root"})
    assert answer.status_code == 400
    assert "Choose one of the roles." in answer.content.decode()


def test_the_only_owner_cannot_step_down_or_leave(cast: Cast, login: Login) -> None:
    client = login(cast.alice)
    for answer in (
        client.post(f"{LIST}{_membership(cast.alice).pk}/role/", {"role": "viewer"}),
        client.post(f"{LIST}{_membership(cast.alice).pk}/remove/"),
        client.post(f"{LIST}leave/"),
    ):
        assert answer.status_code == 409
        assert "is the only owner. Make somebody else an owner first." in answer.content.decode()
    assert _membership(cast.alice).role == "owner"


def test_a_removed_member_is_out_at_once(cast: Cast, login: Login) -> None:
    bobs = login(cast.bob)
    assert bobs.get(LIST).status_code == 200
    login(cast.alice).post(f"{LIST}{_membership(cast.bob).pk}/remove/")
    assert bobs.get(LIST).status_code == 404


@pytest.mark.parametrize("role", ["admin", "developer", "finance", "viewer"])
def test_a_member_may_leave(cast: Cast, login: Login, role: str) -> None:
    leaver = cast.member(role)
    answer = login(leaver).post(f"{LIST}leave/")
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert not Membership.objects.filter(user=leaver).exists()


def test_one_who_removes_themselves_is_led_home(cast: Cast, login: Login) -> None:
    answer = login(cast.adam).post(f"{LIST}{_membership(cast.adam).pk}/remove/")
    assert (answer.status_code, answer["Location"]) == (302, "/")


def test_without_a_mail_server_the_link_is_shown_once(cast: Cast, login: Login) -> None:
    client = login(cast.alice)
    page = client.post(INVITE, {"email": "dora@example.com", "role": "developer"}).content.decode()
    (link,) = set(re.findall(r"http://[^\s\"<]+/accounts/invitations/[\w-]+/", page))
    assert "nothing was sent" in page
    assert link not in client.get(LIST).content.decode()


def test_with_a_mail_server_the_link_is_in_the_mail_only(cast: Cast, login: Login, settings: object) -> None:
    settings.EMAIL_HOST = "mail.example"  # type: ignore[attr-defined]
    answer = login(cast.alice).post(INVITE, {"email": "dora@example.com", "role": "developer"}, follow=True)
    page = answer.content.decode()
    assert "An invitation is on its way to dora@example.com." in page
    assert "/accounts/invitations/" not in page
    assert "/accounts/invitations/" in str(mail.outbox[0].body)


def test_a_mail_server_that_refuses_is_told(cast: Cast, login: Login, settings: object) -> None:
    settings.EMAIL_HOST = "mail.example"  # type: ignore[attr-defined]
    settings.EMAIL_BACKEND = "tests.accounts.test_invitations.RefusingMailServer"  # type: ignore[attr-defined]
    answer = login(cast.alice).post(INVITE, {"email": "dora@example.com", "role": "developer"}, follow=True)
    assert "The mail server did not take the invitation." in answer.content.decode()


@pytest.mark.parametrize(
    ("email", "role", "reason"),
    [
        ("", "viewer", "This field is required."),
        ("dora", "viewer", "Enter a valid email address."),
        ("dora@example.com", "root", "Select a valid choice."),
        ("dora@example.com", "owner", "Select a valid choice."),  # an admin cannot offer it
        ("bob@acme.example", "viewer", "bob@acme.example is a member already."),
    ],
)
def test_bad_input_invites_nobody(cast: Cast, login: Login, email: str, role: str, reason: str) -> None:
    answer = login(cast.adam).post(INVITE, {"email": email, "role": role})
    assert answer.status_code == 400
    assert reason in answer.content.decode()
    assert not Invitation.objects.exists()


def test_an_invitation_is_withdrawn(cast: Cast, login: Login) -> None:
    client = login(cast.alice)
    client.post(INVITE, {"email": "dora@example.com", "role": "developer"})
    offer = Invitation.objects.get()
    answer = client.post(f"{LIST}invitations/{offer.pk}/withdraw/", follow=True)
    assert "The invitation of dora@example.com is withdrawn." in answer.content.decode()
    assert not Invitation.objects.pending().exists()


def test_an_admin_does_not_withdraw_the_invitation_of_an_owner(cast: Cast, login: Login) -> None:
    login(cast.alice).post(INVITE, {"email": "dora@example.com", "role": "owner"})
    offer = Invitation.objects.get()
    assert login(cast.adam).post(f"{LIST}invitations/{offer.pk}/withdraw/").status_code == 403
    assert Invitation.objects.pending().exists()


def test_a_member_of_two_organizations_has_both_roles_apart(cast: Cast, login: Login) -> None:
    make_membership(cast.other, cast.victor, role="admin")
    client = login(cast.victor)
    assert client.post("/o/other/members/invite/", {"email": "dora@example.com", "role": "viewer"}).status_code == 200
    assert client.post(INVITE, {"email": "eve@example.com", "role": "viewer"}).status_code == 403


def test_a_membership_of_another_organization_is_not_found(cast: Cast, login: Login) -> None:
    foreign = make_membership(cast.other, make_user(), role="viewer")
    client = login(cast.alice)
    assert client.post(f"{LIST}{foreign.pk}/remove/").status_code == 404
    assert client.post(f"{LIST}{foreign.pk}/role/", {"role": "owner"}).status_code == 404


def _membership(user: User) -> Membership:
    return Membership.objects.select_related("user").get(user=user)
