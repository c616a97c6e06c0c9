"""The tables of the gateway: what `auto` means in a workspace, version by version."""

from __future__ import annotations

from django.db import models

from accounts import identifiers


class RoutingPolicy(models.Model):
    """One version of a workspace's policy. The newest version is in force; older ones stay for receipts and
    rollback."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.policy, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.CASCADE, related_name="routing_policies")
    number = models.PositiveIntegerField()
    default_model = models.CharField(max_length=120)
    by_task = models.JSONField(default=dict)  # task type -> model
    baseline_model = models.CharField(max_length=120, blank=True)  # what savings are measured against
    created_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "number"], name="policy_number_is_unique_in_its_workspace")
        ]

    def __str__(self) -> str:
        return f"{self.workspace} v{self.number}"
