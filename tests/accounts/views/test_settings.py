"""The settings page: names, workspaces, and the choice of what is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEvent, User, Workspace
from tests.factories.accounts import Cast, make_organization, make_workspace

Login = Callable[[User], Client]

PAGE = "/o/acme/settings/"


@pytest.fixture
def production(cast: Cast) -> Workspace:
    return cast.acme.workspaces.get()


def test_the_owner_sees_names_and_what_is_stored(cast: Cast, login: Login, production: Workspace) -> None:
    page = login(cast.alice).get(PAGE).content.decode()
    for part in ("Acme", "Production", "Store prompts and answers", "Never, unless you switch it on here"):
        assert part in page


def test_an_anonymous_visitor_signs_in_first(cast: Cast, client: Client, production: Workspace) -> None:
    for url, method in _urls(production):
        answer = getattr(client, method)(url)
        assert (answer.status_code, answer["Location"]) == (302, f"/accounts/login/?next={url}")


def test_a_stranger_finds_nothing(cast: Cast, login: Login, production: Workspace) -> None:
    client = login(cast.charlie)
    for url, method in _urls(production):
        assert getattr(client, method)(url).status_code == 404
    for action in ("name", "content"):
        assert client.post(f"/o/other/settings/workspaces/{production.pk}/{action}/").status_code == 404


@pytest.mark.parametrize("role", ["admin", "developer", "finance", "viewer"])
def test_other_roles_are_refused(cast: Cast, login: Login, production: Workspace, role: str) -> None:
    client = login(cast.member(role))
    for url, method in _urls(production):
        assert getattr(client, method)(url).status_code == 403


def test_wrong_methods_are_refused(cast: Cast, login: Login, production: Workspace) -> None:
    client = login(cast.alice)
    for url, method in _urls(production):
        other = "get" if method == "post" else "post"
        assert getattr(client, other)(url).status_code == 405


def test_the_organization_is_renamed(cast: Cast, login: Login) -> None:
    answer = login(cast.alice).post(f"{PAGE}name/", {"name": "Acme Robotics"}, follow=True)
    cast.acme.refresh_from_db()
    assert answer.redirect_chain == [(PAGE, 302)]
    assert (cast.acme.name, cast.acme.slug) == ("Acme Robotics", "acme")


def test_a_demo_is_removed_with_a_click(cast: Cast, login: Login) -> None:
    demo = make_organization("Demo", owner=cast.alice, is_demo=True)
    client = login(cast.alice)
    assert "Remove the demo" in client.get(f"/o/{demo.slug}/settings/").content.decode()
    answer = client.post(f"/o/{demo.slug}/settings/remove/")
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/")["Location"] == "/o/acme/overview/"
    assert "Demo is removed." in client.get(PAGE).content.decode()
    assert client.get(f"/o/{demo.slug}/settings/").status_code == 404


def test_an_organization_that_works_is_not_removed(cast: Cast, login: Login) -> None:
    client = login(cast.alice)
    assert "Remove" not in client.get(PAGE).content.decode()
    assert client.post(f"{PAGE}remove/").status_code == 404
    assert client.get(PAGE).status_code == 200


@pytest.mark.parametrize(("name", "reason"), [("", "This field is required."), ("x" * 201, "at most 200 characters")])
def test_a_bad_name_changes_nothing(cast: Cast, login: Login, production: Workspace, name: str, reason: str) -> None:
    client = login(cast.alice)
    for url, field in (
        (f"{PAGE}name/", "name"),
        (f"{PAGE}workspaces/new/", "name"),
        (f"{PAGE}workspaces/{production.pk}/name/", f"{production.pk}-name"),
    ):
        answer = client.post(url, {field: name})
        assert answer.status_code == 400
        assert answer.content.decode().count(reason) == 1, "the error stands at the form that was sent"
    cast.acme.refresh_from_db()
    assert (cast.acme.name, cast.acme.workspaces.get().name) == ("Acme", "Production")


def test_a_workspace_is_made(cast: Cast, login: Login) -> None:
    answer = login(cast.alice).post(f"{PAGE}workspaces/new/", {"name": "Staging"}, follow=True)
    assert "The workspace Staging is ready. It stores no prompts or answers." in answer.content.decode()
    assert cast.acme.workspaces.get(slug="staging").stores_content is False


def test_a_workspace_is_renamed(cast: Cast, login: Login, production: Workspace) -> None:
    make_workspace(cast.acme, "Staging")
    login(cast.alice).post(f"{PAGE}workspaces/{production.pk}/name/", {f"{production.pk}-name": "Live"})
    assert sorted(cast.acme.workspaces.values_list("name", flat=True)) == ["Live", "Staging"]


def test_content_is_stored_after_the_box_is_ticked(cast: Cast, login: Login, production: Workspace) -> None:
    answer = _choose(login(cast.alice), production, stores_content="on", cap_kib="16", retention_days="7")
    production.refresh_from_db()
    assert "stores prompts and answers from now on" in answer.content.decode()
    assert (production.stores_content, production.content_cap_bytes, production.content_retention_days) == (
        True,
        16384,
        7,
    )
    event = AuditEvent.objects.get(action="workspace.set_content_storage")
    assert event.actor_label == "alice@acme.example"


def test_content_is_not_stored_after_the_box_is_cleared(cast: Cast, login: Login, production: Workspace) -> None:
    client = login(cast.alice)
    _choose(client, production, stores_content="on", cap_kib="16", retention_days="7")
    answer = _choose(client, production, cap_kib="16", retention_days="7")
    production.refresh_from_db()
    assert "stores none of them" in answer.content.decode()
    assert production.stores_content is False


@pytest.mark.parametrize(
    ("cap_kib", "retention_days"),
    [("0", "7"), ("1025", "7"), ("", "7"), ("many", "7"), ("16", "0"), ("16", "366"), ("16", ""), ("1e3", "7")],
)
def test_odd_limits_change_nothing(
    cast: Cast, login: Login, production: Workspace, cap_kib: str, retention_days: str
) -> None:
    answer = _choose(login(cast.alice), production, stores_content="on", cap_kib=cap_kib, retention_days=retention_days)
    production.refresh_from_db()
    assert answer.status_code == 400
    assert "field__error" in answer.content.decode()
    assert production.stores_content is False


def _choose(client: Client, workspace: Workspace, **values: str) -> Any:
    fields = {f"{workspace.pk}-{name}": value for name, value in values.items()}
    return client.post(f"{PAGE}workspaces/{workspace.pk}/content/", fields, follow=True)


def _urls(workspace: Workspace) -> list[tuple[str, str]]:
    return [
        (PAGE, "get"),
        (f"{PAGE}name/", "post"),
        (f"{PAGE}remove/", "post"),
        (f"{PAGE}workspaces/new/", "post"),
        (f"{PAGE}workspaces/{workspace.pk}/name/", "post"),
        (f"{PAGE}workspaces/{workspace.pk}/content/", "post"),
    ]
