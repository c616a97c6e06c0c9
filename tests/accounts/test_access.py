"""The guard of every organization page, tried on a view of its own."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.test import RequestFactory

from accounts import access, context_processors, roles
from accounts.models import Membership, Organization, User
from tests.factories.accounts import Cast, make_membership, make_organization, make_workspace


@access.organization_view(roles.MANAGE_KEYS)
def keys_page(request: access.MemberRequest, organization: Organization, number: int = 0) -> HttpResponse:
    return HttpResponse(f"{organization.name} {request.membership.role} {request.organization.slug} {number}")


@access.organization_view(None)
def any_member_page(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    return HttpResponse("in")


def _request(user: User | None, session: SessionStore | None = None) -> HttpRequest:
    request = RequestFactory().get("/o/acme/keys/?page=2", REMOTE_ADDR="192.0.2.7")
    request.user = user or AnonymousUser()
    request.session = session if session is not None else SessionStore()
    return request


def test_a_member_with_the_permission_gets_in(cast: Cast) -> None:
    answer = keys_page(_request(cast.bob), "acme", number=7)
    assert answer.content == b"Acme developer acme 7"  # type: ignore[attr-defined]


def test_an_anonymous_visitor_comes_back_after_sign_in(cast: Cast) -> None:
    answer = keys_page(_request(None), "acme")
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/?next=/o/acme/keys/%3Fpage%3D2")


def test_a_stranger_cannot_tell_an_organization_from_none(cast: Cast) -> None:
    reasons = []
    for slug in ("acme", "no-such-organization"):
        with pytest.raises(Http404) as refusal:
            keys_page(_request(cast.charlie), slug)
        reasons.append(str(refusal.value))
    assert reasons[0] == reasons[1]


@pytest.mark.parametrize("role", ["finance", "viewer"])
def test_a_role_without_the_permission_is_refused(cast: Cast, role: str) -> None:
    with pytest.raises(PermissionDenied, match="Your role does not allow this"):
        keys_page(_request(cast.member(role)), "acme")


@pytest.mark.parametrize("role", roles.ROLES)
def test_no_permission_means_every_member(cast: Cast, role: str) -> None:
    assert any_member_page(_request(cast.member(role)), "acme").status_code == 200


def test_a_removed_member_is_a_stranger_at_once(cast: Cast) -> None:
    Membership.objects.filter(user=cast.bob).delete()
    with pytest.raises(Http404):
        keys_page(_request(cast.bob), "acme")


def test_the_organization_opened_last_is_remembered_beyond_the_session(cast: Cast) -> None:
    second = make_organization("Second", owner=cast.alice)
    session = SessionStore()
    any_member_page(_request(cast.alice, session), second.slug)
    assert access.current_membership(_request(cast.alice, session)).organization == second  # type: ignore[union-attr]
    assert access.current_membership(_request(cast.alice)).organization == second  # type: ignore[union-attr]
    any_member_page(_request(cast.alice, session), "acme")
    assert access.current_membership(_request(cast.alice)).organization == cast.acme  # type: ignore[union-attr]


def test_a_remembered_organization_that_one_has_left_is_forgotten(cast: Cast) -> None:
    second = make_organization("Second", owner=cast.charlie)
    membership = make_membership(second, cast.alice)
    session = SessionStore()
    any_member_page(_request(cast.alice, session), second.slug)
    membership.delete()
    assert access.current_membership(_request(cast.alice, session)).organization == cast.acme  # type: ignore[union-attr]


def test_before_any_visit_ones_own_organization_comes_before_the_demo(cast: Cast) -> None:
    newcomer = make_membership(make_organization("Demo", is_demo=True)).user
    mine = make_organization("Mine", owner=newcomer)
    assert access.current_membership(_request(newcomer)).organization == mine  # type: ignore[union-attr]


def test_the_actor_is_the_user_with_the_address(cast: Cast) -> None:
    actor = access.actor(_request(cast.bob))
    assert (actor.kind, actor.label, actor.ip) == ("user", "bob@acme.example", "192.0.2.7")


def test_a_forwarded_address_is_believed_only_behind_a_known_proxy(cast: Cast, settings: object) -> None:
    request = _request(cast.bob)
    request.META["HTTP_X_FORWARDED_FOR"] = "203.0.113.9"
    assert access.client_ip(request) == "192.0.2.7"
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1  # type: ignore[attr-defined]
    assert access.client_ip(request) == "203.0.113.9"


def test_a_unix_socket_has_no_address(cast: Cast) -> None:
    request = _request(cast.bob)
    request.META["REMOTE_ADDR"] = ""
    assert access.client_ip(request) is None


def test_templates_know_organization_rights_and_alternatives(cast: Cast) -> None:
    make_organization("Zeta", owner=cast.bob)
    make_organization("Demo", owner=cast.bob, is_demo=True)
    make_workspace(cast.acme, "Staging")
    request = _request(cast.bob)
    keys_page(request, "acme")
    known = context_processors.organization(request)
    assert known["organization"] == cast.acme
    assert known["membership"].role == "developer"
    assert "manage_keys" in known["permissions"]
    assert "manage_members" not in known["permissions"]
    assert [organization.name for organization in known["organizations"]] == ["Acme", "Zeta", "Demo"]
    assert [workspace.name for workspace in known["workspaces"]] == ["Production", "Staging"]


def test_templates_of_anonymous_pages_know_nothing(db: None) -> None:
    known = context_processors.organization(_request(None))
    assert not known["organization"]
    assert not known["membership"]
    assert not known["permissions"]
    assert list(known["organizations"]) == list(known["workspaces"]) == []


def test_what_a_template_does_not_ask_for_is_not_looked_up(cast: Cast, django_assert_num_queries: object) -> None:
    request = _request(cast.bob)
    with django_assert_num_queries(0):  # type: ignore[operator]
        context_processors.organization(request)
    known = context_processors.organization(request)
    keys_page(request, "acme")
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert known["organization"].name == "Acme"
        assert known["permissions"]
