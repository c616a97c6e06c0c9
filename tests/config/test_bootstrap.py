"""`manage.py bootstrap`: the contract that scripts rely on."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client

from accounts import tokens
from accounts.models import ApiKey, Organization, User

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_provider(settings: Any) -> None:
    settings.PROVIDER_SETTINGS = {}


def test_the_first_run_makes_owner_organization_keys_and_link(client: Client) -> None:
    result = _run()
    assert list(result) == ["organization", "owner_email", "sign_in_link", "api_key", "test_api_key", "live_api_key"]
    assert (result["organization"], result["owner_email"]) == ("Acme", "owner@acme.example")
    assert tokens.parse(result["test_api_key"]).mode == "test"
    assert tokens.parse(result["live_api_key"]).mode == "live"
    stored = set(ApiKey.objects.values_list("sha256", flat=True))
    assert stored == {tokens.sha256(result["test_api_key"]), tokens.sha256(result["live_api_key"])}
    assert result["sign_in_link"].startswith("http://127.0.0.1:")
    client.get(urlsplit(result["sign_in_link"]).path)
    assert client.get("/o/acme/keys/").status_code == 200


def test_without_a_provider_the_test_key_works_now() -> None:
    result = _run()
    assert result["api_key"] == result["test_api_key"]


@pytest.mark.parametrize("setting", ["API_KEY", "BASE_URL"])
def test_with_a_provider_the_live_key_works_now(settings: Any, setting: str) -> None:
    value = {"API_KEY": "sk-provider", "BASE_URL": "http://127.0.0.1:9/v1"}[setting]
    settings.PROVIDER_SETTINGS = {f"KAIROS_PROVIDER_OPENAI_{setting}": value}
    result = _run()
    assert result["api_key"] == result["live_api_key"]


def test_a_second_run_changes_nothing_and_gives_a_new_link() -> None:
    first, second = _run(), _run("--email", "OWNER@acme.example")
    assert {name: second[name] for name in ("api_key", "test_api_key", "live_api_key")} == {
        "api_key": None,
        "test_api_key": None,
        "live_api_key": None,
    }
    assert second["sign_in_link"] != first["sign_in_link"]
    assert (User.objects.count(), Organization.objects.count(), ApiKey.objects.count()) == (1, 1, 2)


def test_new_keys_come_beside_the_old_ones() -> None:
    first, second = _run(), _run("--new-keys")
    assert second["api_key"] not in {None, first["api_key"]}
    assert ApiKey.objects.filter(revoked_at=None).count() == 4


def test_a_second_organization_of_the_same_owner_is_another_one() -> None:
    _run()
    assert _run("--organization", "Zeta")["api_key"] is not None
    assert sorted(Organization.objects.values_list("slug", flat=True)) == ["acme", "zeta"]


def test_an_organization_of_somebody_else_is_not_taken_over() -> None:
    _run()
    _run("--email", "mallory@example.com")
    assert Organization.objects.get(slug="acme").memberships.get().user.email == "owner@acme.example"
    assert Organization.objects.get(slug="acme-2").memberships.get().user.email == "mallory@example.com"


def test_for_people_it_prints_lines() -> None:
    out = _text()
    assert "Acme, owned by owner@acme.example" in out
    assert "API key that works now (no provider is configured: the simulator answers): kr_test_" in out
    assert "--new-keys makes new ones" in _text()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["--email", "owner"], "is not an e-mail address"),
        (["--organization", "  "], "Give the organization a name"),
    ],
)
def test_bad_input_is_refused_in_words_and_leaves_nothing(changes: list[str], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        _run(*changes)
    assert User.objects.count() == Organization.objects.count() == ApiKey.objects.count() == 0


def test_an_unusable_provider_setting_is_told_before_anything_is_made(settings: Any) -> None:
    settings.PROVIDER_SETTINGS = {"KAIROS_PROVIDER_OPENAI_BASE_URL": "not a url"}
    with pytest.raises(CommandError, match="KAIROS_PROVIDER_OPENAI_BASE_URL"):
        _run()
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_database_without_our_tables_is_told_in_words() -> None:
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes()  # other apps' tables go along, and come back
    MigrationExecutor(connection).migrate([("accounts", "0001_initial")])
    try:
        with pytest.raises(CommandError, match=r"Run `python manage\.py migrate` first\."):
            _run()
    finally:
        MigrationExecutor(connection).migrate(newest)


def _text(*changes: str) -> str:
    out = io.StringIO()
    arguments = ["--organization", "Acme", "--email", "owner@acme.example", *changes]
    call_command("bootstrap", *arguments, stdout=out)
    return out.getvalue()


def _run(*changes: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_text("--json", *changes))
    return answer
