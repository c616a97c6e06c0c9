"""Organizations, their workspaces, and who belongs to them with which role."""

from __future__ import annotations

from django.db import models
from django.db.models import F

from accounts import identifiers, roles
from accounts.models.user import User


class Organization(models.Model):
    """A customer: the unit of tenancy, billing and sign-in policy."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.organization, editable=False)
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=80, unique=True)
    is_demo = models.BooleanField(default=False)
    time_zone = models.CharField(max_length=64, default="UTC")  # IANA name; budgets reset at its midnight
    created_at = models.DateTimeField(auto_now_add=True)
    # The data plane's snapshot re-reads rows whose changed_at moved.
    changed_at = models.DateTimeField(auto_now=True, db_index=True)

    def __str__(self) -> str:
        return self.name


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    def for_organization(self, organization_id: str) -> WorkspaceQuerySet:
        return self.filter(organization_id=organization_id)


class Workspace(models.Model):
    """A part of an organization with its own keys, policy and content setting (production, staging, a team)."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.workspace, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="workspaces")
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=80)
    # Prompt and completion content is not stored unless the workspace opts in.
    stores_content = models.BooleanField(default=False)
    content_cap_bytes = models.PositiveIntegerField(default=65536)
    content_retention_days = models.PositiveIntegerField(default=30)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "slug"], name="workspace_slug_is_unique_in_its_organization"
            )
        ]

    def __str__(self) -> str:
        return self.name


class MembershipQuerySet(models.QuerySet["Membership"]):
    def for_organization(self, organization_id: str) -> MembershipQuerySet:
        return self.filter(organization_id=organization_id)

    def newest_visit_first(self) -> MembershipQuerySet:
        """Order by the organization opened last; those never opened follow, customers before the demo."""
        return self.order_by(F("opened_at").desc(nulls_last=True), "organization__is_demo", "created_at", "pk")


class Membership(models.Model):
    """A user's role in an organization, in all its workspaces."""

    class Role(models.TextChoices):
        OWNER = roles.OWNER, "Owner"
        ADMIN = roles.ADMIN, "Admin"
        DEVELOPER = roles.DEVELOPER, "Developer"
        FINANCE = roles.FINANCE, "Finance"
        VIEWER = roles.VIEWER, "Viewer"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices)
    opened_at = models.DateTimeField(null=True, blank=True)  # when the user last switched to the organization
    created_at = models.DateTimeField(auto_now_add=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "user"], name="membership_is_unique")]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}: {self.role}"
