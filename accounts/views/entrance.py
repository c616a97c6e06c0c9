"""Doors that a token opens: the operator's one-time sign-in link and invitations."""

from __future__ import annotations

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from accounts import access, invitations, sign_in_links
from accounts.models import Invitation

_BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@never_cache
@require_GET  # a HEAD, as link checkers send it, must not use the link up
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """Sign in whoever holds the link, once."""
    try:
        user = sign_in_links.redeem(token=token, now=timezone.now())
    except sign_in_links.LinkRefused as error:
        return render(request, "accounts/link_refused.html", {"reason": str(error)}, status=404)
    login(request, user, backend=_BACKEND)
    return redirect("home")


@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Show an invitation; take it up by POST once the invited person is signed in."""
    try:
        offer = invitations.find_open(token=token, now=timezone.now())
    except invitations.InvitationClosed as error:
        return render(request, "accounts/link_refused.html", {"reason": str(error)}, status=404)
    if not request.user.is_authenticated:
        _prepare_sign_up(request, offer)
    elif request.method == "POST":
        return _accept(request, offer)
    return _page(request, offer)


def _prepare_sign_up(request: HttpRequest, offer: Invitation) -> None:
    request.session[access.SESSION_INVITATION] = offer.pk
    if settings.EMAIL_HOST:
        # The link was only ever in a mail to that address: whoever has it reads the mailbox, no second mail needed.
        get_adapter().stash_verified_email(request, offer.email)


def _accept(request: HttpRequest, offer: Invitation) -> HttpResponse:
    try:
        invitations.accept(
            invitation=offer, user=access.person(request), actor=access.actor(request), now=timezone.now()
        )
    except invitations.InvitationError as error:
        return _page(request, offer, reason=str(error), status=409)
    request.session.pop(access.SESSION_INVITATION, None)
    messages.success(request, f"You are now a member of {offer.organization.name}.")
    return redirect("overview", offer.organization.slug)


def _page(request: HttpRequest, offer: Invitation, *, reason: str = "", status: int = 200) -> HttpResponse:
    is_for_me = request.user.is_authenticated and access.person(request).email.lower() == offer.email
    context = {"invitation": offer, "inviting": offer.organization, "is_for_me": is_for_me, "reason": reason}
    return render(request, "accounts/invitation.html", context, status=status)
