"""The keys page."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from accounts import api_keys, audit, tokens
from accounts.models import ApiKey, AuditEvent, User
from tests.factories.accounts import Cast, make_api_key, make_organization, make_workspace

Login = Callable[[User], Client]

LIST = "/o/acme/keys/"
CREATE = "/o/acme/keys/new/"
ALLOWED = ("owner", "admin", "developer")
REFUSED = ("finance", "viewer")


@pytest.fixture
def key(cast: Cast) -> ApiKey:
    return make_api_key(cast.acme, name="support bot", scopes=("chat",)).api_key


@pytest.mark.parametrize("role", ALLOWED)
def test_the_list_shows_hint_workspace_scopes_and_state(cast: Cast, login: Login, key: ApiKey, role: str) -> None:
    page = login(cast.member(role)).get(LIST).content.decode()
    for part in ("support bot", key.hint, "Production", "Call models", "Active", "Never"):
        assert part in page


def test_the_list_of_a_new_organization_says_what_to_do(cast: Cast, login: Login) -> None:
    page = login(cast.bob).get(LIST).content.decode()
    assert "No keys yet" in page
    assert "<table" not in page


def test_the_list_has_nothing_of_another_organization(cast: Cast, login: Login) -> None:
    foreign = make_api_key(cast.other, name="their secret bot")
    page = login(cast.bob).get(LIST).content.decode()
    assert "their secret bot" not in page
    assert foreign.api_key.pk not in page


def test_usable_keys_come_first_and_ended_ones_have_no_buttons(cast: Cast, login: Login, key: ApiKey) -> None:
    now = timezone.now()
    gone = make_api_key(cast.acme, name="gone bot").api_key
    api_keys.revoke(api_key=gone, actor=audit.SYSTEM, now=now)
    make_api_key(cast.acme, name="expired bot", expires_at=now, now=now - dt.timedelta(days=1))
    page = login(cast.bob).get(LIST).content.decode()
    assert page.index("support bot") < page.index("expired bot") < page.index("gone bot")
    assert f"/keys/{key.pk}/revoke/" in page
    assert f"/keys/{gone.pk}/revoke/" not in page
    assert "Revoked" in page
    assert "Expired" in page


@pytest.mark.parametrize("url", [LIST, CREATE])
def test_an_anonymous_visitor_signs_in_first(cast: Cast, client: Client, url: str) -> None:
    answer = client.get(url) if url == LIST else client.post(url, _form(cast))
    assert answer.status_code == 302
    assert answer["Location"] == f"/accounts/login/?next={url}"
    assert not ApiKey.objects.exists()


def test_a_stranger_finds_nothing(cast: Cast, login: Login, key: ApiKey) -> None:
    client = login(cast.charlie)
    assert client.get(LIST).status_code == 404
    assert client.post(CREATE, _form(cast)).status_code == 404
    for action in ("rotate", "revoke"):
        assert client.post(f"/o/acme/keys/{key.pk}/{action}/", {"overlap_seconds": "0"}).status_code == 404
        assert client.post(f"/o/other/keys/{key.pk}/{action}/", {"overlap_seconds": "0"}).status_code == 404
    key.refresh_from_db()
    assert key.state(timezone.now()) == "active"
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("role", REFUSED)
def test_other_roles_are_refused(cast: Cast, login: Login, key: ApiKey, role: str) -> None:
    client = login(cast.member(role))
    assert client.get(LIST).status_code == 403
    assert client.post(CREATE, _form(cast)).status_code == 403
    assert client.post(f"/o/acme/keys/{key.pk}/rotate/", {"overlap_seconds": "0"}).status_code == 403
    assert client.post(f"/o/acme/keys/{key.pk}/revoke/").status_code == 403
    assert ApiKey.objects.get() == key


def test_wrong_methods_are_refused(cast: Cast, login: Login, key: ApiKey) -> None:
    client = login(cast.bob)
    assert client.post(LIST).status_code == 405
    for url in (CREATE, f"/o/acme/keys/{key.pk}/rotate/", f"/o/acme/keys/{key.pk}/revoke/"):
        assert client.get(url).status_code == 405


def test_a_form_without_its_token_is_refused(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.bob, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.post(CREATE, _form(cast)).status_code == 403
    assert not ApiKey.objects.exists()


def test_a_new_key_is_shown_once(cast: Cast, login: Login) -> None:
    client = login(cast.bob)
    answer = client.post(CREATE, _form(cast, scopes=["chat", "models"], expires_on="2099-12-31"))
    shown = _shown_key(answer.content.decode())
    stored = ApiKey.objects.get()
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert stored.sha256 == tokens.parse(shown).sha256
    assert (stored.name, stored.mode, stored.scopes) == ("support bot", "live", ["chat", "models"])
    assert stored.expires_at == dt.datetime(2100, 1, 1, tzinfo=dt.UTC), "the last day is included"
    assert stored.created_by == cast.bob
    assert shown not in client.get(LIST).content.decode()
    event = AuditEvent.objects.get(action="api_key.create")
    assert (event.actor_label, event.ip) == ("bob@acme.example", "127.0.0.1")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "x" * 201}, "at most 200 characters"),
        ({"mode": "staging"}, "Select a valid choice"),
        ({"workspace": "ws_unknown"}, "Choose a workspace of this organization."),
        ({"scopes": ["root"]}, "Select a valid choice"),
        ({"expires_on": "tomorrow"}, "Enter a valid date."),
        ({"expires_on": "2020-01-01"}, "would have expired already"),
        ({"expires_on": "9999-12-31"}, "Choose a day before the year 2200"),
    ],
)
def test_bad_input_makes_no_key_and_says_why(cast: Cast, login: Login, changes: dict[str, object], reason: str) -> None:
    answer = login(cast.bob).post(CREATE, _form(cast) | changes)
    assert answer.status_code == 400
    assert reason in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_a_workspace_of_another_organization_is_refused(cast: Cast, login: Login) -> None:
    answer = login(cast.bob).post(CREATE, _form(cast) | {"workspace": cast.other.workspaces.get().pk})
    assert answer.status_code == 400
    assert not ApiKey.objects.exists()


def test_what_was_typed_stays_in_the_form(cast: Cast, login: Login) -> None:
    page = login(cast.bob).post(CREATE, _form(cast) | {"expires_on": "2020-01-01"}).content.decode()
    assert 'value="support bot"' in page


def test_a_key_may_belong_to_any_workspace_of_the_organization(cast: Cast, login: Login) -> None:
    staging = make_workspace(cast.acme, "Staging")
    login(cast.bob).post(CREATE, _form(cast) | {"workspace": staging.pk, "mode": "test"})
    assert ApiKey.objects.get().workspace == staging


def test_rotation_shows_the_new_key_and_keeps_the_old_one_for_the_overlap(
    cast: Cast, login: Login, key: ApiKey
) -> None:
    answer = login(cast.bob).post(f"/o/acme/keys/{key.pk}/rotate/", {"overlap_seconds": "3600"})
    shown = _shown_key(answer.content.decode())
    key.refresh_from_db()
    assert answer.status_code == 200
    assert key.replaced_by is not None
    assert key.replaced_by.sha256 == tokens.parse(shown).sha256
    assert key.state(timezone.now()) == "replaced"
    assert "Replaced" in answer.content.decode()


def test_rotation_refuses_an_odd_overlap(cast: Cast, login: Login, key: ApiKey) -> None:
    answer = login(cast.bob).post(f"/o/acme/keys/{key.pk}/rotate/", {"overlap_seconds": "31536000"})
    assert answer.status_code == 400
    assert "Choose how long the old key should work." in answer.content.decode()
    assert ApiKey.objects.count() == 1


def test_a_revoked_key_is_not_rotated(cast: Cast, login: Login, key: ApiKey) -> None:
    api_keys.revoke(api_key=key, actor=audit.SYSTEM, now=timezone.now())
    answer = login(cast.bob).post(f"/o/acme/keys/{key.pk}/rotate/", {"overlap_seconds": "0"})
    assert answer.status_code == 409
    assert "Only an active key can be rotated." in answer.content.decode()


def test_revoking_ends_a_key(cast: Cast, login: Login, key: ApiKey) -> None:
    answer = login(cast.bob).post(f"/o/acme/keys/{key.pk}/revoke/", follow=True)
    key.refresh_from_db()
    assert answer.redirect_chain == [(LIST, 302)]
    assert "is revoked" in answer.content.decode()
    assert key.state(timezone.now()) == "revoked"


def test_a_name_is_shown_as_text(cast: Cast, login: Login) -> None:
    make_api_key(cast.acme, name="<script>alert(1)</script>")
    page = login(cast.bob).get(LIST).content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_number_of_queries_does_not_grow_with_the_list(
    cast: Cast, login: Login, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    for number in range(20):
        make_api_key(cast.acme, name=f"bot {number}")
    client = login(cast.bob)
    client.get(LIST)
    with django_assert_max_num_queries(12):  # type: ignore[attr-defined]
        client.get(LIST)


def test_no_page_shows_a_key_of_another_organization_by_slug_guessing(cast: Cast, login: Login) -> None:
    third = make_organization("Third")
    assert login(cast.bob).get(f"/o/{third.slug}/keys/").status_code == 404


def _form(cast: Cast, **changes: object) -> dict[str, object]:
    return {
        "name": "support bot",
        "mode": "live",
        "workspace": cast.acme.workspaces.get(slug="production").pk,
    } | changes


def _shown_key(page: str) -> str:
    found = {match[0] for match in re.finditer(tokens.PATTERN, page)}
    assert len(found) == 1
    return found.pop()
