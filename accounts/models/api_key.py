"""API keys: what a program authenticates with. Only the SHA-256 of a key is stored."""

from __future__ import annotations

from django.db import models

from accounts import identifiers
from accounts.models.organization import Workspace
from accounts.models.user import User


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
    hint = models.CharField(
        max_length=24, editable=False
    )  # what lists show: prefix, ellipsis and the last four characters
    scopes = models.JSONField(default=list)  # e.g. ["chat", "models", "receipts", "feedback"]; empty means all
    replaced_by = models.OneToOneField(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="replaces"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.hint})"
