"""API keys: what a program authenticates with. Only the SHA-256 of a key is stored."""

from __future__ import annotations

import datetime as dt

from django.db import models
from django.db.models import Q

from accounts import identifiers
from accounts.models.organization import Workspace
from accounts.models.user import User


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def for_organization(self, organization_id: str) -> ApiKeyQuerySet:
        return self.filter(workspace__organization_id=organization_id)

    def usable(self, now: dt.datetime) -> ApiKeyQuerySet:
        """Return the keys that the data plane accepts at `now`."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None, disabled_at=None)


class ApiKey(models.Model):
    """A key of a workspace. `kr_live_` keys reach providers, `kr_test_` keys only the simulator."""

    class Mode(models.TextChoices):
        LIVE = "live", "Live"
        TEST = "test", "Test"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.api_key, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="api_keys")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=200)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    sha256 = models.CharField(max_length=64, unique=True, editable=False)  # hex; the data plane looks keys up by it
    # What lists show: the prefix, an ellipsis and the last four characters.
    hint = models.CharField(max_length=24, editable=False)
    scopes = models.JSONField(default=list)  # e.g. ["chat", "models", "receipts", "feedback"]; empty means all
    # guardrails; None: none
    quality_floor = models.FloatField(null=True, blank=True)  # 0..1
    max_cost_per_request_nanousd = models.BigIntegerField(null=True, blank=True)
    has_plain_budget_errors = models.BooleanField(default=False)  # 429 BUDGET_EXCEEDED instead of 403
    replaced_by = models.OneToOneField(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="replaces"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)  # refused like a revoked key, until it is enabled again
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(quality_floor=None) | Q(quality_floor__gte=0, quality_floor__lte=1),
                name="quality_floor_is_a_share",
            ),
            models.CheckConstraint(
                condition=Q(max_cost_per_request_nanousd=None) | Q(max_cost_per_request_nanousd__gt=0),
                name="max_cost_per_request_is_positive",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint})"

    @property
    def has_guardrails(self) -> bool:
        return self.quality_floor is not None or self.max_cost_per_request_nanousd is not None

    def state(self, now: dt.datetime) -> str:
        """Return `revoked`, `disabled`, `expired`, `replaced` (it works until it expires) or `active`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.disabled_at is not None:
            return "disabled"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "replaced" if self.replaced_by_id else "active"
