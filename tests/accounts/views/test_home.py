"""The front door and further organizations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from accounts.models import Organization, User
from tests.factories.accounts import Cast, make_organization, make_user

Login = Callable[[User], Client]

NEW = "/organizations/new/"


def test_an_anonymous_visitor_signs_in(db: None, client: Client) -> None:
    assert client.get("/")["Location"] == "/accounts/login/?next=/"
    assert client.get(NEW)["Location"] == f"/accounts/login/?next={NEW}"


def test_a_member_is_led_to_the_overview(cast: Cast, login: Login) -> None:
    assert login(cast.finn).get("/")["Location"] == "/o/acme/overview/"


def test_the_organization_visited_last_is_opened(cast: Cast, login: Login) -> None:
    second = make_organization("Second", owner=cast.alice)
    login(cast.alice).get(f"/o/{second.slug}/members/")
    assert login(cast.alice).get("/")["Location"] == "/o/second/overview/", "in another browser too"


def test_the_bare_address_of_an_organization_leads_to_its_overview(cast: Cast, login: Login) -> None:
    assert login(cast.finn).get("/o/acme/")["Location"] == "/o/acme/overview/"
    assert login(cast.charlie).get("/o/acme/").status_code == 404
    assert login(cast.finn).post("/o/acme/").status_code == 405


def test_a_role_that_is_not_enough_is_told_so(cast: Cast, login: Login) -> None:
    answer = login(cast.finn).get("/o/acme/keys/")
    assert answer.status_code == 403
    assert "Your role does not allow this. Ask an owner or admin of the organization." in answer.content.decode()


def test_a_form_that_is_too_old_says_what_to_do(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/accounts/login/", {"login": "bob@acme.example", "password": "x"})
    assert answer.status_code == 403
    assert "Go back, reload the page and send it again." in answer.content.decode()


def test_one_without_an_organization_is_asked_to_make_one(db: None, login: Login) -> None:
    assert login(make_user()).get("/")["Location"] == NEW


def test_a_further_organization_belongs_to_who_makes_it(cast: Cast, login: Login) -> None:
    client = login(cast.victor)
    assert client.get(NEW).status_code == 200
    answer = client.post(NEW, {"name": "Victor's"})
    organization = Organization.objects.get(name="Victor's")
    assert answer["Location"] == f"/o/{organization.slug}/overview/"
    assert organization.memberships.get().user == cast.victor
    assert organization.memberships.get().role == "owner"


@pytest.mark.parametrize("name", ["", "   ", "x" * 201])
def test_a_bad_name_makes_no_organization(cast: Cast, login: Login, name: str) -> None:
    before = Organization.objects.count()
    answer = login(cast.victor).post(NEW, {"name": name})
    assert answer.status_code == 400
    assert "field__error" in answer.content.decode()
    assert Organization.objects.count() == before


def test_wrong_methods_are_refused(cast: Cast, login: Login) -> None:
    client = login(cast.victor)
    assert client.post("/").status_code == 405
    assert client.delete(NEW).status_code == 405
