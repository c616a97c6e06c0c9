"""Invitations to an organization and one-time sign-in links. Only the SHA-256 of a token is stored."""

from __future__ import annotations

import datetime as dt

from django.db import models
from django.db.models import Q

from accounts import identifiers
from accounts.models.organization import Membership, Organization
from accounts.models.user import User


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def for_organization(self, organization_id: str) -> InvitationQuerySet:
        return self.filter(organization_id=organization_id)

    def pending(self) -> InvitationQuerySet:
        """Return those that nobody accepted or withdrew; some of them may have expired."""
        return self.filter(accepted_at=None, revoked_at=None)


class Invitation(models.Model):
    """A seat in an organization, offered to one e-mail address until it expires."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.invitation, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="invitations")
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    email = models.EmailField()  # lower case
    role = models.CharField(max_length=20, choices=Membership.Role.choices)
    sha256 = models.CharField(max_length=64, unique=True, editable=False)  # hex, of the token in the mail
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "email"],
                condition=Q(accepted_at=None, revoked_at=None),
                name="one_pending_invitation_per_address",
            )
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.organization}: {self.role}"

    def is_open(self, now: dt.datetime) -> bool:
        return self.accepted_at is None and self.revoked_at is None and now < self.expires_at


class SignInLink(models.Model):
    """A link that signs one user in once, made by whoever operates the installation."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.sign_in_link, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    sha256 = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"sign-in link for {self.user}"
