"""Sign-up, sign-in and passwords: allauth with our forms, settings and templates."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client

from accounts.models import AuditEvent, Organization, User
from tests.factories.accounts import PASSWORD, Cast, make_user

SIGN_UP = "/accounts/signup/"
SIGN_IN = "/accounts/login/"
RESET = "/accounts/password/reset/"


@pytest.fixture
def mandatory_verification(settings: Any) -> None:
    """As with a mail server."""
    settings.EMAIL_HOST = "mail.example"
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"


@pytest.mark.django_db
def test_sign_up_makes_a_user_with_an_organization(client: Client) -> None:
    answer = _sign_up(client, "Alice@Acme.example", organization_name="Acme")
    assert (answer.status_code, answer["Location"]) == (302, "/")
    alice = User.objects.get()
    acme = Organization.objects.get()
    assert alice.email == "alice@acme.example"
    assert (acme.name, acme.memberships.get().role, acme.workspaces.get().name) == ("Acme", "owner", "Production")
    assert client.get("/")["Location"] == "/o/acme/overview/"
    event = AuditEvent.objects.get(action="organization.create")
    assert (event.actor_label, event.ip) == ("alice@acme.example", "127.0.0.1")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"email": ""}, "This field is required."),
        ({"email": "alice"}, "Enter a valid email address."),
        ({"organization_name": ""}, "This field is required."),
        ({"organization_name": "x" * 201}, "at most 200 characters"),
        ({"password1": ""}, "This field is required."),
        ({"password1": "short"}, "too short"),
        ({"password1": "password1234"}, "too common"),
        ({"password1": "837465019283"}, "entirely numeric"),
        ({"password1": "alice@acme.example"}, "too similar"),
    ],
)
def test_bad_input_signs_nobody_up(client: Client, changes: dict[str, str], reason: str) -> None:
    form = {"email": "alice@acme.example", "organization_name": "Acme", "password1": PASSWORD} | changes
    answer = client.post(SIGN_UP, form)
    assert reason in answer.content.decode()
    assert not User.objects.exists()
    assert not Organization.objects.exists()


def test_sign_up_does_not_tell_who_has_an_account(cast: Cast, mandatory_verification: None) -> None:
    answers = [_sign_up(Client(), email) for email in ("nobody@example.com", "alice@acme.example")]
    seen = {(answer.status_code, answer["Location"]) for answer in answers}
    assert seen == {(302, "/accounts/confirm-email/")}
    by_address = {message.to[0]: message for message in mail.outbox}
    assert by_address["nobody@example.com"].subject == "Confirm your e-mail address"
    assert by_address["alice@acme.example"].subject == "You have an account already"
    assert cast.alice.check_password(PASSWORD)


@pytest.mark.django_db
def test_with_a_mail_server_the_address_is_confirmed_first(client: Client, mandatory_verification: None) -> None:
    _sign_up(client, "alice@acme.example")
    assert client.get("/")["Location"] == "/accounts/login/?next=/"
    link = _link(mail.outbox[0])
    assert "alice@acme.example" in client.get(link).content.decode()
    client.post(link)
    assert EmailAddress.objects.get().verified is True
    _sign_in(client, "alice@acme.example", PASSWORD)
    assert client.get("/")["Location"] == "/o/acme/overview/"


@pytest.mark.django_db
def test_sign_up_can_be_closed(client: Client, settings: Any) -> None:
    settings.SIGN_UP_IS_OPEN = False
    assert "Sign-up is by invitation" in client.get(SIGN_UP).content.decode()
    _sign_up(client, "alice@acme.example")
    assert not User.objects.exists()


def test_sign_in_by_address_and_password(cast: Cast, client: Client) -> None:
    answer = _sign_in(client, "BOB@acme.example", PASSWORD)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/o/acme/keys/").status_code == 200


def test_sign_in_leads_back_to_the_page_and_never_off_the_site(cast: Cast) -> None:
    for wanted, got in (
        ("/o/acme/keys/", "/o/acme/keys/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("javascript:alert(1)", "/"),
    ):
        answer = Client().post(SIGN_IN, {"login": "bob@acme.example", "password": PASSWORD, "next": wanted})
        assert answer["Location"] == got


def test_a_wrong_password_and_an_unknown_address_look_the_same(cast: Cast, client: Client) -> None:
    pages = [_sign_in(client, email, "wrong").content.decode() for email in ("bob@acme.example", "no@example.com")]
    errors = {re.search(r'notice--danger".*?</div>', page, re.DOTALL)[0] for page in pages}  # type: ignore[index]
    assert len(errors) == 1
    assert "not correct" in errors.pop()


def test_guessing_passwords_is_stopped(cast: Cast, client: Client) -> None:
    """Five wrong ones lock the address for five minutes, for the right one too."""
    for _ in range(5):
        _sign_in(client, "bob@acme.example", "wrong")
    answer = _sign_in(client, "bob@acme.example", PASSWORD)
    assert answer.status_code != 302
    assert "Too many failed login attempts" in answer.content.decode()
    assert _sign_in(client, "alice@acme.example", PASSWORD).status_code == 302


@pytest.mark.django_db
def test_mass_sign_up_is_stopped(client: Client) -> None:
    answers = [_sign_up(Client(), f"robot{number}@example.com") for number in range(21)]
    assert [answer.status_code for answer in answers] == [302] * 20 + [429]
    assert "Too many attempts" in answers[-1].content.decode()
    assert "css/app.css" in answers[-1].content.decode()


def test_sign_out_needs_a_post(cast: Cast, client: Client) -> None:
    _sign_in(client, "bob@acme.example", PASSWORD)
    assert "Sign out?" in client.get("/accounts/logout/").content.decode()
    assert client.get("/o/acme/keys/").status_code == 200
    client.post("/accounts/logout/")
    assert client.get("/o/acme/keys/").status_code == 302


def test_a_password_is_reset_by_mail(cast: Cast, client: Client) -> None:
    assert client.post(RESET, {"email": "Bob@acme.example"})["Location"] == f"{RESET}done/"
    (message,) = mail.outbox
    assert message.subject == "Reset your password"
    form = client.get(_link(message), follow=True)
    url = form.redirect_chain[-1][0]
    new = "a wholly different passphrase"
    assert "too short" in client.post(url, {"password1": "short", "password2": "short"}).content.decode()
    client.post(url, {"password1": new, "password2": new})
    assert _sign_in(Client(), "bob@acme.example", PASSWORD).status_code == 200
    assert _sign_in(Client(), "bob@acme.example", new).status_code == 302
    used = Client().get(_link(message), follow=True).content.decode()
    assert "This link is not valid any more" in used


def test_a_reset_does_not_tell_who_has_an_account(cast: Cast) -> None:
    answers = [Client().post(RESET, {"email": email}) for email in ("bob@acme.example", "no@example.com")]
    assert {(answer.status_code, answer["Location"]) for answer in answers} == {(302, f"{RESET}done/")}
    assert {message.to[0]: message.subject for message in mail.outbox} == {
        "bob@acme.example": "Reset your password",
        "no@example.com": "There is no account with this address",
    }


@pytest.mark.django_db
def test_one_who_came_by_a_link_sets_a_password(client: Client) -> None:
    alice = make_user("alice@acme.example", password=None)
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.get("/accounts/password/change/")["Location"] == "/accounts/password/set/"
    assert "So far you come in by a link." in client.get("/accounts/password/set/").content.decode()
    client.post("/accounts/password/set/", {"password1": PASSWORD, "password2": PASSWORD})
    assert _sign_in(Client(), "alice@acme.example", PASSWORD).status_code == 302


@pytest.mark.parametrize(
    "url",
    [
        SIGN_IN,
        SIGN_UP,
        RESET,
        f"{RESET}done/",
        f"{RESET}key/done/",
        "/accounts/confirm-email/",
        "/accounts/inactive/",
        "/accounts/confirm-email/no-such-key/",
    ],
)
@pytest.mark.django_db
def test_every_page_of_sign_in_wears_our_frame(client: Client, url: str) -> None:
    answer = client.get(url)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "css/app.css" in page
    assert "Menu:" not in page, "allauth's own frame shows through"


@pytest.mark.parametrize(
    "url",
    ["/accounts/email/", "/accounts/password/change/", "/accounts/logout/", "/accounts/reauthenticate/"],
)
def test_every_page_of_ones_account_wears_our_frame(cast: Cast, client: Client, url: str) -> None:
    _sign_in(client, "bob@acme.example", PASSWORD)
    page = client.get(url, follow=True).content.decode()
    assert "css/app.css" in page
    assert "Menu:" not in page


def _sign_up(client: Client, email: str, *, organization_name: str = "Acme") -> Any:
    form = {"email": email, "organization_name": organization_name, "password1": PASSWORD}
    return client.post(SIGN_UP, form)


def _sign_in(client: Client, email: str, password: str) -> Any:
    return client.post(SIGN_IN, {"login": email, "password": password})


def _link(message: Any) -> str:
    found = re.search(r"https?://[^/\s]+(/\S+)", str(message.body))
    assert found is not None
    return found[1]
