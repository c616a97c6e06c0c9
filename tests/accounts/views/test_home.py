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
