"""The audit trail: who changed what, when and from where. Append-only."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models

from accounts import identifiers


class AuditTrailIsAppendOnly(Exception):
    """Code tried to change or delete an audit event."""


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def for_organization(self, organization_id: str) -> AuditEventQuerySet:
        return self.filter(organization_id=organization_id)

    def update(self, **fields: Any) -> NoReturn:
        raise AuditTrailIsAppendOnly("Audit events cannot be changed.")

    def delete(self) -> NoReturn:
        raise AuditTrailIsAppendOnly("Audit events cannot be deleted.")


class AuditEvent(models.Model):
    """One thing that one actor did. A database trigger (migration 0003) refuses every UPDATE.

    The trigger does not refuse DELETE: a retention job will have to delete old rows, and the
    test runner empties tables. Ids are plain strings: the trail outlives what it speaks of.
    """

    class ActorKind(models.TextChoices):
        USER = "user", "User"
        API_KEY = "api_key", "API key"
        SYSTEM = "system", "System"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.audit_event, editable=False)
    organization_id = models.CharField(max_length=40, blank=True)
    actor_kind = models.CharField(max_length=10, choices=ActorKind.choices)
    actor_id = models.CharField(max_length=40, blank=True)
    actor_label = models.CharField(max_length=254)  # the e-mail address or key hint at that time
    ip = models.GenericIPAddressField(null=True, blank=True)
    action = models.CharField(max_length=60)  # noun.verb, such as api_key.create
    object_type = models.CharField(max_length=40)
    object_id = models.CharField(max_length=40)
    object_label = models.CharField(max_length=254, blank=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    at = models.DateTimeField()

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        indexes = [
            # the trail of an organization, newest first
            models.Index(fields=["organization_id", "-at"], name="audit_by_org_and_time"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_label}: {self.action} {self.object_label}"

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AuditTrailIsAppendOnly("Audit events cannot be deleted.")
