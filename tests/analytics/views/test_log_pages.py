"""What holds for every page over calls: who may open it, what it says without calls, without a store, to bad input."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from accounts.models import User
from analytics.clickhouse import client as log_store_client
from analytics.clickhouse.errors import QueryRefused, StoreUnavailable
from tests.factories.accounts import Cast, make_membership, make_organization

Login = Callable[[User], Client]

PAGES = ("overview", "requests", "costs", "onboarding")
FILES = ("requests_csv", "costs_csv", "onboarding_status")
REQUESTS_ONLY = {"requests", "requests_csv", "onboarding", "onboarding_status"}


def url(name: str, slug: str = "acme") -> str:
    return reverse(name, args=[slug])


@pytest.fixture
def broken_store(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Return a function that lets the log store fail as its driver does."""

    def fail_with(error: Exception) -> None:
        def refuse(*_: object) -> None:
            raise error

        monkeypatch.setattr(log_store_client._Connection, "open", refuse)

    return fail_with


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
@pytest.mark.parametrize("name", [*PAGES, *FILES])
@pytest.mark.parametrize("who", ["alice", "adam", "bob", "finn", "victor"])
def test_members_get_in_as_their_role_allows(cast: Cast, login: Login, name: str, who: str) -> None:
    answer = login(getattr(cast, who)).get(url(name))
    assert answer.status_code == (403 if who == "finn" and name in REQUESTS_ONLY else 200)


@pytest.mark.parametrize("name", [*PAGES, *FILES])
def test_an_anonymous_visitor_is_sent_to_sign_in(cast: Cast, client: Client, name: str) -> None:
    answer = client.get(url(name))
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/?next=")


@pytest.mark.parametrize("name", [*PAGES, *FILES])
def test_a_stranger_finds_nothing(cast: Cast, login: Login, name: str) -> None:
    assert login(cast.charlie).get(url(name)).status_code == 404


@pytest.mark.parametrize("name", [*PAGES, *FILES])
def test_pages_are_only_read(cast: Cast, login: Login, name: str) -> None:
    assert login(cast.alice).post(url(name)).status_code == 405


@pytest.mark.parametrize("name", ["overview", "requests", "costs", "requests_csv", "costs_csv"])
def test_bad_filters_are_explained(cast: Cast, login: Login, name: str) -> None:
    answer = login(cast.alice).get(url(name), {"modle": "<script>alert(1)</script>"})
    assert answer.status_code == 400
    text = answer.content.decode()
    assert "There is no filter" in text
    if answer["Content-Type"].startswith("text/html"):
        assert "<script>alert" not in text


@pytest.mark.parametrize("name", PAGES)
def test_a_page_stands_while_the_log_store_is_down(
    cast: Cast, login: Login, broken_store: Callable[[Exception], None], name: str
) -> None:
    broken_store(StoreUnavailable("ClickHouse does not answer."))
    answer = login(cast.alice).get(url(name))
    assert answer.status_code == 503
    assert "The log store does not answer" in answer.content.decode()


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_so_while_the_log_store_is_down(
    cast: Cast, login: Login, broken_store: Callable[[Exception], None], name: str
) -> None:
    broken_store(StoreUnavailable("ClickHouse does not answer."))
    answer = login(cast.alice).get(url(name))
    assert answer.status_code == 503
    assert "log store does not answer" in answer.content.decode()


def test_a_question_that_is_too_large_says_how_to_ask_less(
    cast: Cast, login: Login, broken_store: Callable[[Exception], None]
) -> None:
    broken_store(QueryRefused("ClickHouse error 159: secret details", code=159))
    answer = login(cast.alice).get(url("overview"))
    assert answer.status_code == 503
    assert "Choose a shorter range or fewer filters" in answer.content.decode()
    assert "secret details" not in answer.content.decode()


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
@pytest.mark.parametrize("name", ["overview", "requests", "costs"])
def test_without_calls_a_page_says_how_to_send_one(cast: Cast, login: Login, name: str) -> None:
    text = login(cast.alice).get(url(name)).content.decode()
    assert "No calls in the last 7 days" in text
    assert url("onboarding") in text


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_inline_styles_scripts_or_handlers(cast: Cast, login: Login, name: str) -> None:
    answer = login(cast.alice).get(url(name))
    text = answer.content.decode()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    for attributes in re.findall(r"<script([^>]*)>", text):
        assert "src=" in attributes or 'type="application/json"' in attributes
    assert "'unsafe-inline'" not in answer["Content-Security-Policy"]


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
@pytest.mark.parametrize(
    ("cookie", "expected"), [("dark", 'data-theme="dark"'), ("light", 'data-theme="light"'), ("x", "")]
)
def test_the_chosen_theme_is_in_the_first_byte_of_the_page(
    cast: Cast, login: Login, cookie: str, expected: str
) -> None:
    browser = login(cast.alice)
    browser.cookies["kr_theme"] = cookie
    opening = re.search(r"<html[^>]*>", browser.get(url("overview")).content.decode())
    assert opening is not None
    assert (expected in opening[0]) if expected else ("data-theme" not in opening[0])


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
def test_the_sidebar_shows_what_the_role_may_open(cast: Cast, login: Login) -> None:
    finance = login(cast.finn).get(url("overview")).content.decode()
    assert f'href="{url("costs")}"' in finance
    assert f'href="{url("requests")}"' not in finance
    developer = login(cast.bob).get(url("requests")).content.decode()
    assert re.search(rf'href="{url("requests")}" aria-current="page"', developer)


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
def test_the_switcher_lists_ones_own_organizations_only(cast: Cast, login: Login) -> None:
    make_membership(make_organization("Second House"), cast.bob)
    text = login(cast.bob).get(url("overview")).content.decode()
    assert url("overview", "second-house") in text
    assert url("overview", "other") not in text


def test_the_styleguide_is_not_served_in_production(client: Client) -> None:
    assert not settings.DEBUG
    assert client.get("/styleguide/").status_code == 404


def test_the_styleguide_shows_every_component(client: Client, settings: object) -> None:
    settings.DEBUG = True  # type: ignore[attr-defined]
    answer = client.get("/styleguide/")
    assert answer.status_code == 200
    assert b"simulated" in answer.content
