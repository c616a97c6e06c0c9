"""Webhooks of an organization: its endpoints, their secrets, and the events that are emitted to them.

`emit` writes into the transaction of what happened, so an event exists exactly when its cause does. Sending is
`accounts.webhook_deliveries`.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.db import transaction

from accounts import audit, encryption, identifiers, outbound
from accounts.models import Organization, WebhookDelivery, WebhookEndpoint, WebhookEvent

API_KEY_CREATED = "api_key.created"
API_KEY_REVOKED = "api_key.revoked"
BUDGET_ALERT = "budget.alert"
PROVIDER_STATE_CHANGED = "provider.state_changed"
FALLBACK_USED = "provider_credential.fallback_used"
TEST = "webhook.test"

# What a customer can choose, and what it says; the test is sent to whoever asks for it.
TYPES: dict[str, str] = {
    API_KEY_CREATED: "An API key was created",
    API_KEY_REVOKED: "An API key was revoked",
    BUDGET_ALERT: "A budget passed one of its alert marks",
    PROVIDER_STATE_CHANGED: "A provider became unhealthy, or healthy again",
    FALLBACK_USED: "A call went to a managed key because your own failed",
}
MOST_ENDPOINTS = 10
FORMER_SECRET_LIFETIME = dt.timedelta(hours=24)

_PURPOSE = "webhook-secret"


class InvalidWebhook(ValueError):
    """The endpoint cannot be kept like that; the message says what can."""


@dataclass(frozen=True, slots=True)
class NewSecret:
    """An endpoint's secret at the only moment when it is shown."""

    endpoint: WebhookEndpoint
    secret: str = field(repr=False)


def emit(
    *, organization_id: str, event_type: str, data: Mapping[str, Any], now: dt.datetime, once: str = ""
) -> WebhookEvent | None:
    """Tell the organization's endpoints that something happened; None when no endpoint wants to hear of it.

    Call it in the transaction of what happened. `data` is JSON and holds no secret. `once` names the occurrence: a
    second event of the same name, within the month that events are kept, is not emitted.
    """
    wanting = [
        endpoint
        for endpoint in WebhookEndpoint.objects.for_organization(organization_id).filter(is_enabled=True)
        if event_type in endpoint.event_types
    ]
    return _emit(organization_id, event_type, data, wanting, now, once) if wanting else None


def emit_everywhere(*, event_type: str, data: Mapping[str, Any], now: dt.datetime, once: str = "") -> int:
    """Tell every organization that wants to hear of it, what concerns them all; return how many."""
    wanting: dict[str, list[WebhookEndpoint]] = {}
    for endpoint in WebhookEndpoint.objects.filter(is_enabled=True):
        if event_type in endpoint.event_types:
            wanting.setdefault(endpoint.organization_id, []).append(endpoint)
    for organization_id, endpoints in wanting.items():
        _emit(organization_id, event_type, data, endpoints, now, once)
    return len(wanting)


def add(
    *, organization: Organization, url: str, event_types: Iterable[str], actor: audit.Actor, now: dt.datetime
) -> NewSecret:
    """Add an endpoint; its secret is in the answer and shown nowhere else.

    Raises:
        InvalidWebhook: the address may not be reached, no type or an unknown one is chosen, or there are too many.
    """
    chosen = _sound(url, event_types)
    if WebhookEndpoint.objects.for_organization(organization.pk).count() >= MOST_ENDPOINTS:
        raise InvalidWebhook(f"An organization has at most {MOST_ENDPOINTS} webhooks. Remove one first.")
    secret = _new_secret()
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.create(
            organization=organization, url=url.strip(), event_types=chosen, secret_envelope=_sealed(secret)
        )
        audit.change(endpoint, "webhook.add", actor=actor, now=now, after=_facts(endpoint))
    return NewSecret(endpoint, secret)


def change(
    *, endpoint: WebhookEndpoint, url: str, event_types: Iterable[str], actor: audit.Actor, now: dt.datetime
) -> None:
    """Change where events go, and which. Raises `InvalidWebhook` as `add`."""
    chosen = _sound(url, event_types)
    with transaction.atomic():
        current = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        before = _facts(current)
        current.url, current.event_types = url.strip(), chosen
        current.save(update_fields=["url", "event_types"])
        audit.change(current, "webhook.change", actor=actor, now=now, before=before, after=_facts(current))


def rotate(*, endpoint: WebhookEndpoint, actor: audit.Actor, now: dt.datetime) -> NewSecret:
    """Give an endpoint a new secret. The former one signs too for a day, so that no delivery is refused meanwhile."""
    secret = _new_secret()
    with transaction.atomic():
        current = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        current.former_secret_envelope = current.secret_envelope
        current.former_secret_until = now + FORMER_SECRET_LIFETIME
        current.secret_envelope = _sealed(secret)
        current.save(update_fields=["former_secret_envelope", "former_secret_until", "secret_envelope"])
        audit.change(current, "webhook.rotate", actor=actor, now=now)
    return NewSecret(current, secret)


def pause(*, endpoint: WebhookEndpoint, is_paused: bool, actor: audit.Actor, now: dt.datetime) -> None:
    """Stop sending, or go on. What happens while an endpoint is paused is not sent later; what waits is."""
    with transaction.atomic():
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(is_enabled=not is_paused)
        audit.change(endpoint, "webhook.pause" if is_paused else "webhook.resume", actor=actor, now=now)


def remove(*, endpoint: WebhookEndpoint, actor: audit.Actor, now: dt.datetime) -> None:
    """Remove an endpoint with its deliveries."""
    with transaction.atomic():
        audit.change(endpoint, "webhook.remove", actor=actor, now=now, before=_facts(endpoint))
        endpoint.delete()


def attempt(*, endpoint: WebhookEndpoint, now: dt.datetime) -> WebhookEvent:
    """Send a test event to one endpoint, whatever types it chose. It is delivered as every other one is."""
    return _emit(endpoint.organization_id, TEST, {"message": "This is a test."}, [endpoint], now, "")


def resend(*, delivery: WebhookDelivery, now: dt.datetime) -> None:
    """Send a delivery again, from its first attempt on: the same event with the same id."""
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        state=WebhookDelivery.State.WAITING, attempts=0, next_attempt_at=now
    )


def signing_secrets(endpoint: WebhookEndpoint, *, now: dt.datetime) -> list[str]:
    """Return the secrets that a delivery is signed under, the current one first.

    Raises:
        accounts.encryption.KeyringError: the master key that they were kept under is gone.
    """
    envelopes = [endpoint.secret_envelope]
    if endpoint.former_secret_until is not None and now < endpoint.former_secret_until:
        envelopes.append(endpoint.former_secret_envelope)
    return [
        encryption.deployment_keyring().decrypt(bytes(envelope), purpose=_PURPOSE).decode() for envelope in envelopes
    ]


def _emit(
    organization_id: str,
    event_type: str,
    data: Mapping[str, Any],
    endpoints: Iterable[WebhookEndpoint],
    now: dt.datetime,
    once: str,
) -> WebhookEvent:
    event_id = (
        identifiers.derived("evt", f"{organization_id}|{event_type}|{once}") if once else identifiers.webhook_event()
    )
    with transaction.atomic():
        event, is_new = WebhookEvent.objects.get_or_create(
            pk=event_id,
            defaults={
                "organization_id": organization_id,
                "type": event_type,
                "body": orjson.dumps(
                    {
                        "id": event_id,
                        "object": "event",
                        "type": event_type,
                        "created": int(now.timestamp()),
                        "organization_id": organization_id,
                        "data": dict(data),
                    }
                ).decode(),
                "created_at": now,
            },
        )
        if is_new:
            WebhookDelivery.objects.bulk_create(
                WebhookDelivery(event=event, endpoint=endpoint, next_attempt_at=now, created_at=now)
                for endpoint in endpoints
            )
    return event


def _sound(url: str, event_types: Iterable[str]) -> list[str]:
    wanted = set(event_types)
    unknown = sorted(wanted - set(TYPES))
    if unknown:
        raise InvalidWebhook(f"There is no event {unknown[0]!r}. Choose from: {', '.join(TYPES)}.")
    if not wanted:
        raise InvalidWebhook("Choose at least one event.")
    try:
        outbound.check(url.strip())
    except outbound.Refused as error:
        raise InvalidWebhook(str(error)) from error
    return [name for name in TYPES if name in wanted]


def _new_secret() -> str:
    return f"whsec_{secrets.token_hex(32)}"


def _sealed(secret: str) -> bytes:
    return encryption.deployment_keyring().encrypt(secret.encode(), purpose=_PURPOSE)


def _facts(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {"url": endpoint.url, "event_types": endpoint.event_types}
