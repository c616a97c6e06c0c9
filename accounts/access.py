"""Who may open a page of an organization, and who acts in a request.

Every view below `/o/<slug>/` wears `organization_view`; the tenancy test fails for one that does not.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, cast

from allauth.account.adapter import get_adapter
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils import timezone

from accounts import audit, roles
from accounts.models import Invitation, Membership, Organization, User

P = ParamSpec("P")

SESSION_ORGANIZATION = "organization_id"
SESSION_INVITATION = "invitation_id"


class MemberRequest(HttpRequest):
    """A request as a view behind `organization_view` gets it."""

    user: User
    organization: Organization
    membership: Membership


OrganizationView = Callable[Concatenate[MemberRequest, Organization, P], HttpResponseBase]
RoutedView = Callable[Concatenate[HttpRequest, str, P], HttpResponseBase]


def organization_view(permission: str | None) -> Callable[[OrganizationView[P]], RoutedView[P]]:
    """Let members of the organization in whose role grants `permission`; None lets every member in.

    The URL pattern names the organization `slug` (`path("o/<slug:slug>/keys/", …)`); the view is
    called as `view(request, organization, …)` with `request.membership` and `request.organization`
    set. Anonymous visitors go to sign-in and come back after it; strangers get 404, as if there
    were no such organization; a role without the permission gets 403.
    """

    def decorate(view: OrganizationView[P]) -> RoutedView[P]:
        @functools.wraps(view)
        def routed(request: HttpRequest, slug: str, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            membership = (
                Membership.objects.select_related("organization", "user")
                .filter(user_id=request.user.pk, organization__slug=slug)
                .first()
            )
            if membership is None:
                raise Http404("No such organization.")
            member_request = cast(MemberRequest, request)
            member_request.membership = membership
            member_request.organization = membership.organization
            if permission is not None and not roles.grants(membership.role, permission):
                raise PermissionDenied("Your role does not allow this. Ask an owner or admin of the organization.")
            remember(request, membership=membership, now=timezone.now())
            return view(member_request, membership.organization, *args, **kwargs)

        routed.permission = permission  # type: ignore[attr-defined]  # read by the tenancy test
        return cast(RoutedView[P], routed)

    return decorate


def remember(request: HttpRequest, *, membership: Membership, now: dt.datetime) -> None:
    """Keep the organization as the current one: in the session, and in the membership for the next sign-in."""
    if request.session.get(SESSION_ORGANIZATION) == membership.organization_id:
        return
    request.session[SESSION_ORGANIZATION] = membership.organization_id
    Membership.objects.filter(pk=membership.pk).update(opened_at=now)


def current_membership(request: HttpRequest) -> Membership | None:
    """Return the membership of the organization that the page is about, else of the one opened last, else None."""
    membership = getattr(request, "membership", None)
    if isinstance(membership, Membership):
        return membership
    if not request.user.is_authenticated:
        return None
    mine = Membership.objects.select_related("organization", "user").filter(user_id=request.user.pk)
    remembered = mine.filter(organization_id=request.session.get(SESSION_ORGANIZATION, "")).first()
    return remembered or mine.newest_visit_first().first()


def pending_invitation(request: HttpRequest, *, now: dt.datetime) -> Invitation | None:
    """Return the invitation whose link the visitor opened in this session, while it is open."""
    invitation_id = request.session.get(SESSION_INVITATION)
    invitation = Invitation.objects.select_related("organization").filter(pk=invitation_id).first()
    return invitation if invitation is not None and invitation.is_open(now) else None


def person(request: HttpRequest) -> User:
    """Return who is signed in; only for views that let nobody else in."""
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")
    return request.user


def actor(request: HttpRequest) -> audit.Actor:
    """Return who is signed in, with their address, as the audit trail wants it."""
    return audit.user(person(request), ip=client_ip(request))


def client_ip(request: HttpRequest) -> str | None:
    """Return the client's address; proxies are believed as far as `ALLAUTH_TRUSTED_PROXY_COUNT` says."""
    try:
        return cast(str, get_adapter().get_client_ip(request))
    except PermissionDenied:
        return None  # a Unix socket has no address
