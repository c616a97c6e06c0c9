"""A canary: keys and tokens go through everything that handles them, and nothing keeps or tells them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import sign_in_links, tokens
from accounts.models import ApiKey, User
from config import observability
from tests.factories.accounts import PASSWORD, Cast

Login = Callable[[User], Client]


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture, settings: Any) -> pytest.LogCaptureFixture:
    """Every logger at its lowest level, the SQL with its parameters included."""
    settings.DEBUG = True  # Django logs SQL only then
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="django.db.backends")
    return caplog


def test_a_keys_life_leaves_it_neither_in_the_database_nor_in_a_log(
    cast: Cast, login: Login, everything_logged: pytest.LogCaptureFixture
) -> None:
    client = login(cast.bob)
    old = _create(client, cast)
    stored = ApiKey.objects.get()
    rotated = client.post(f"/o/acme/keys/{stored.pk}/rotate/", {"overlap_seconds": "3600"})
    new = _key_on(rotated.content.decode())
    client.post(f"/o/acme/keys/{stored.pk}/revoke/")
    client.get("/o/acme/keys/")
    records = "\n".join(str(vars(record)) for record in everything_logged.records)
    assert old != new
    for key in (old, new):
        assert _secret(key) not in records
        assert _secret(key) not in _dump()
    assert stored.sha256 in records, "the search looked at the SQL"
    assert stored.sha256 in _dump(), "the search looked at the row"


def test_a_key_in_the_wrong_place_is_cut_from_every_line(
    cast: Cast, login: Login, everything_logged: pytest.LogCaptureFixture
) -> None:
    """People paste keys into addresses and fields; Django logs the paths that it does not find."""
    client = login(cast.bob)
    key = _create(client, cast)
    everything_logged.clear()
    client.get(f"/o/acme/keys/?key={key}")
    client.get(f"/o/{key}/keys/")
    client.post(f"/o/acme/keys/{key}/revoke/")
    client.post("/o/acme/keys/new/", {"name": "x", "mode": key, "workspace": key, "expires_on": key})
    assert _secret(key) in str([vars(record) for record in everything_logged.records]), "there is something to cut"
    for formatter in (observability.JsonLines(), observability.Text()):
        lines = [formatter.format(record) for record in everything_logged.records]
        assert lines
        assert _secret(key) not in "\n".join(lines)
    assert _secret(key) not in _dump()


def test_a_key_is_refused_as_a_name(cast: Cast, login: Login) -> None:
    client = login(cast.alice)
    key = _create(client, cast)
    production = cast.acme.workspaces.get()
    for url, form in (
        ("/o/acme/keys/new/", {"name": f"bot {key}", "mode": "live", "workspace": production.pk}),
        ("/o/acme/settings/name/", {"name": key}),
        ("/o/acme/settings/workspaces/new/", {"name": key}),
        (f"/o/acme/settings/workspaces/{production.pk}/name/", {f"{production.pk}-name": key}),
        ("/organizations/new/", {"name": key}),
    ):
        answer = client.post(url, form)
        assert answer.status_code == 400
        assert "That is an API key." in answer.content.decode()
    assert _secret(key) not in _dump()


def test_sign_up_refuses_a_key_as_the_name_of_the_organization(cast: Cast, login: Login, client: Client) -> None:
    key = _create(login(cast.alice), cast)
    form = {"email": "dora@example.com", "organization_name": key, "password1": PASSWORD}
    answer = client.post("/accounts/signup/", form)
    assert "That is an API key." in answer.content.decode()
    assert not User.objects.filter(email="dora@example.com").exists()
    assert _secret(key) not in _dump()


def test_tokens_of_links_and_invitations_are_not_stored(
    cast: Cast, login: Login, client: Client, settings: object
) -> None:
    settings.EMAIL_HOST = "mail.example"  # type: ignore[attr-defined]
    login(cast.alice).post("/o/acme/members/invite/", {"email": "dora@example.com", "role": "viewer"})
    invitation = re.search(r"/accounts/invitations/([\w-]+)/", str(mail.outbox[0].body))
    assert invitation is not None
    link = sign_in_links.create(user=cast.alice, now=timezone.now())
    client.get(f"/accounts/invitations/{invitation[1]}/")
    client.get(f"/accounts/link/{link}/")
    dump = _dump()
    assert invitation[1] not in dump
    assert link not in dump
    assert link.partition(".")[0] not in dump


@pytest.mark.parametrize(
    "url_name",
    ["sign_in_link", "invitation", "account_confirm_email", "account_reset_password_from_key"],
)
def test_the_token_of_a_door_is_cut_from_every_line(url_name: str) -> None:
    """The access log has the path of every page, and an invitation still works after it was looked at."""
    token = tokens.make_one_time()
    arguments = {"uidb36": "1", "key": token} if url_name == "account_reset_password_from_key" else {}
    by_name = {"account_confirm_email": {"key": token}}.get(url_name, {"token": token})
    path = reverse(url_name, kwargs=arguments or by_name)
    record = logging.makeLogRecord({"name": "config.pages", "msg": "page %s", "args": (path,), "path": path})
    for formatter in (observability.JsonLines(), observability.Text()):
        assert token not in formatter.format(record)
        assert "[redacted]" in formatter.format(record)


def _dump() -> str:
    """Return every row of every table of ours and of Django's, sessions decoded."""
    from django.contrib.sessions.models import Session

    rows = [str(row) for model in apps.get_models(include_auto_created=True) for row in model._base_manager.values()]
    return "\n".join(rows + [str(session.get_decoded()) for session in Session.objects.all()])


def _create(client: Client, cast: Cast) -> str:
    form = {"name": "canary", "mode": "live", "workspace": cast.acme.workspaces.get().pk, "scopes": ["chat"]}
    return _key_on(client.post("/o/acme/keys/new/", form).content.decode())


def _secret(key: str) -> str:
    """Return the random part: the prefix and the last characters are shown on purpose."""
    return key[8:-6]


def _key_on(page: str) -> str:
    found = tokens.PATTERN.search(page)
    assert found is not None
    return found[0]
