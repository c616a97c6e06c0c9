"""Doors that a token opens: the operator's link and invitations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.utils import timezone

from accounts import audit, invitations, sign_in_links
from accounts.models import Membership, Organization, User
from tests.factories.accounts import PASSWORD, Cast, make_user

Login = Callable[[User], Client]


@pytest.fixture
def invitation_url(cast: Cast) -> str:
    new = invitations.invite(
        organization=cast.acme,
        email="dora@example.com",
        role="finance",
        by=Membership.objects.get(user=cast.alice),
        actor=audit.user(cast.alice),
        now=timezone.now(),
    )
    return f"/accounts/invitations/{new.token}/"


def _link(user: User) -> str:
    return f"/accounts/link/{sign_in_links.create(user=user, now=timezone.now())}/"


def test_the_operators_link_signs_in_once(cast: Cast, client: Client) -> None:
    url = _link(cast.alice)
    answer = client.get(url)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert "no-store" in answer["Cache-Control"]
    assert client.get("/o/acme/members/").status_code == 200
    again = Client().get(url)
    assert again.status_code == 404
    assert "not valid any more" in again.content.decode()


def test_a_link_checker_does_not_use_the_link_up(cast: Cast, client: Client) -> None:
    url = _link(cast.alice)
    assert client.head(url).status_code == 405
    assert client.post(url).status_code == 405
    assert client.get(url).status_code == 302


def test_a_forged_link_opens_nothing(cast: Cast, client: Client) -> None:
    assert client.get(_link(cast.alice)[:-2] + "x/").status_code == 404
    assert client.get("/accounts/link/a.b/").status_code == 404
    assert client.get("/").status_code == 302
    assert client.get("/")["Location"].startswith("/accounts/login/")


def test_a_link_replaces_whoever_was_signed_in(cast: Cast, login: Login) -> None:
    client = login(cast.charlie)
    client.get(_link(cast.alice))
    assert client.get("/o/acme/members/").status_code == 200
    assert client.get("/o/other/members/").status_code == 404


def test_the_invited_person_joins(cast: Cast, login: Login, invitation_url: str) -> None:
    dora = make_user("dora@example.com")
    client = login(dora)
    page = client.get(invitation_url).content.decode()
    assert "Join Acme" in page
    assert "alice@acme.example invites" in page
    answer = client.post(invitation_url)
    assert answer["Location"] == "/o/acme/overview/"
    assert Membership.objects.get(user=dora).role == "finance"
    assert client.get(invitation_url).status_code == 404


def test_opening_the_link_alone_joins_nobody(cast: Cast, login: Login, invitation_url: str) -> None:
    login(make_user("dora@example.com")).get(invitation_url)
    assert cast.acme.memberships.count() == 5


def test_another_person_is_told_whose_invitation_it_is(cast: Cast, login: Login, invitation_url: str) -> None:
    client = login(cast.charlie)
    assert "the invitation is for dora@example.com" in client.get(invitation_url).content.decode()
    answer = client.post(invitation_url)
    assert answer.status_code == 409
    assert "The invitation is for dora@example.com" in answer.content.decode()
    assert not Membership.objects.filter(user=cast.charlie, organization=cast.acme).exists()


def test_an_unknown_or_odd_invitation_is_refused(cast: Cast, client: Client, login: Login) -> None:
    for url in ("/accounts/invitations/guess/", "/accounts/invitations/%00/", "/accounts/invitations/%F0%9F%94%91/"):
        assert client.get(url).status_code == 404
        assert login(cast.bob).post(url).status_code == 404
    assert client.delete("/accounts/invitations/guess/").status_code == 405


def test_a_newcomer_signs_up_for_the_seat_and_gets_no_organization(
    cast: Cast, client: Client, invitation_url: str
) -> None:
    organizations = Organization.objects.count()
    page = client.get(invitation_url).content.decode()
    assert f"/accounts/signup/?next={invitation_url}" in page
    form = client.get(f"/accounts/signup/?next={invitation_url}").content.decode()
    assert "Join Acme" in form
    assert "organization_name" not in form
    # The address is the invited one, whatever a changed form sends.
    answer = client.post("/accounts/signup/", {"email": "x@example.com", "password1": PASSWORD, "next": invitation_url})
    assert (answer.status_code, answer["Location"]) == (302, invitation_url)
    assert client.post(invitation_url)["Location"] == "/o/acme/overview/"
    assert Membership.objects.get(user__email="dora@example.com").organization == cast.acme
    assert not User.objects.filter(email="x@example.com").exists()
    assert Organization.objects.count() == organizations


def test_an_invitation_from_a_mail_confirms_the_address(
    cast: Cast, client: Client, invitation_url: str, settings: object
) -> None:
    settings.EMAIL_HOST = "mail.example"  # type: ignore[attr-defined]
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"  # type: ignore[attr-defined]
    client.get(invitation_url)
    answer = client.post("/accounts/signup/", {"password1": PASSWORD, "next": invitation_url})
    assert answer["Location"] == invitation_url
    assert EmailAddress.objects.get(email="dora@example.com").verified is True


def test_an_invitation_that_was_passed_on_by_hand_does_not(cast: Cast, client: Client, invitation_url: str) -> None:
    client.get(invitation_url)
    client.post("/accounts/signup/", {"password1": PASSWORD, "next": invitation_url})
    assert EmailAddress.objects.get(email="dora@example.com").verified is False


def test_an_invitation_opens_a_closed_sign_up(
    cast: Cast, client: Client, invitation_url: str, settings: object
) -> None:
    settings.SIGN_UP_IS_OPEN = False  # type: ignore[attr-defined]
    assert "Sign-up is by invitation" in client.get("/accounts/signup/").content.decode()
    client.get(invitation_url)
    client.post("/accounts/signup/", {"password1": PASSWORD, "next": invitation_url})
    assert client.post(invitation_url)["Location"] == "/o/acme/overview/"


def test_somebody_with_an_account_signs_in_first_and_comes_back(
    cast: Cast, client: Client, invitation_url: str
) -> None:
    make_user("dora@example.com")
    credentials = {"login": "dora@example.com", "password": PASSWORD, "next": invitation_url}
    assert client.post("/accounts/login/", credentials)["Location"] == invitation_url
    assert client.post(invitation_url)["Location"] == "/o/acme/overview/"
