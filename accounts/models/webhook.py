"""Webhooks: the addresses that want to hear of events, the events, and what became of each delivery."""

from __future__ import annotations

import datetime as dt

from django.db import models

from accounts import identifiers
from accounts.models.organization import Organization


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    def for_organization(self, organization_id: str) -> WebhookEndpointQuerySet:
        return self.filter(organization_id=organization_id)


class WebhookEndpoint(models.Model):
    """An address of a customer and the types of events that it is sent."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.webhook_endpoint, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    url = models.CharField(max_length=500)
    event_types = models.JSONField(default=list)
    # Encrypted: signing needs the secret itself. The former one signs too until its time is over.
    secret_envelope = models.BinaryField()
    former_secret_envelope = models.BinaryField(default=bytes)
    former_secret_until = models.DateTimeField(null=True)
    is_enabled = models.BooleanField(default=True)
    failing_since_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = WebhookEndpointQuerySet.as_manager()

    def __str__(self) -> str:
        return self.url


class WebhookEvent(models.Model):
    """Something that happened, as it is sent: the bytes are kept, so that every delivery says the same."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.webhook_event, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    type = models.CharField(max_length=60)
    body = models.TextField()
    created_at = models.DateTimeField(db_index=True)  # old events are forgotten

    def __str__(self) -> str:
        return f"{self.type} {self.pk}"


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def for_organization(self, organization_id: str) -> WebhookDeliveryQuerySet:
        return self.filter(endpoint__organization_id=organization_id)

    def due(self, now: dt.datetime) -> WebhookDeliveryQuerySet:
        return self.filter(state=WebhookDelivery.State.WAITING, next_attempt_at__lte=now, endpoint__is_enabled=True)


class WebhookDelivery(models.Model):
    """One event on its way to one endpoint."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.webhook_delivery, editable=False)
    event = models.ForeignKey(WebhookEvent, on_delete=models.CASCADE, related_name="deliveries")
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    status = models.PositiveSmallIntegerField(null=True)  # of the last answer; none: there was no answer
    failure = models.CharField(max_length=300, blank=True)
    latency_ms = models.PositiveIntegerField(null=True)
    next_attempt_at = models.DateTimeField()
    attempted_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        # The worker asks every few seconds what is due.
        indexes = [models.Index(fields=["state", "next_attempt_at"], name="webhook_deliveries_due")]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.endpoint_id}: {self.state}"
