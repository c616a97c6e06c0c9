"""The members page: who belongs to the organization, who is invited, and changing both."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts import access, invitations, memberships, roles
from accounts.forms import InvitationForm, RoleForm
from accounts.models import Invitation, Membership, Organization


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member as the list shows it, with what the reader may do about them."""

    membership: Membership
    is_me: bool
    is_manageable: bool


@require_GET
@access.organization_view(roles.VIEW_COSTS)
def members(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """List members and pending invitations; those who manage members also get the controls."""
    return _page(request, organization)


@never_cache
@require_POST
@access.organization_view(roles.MANAGE_MEMBERS)
def member_invite(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Invite an address. Without a mail server the page shows the link, for the inviter to pass on."""
    form = InvitationForm(request.POST, choices=_grantable_roles(request.membership))
    if not form.is_valid():
        return _page(request, organization, form=form, status=400)
    try:
        new = invitations.invite(
            organization=organization,
            email=form.cleaned_data["email"],
            role=form.cleaned_data["role"],
            by=request.membership,
            actor=access.actor(request),
            now=timezone.now(),
        )
    except (invitations.InvitationError, memberships.MembershipError) as error:
        form.add_error(None, str(error))
        return _page(request, organization, form=form, status=400)
    link = settings.BASE_URL + reverse("invitation", args=[new.token])
    was_sent = invitations.send(invitation=new.invitation, link=link)
    if not settings.EMAIL_HOST:
        return _page(request, organization, new_link=link)
    if was_sent:
        messages.success(request, f"An invitation is on its way to {new.invitation.email}.")
    else:
        messages.error(request, "The mail server did not take the invitation. Invite again in a while.")
    return redirect("members", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_MEMBERS)
def invitation_withdraw(request: access.MemberRequest, organization: Organization, invitation_id: str) -> HttpResponse:
    """Take an invitation back."""
    offer = get_object_or_404(Invitation.objects.for_organization(organization.pk), pk=invitation_id)
    try:
        invitations.withdraw(invitation=offer, by=request.membership, actor=access.actor(request), now=timezone.now())
    except memberships.MembershipError as error:
        return _refusal(request, organization, error)
    messages.success(request, f"The invitation of {offer.email} is withdrawn.")
    return redirect("members", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_MEMBERS)
def member_change_role(request: access.MemberRequest, organization: Organization, membership_id: int) -> HttpResponse:
    """Give a member another role."""
    membership = _member(organization, membership_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose one of the roles.")
        return _page(request, organization, status=400)
    try:
        memberships.change_role(
            membership=membership,
            role=form.cleaned_data["role"],
            by=request.membership,
            actor=access.actor(request),
            now=timezone.now(),
        )
    except memberships.MembershipError as error:
        return _refusal(request, organization, error)
    messages.success(request, f"{membership.user.email} is now {membership.get_role_display().lower()}.")
    return redirect("members", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_MEMBERS)
def member_remove(request: access.MemberRequest, organization: Organization, membership_id: int) -> HttpResponse:
    """End somebody's membership."""
    membership = _member(organization, membership_id)
    try:
        memberships.remove(
            membership=membership, by=request.membership, actor=access.actor(request), now=timezone.now()
        )
    except memberships.MembershipError as error:
        return _refusal(request, organization, error)
    messages.success(request, f"{membership.user.email} is no longer a member.")
    if membership.user_id == request.user.pk:
        return redirect("home")
    return redirect("members", organization.slug)


@require_POST
@access.organization_view(None)
def organization_leave(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """End one's own membership, whatever the role."""
    try:
        memberships.remove(
            membership=request.membership, by=request.membership, actor=access.actor(request), now=timezone.now()
        )
    except memberships.MembershipError as error:
        return _refusal(request, organization, error)
    messages.success(request, f"You have left {organization.name}.")
    return redirect("home")


def _member(organization: Organization, membership_id: int) -> Membership:
    found = Membership.objects.for_organization(organization.pk).select_related("user")
    return get_object_or_404(found, pk=membership_id)


def _refusal(
    request: access.MemberRequest, organization: Organization, error: memberships.MembershipError
) -> HttpResponse:
    messages.error(request, str(error))
    return _page(request, organization, status=403 if isinstance(error, memberships.NotAllowed) else 409)


def _page(
    request: access.MemberRequest,
    organization: Organization,
    *,
    form: InvitationForm | None = None,
    new_link: str = "",
    status: int = 200,
) -> HttpResponse:
    me = request.membership
    context = {
        "rows": _rows(me),
        "pending": Invitation.objects.for_organization(organization.pk).pending().order_by("-created_at", "pk"),
        "now": timezone.now(),
        "form": form or InvitationForm(choices=_grantable_roles(me)),
        "roles": _grantable_roles(me),
        "may_manage": roles.grants(me.role, roles.MANAGE_MEMBERS),
        "new_link": new_link,
    }
    return render(request, "accounts/members.html", context, status=status)


def _rows(me: Membership) -> list[MemberRow]:
    listed = Membership.objects.for_organization(me.organization_id).select_related("user").order_by("user__email")
    return [
        MemberRow(
            membership=membership,
            is_me=membership.pk == me.pk,
            is_manageable=roles.may_manage(me.role, membership.role),
        )
        for membership in listed
    ]


def _grantable_roles(me: Membership) -> list[tuple[str, str]]:
    return [(value, label) for value, label in Membership.Role.choices if roles.may_manage(me.role, value)]
