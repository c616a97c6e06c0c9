"""Events on their way to customers' webhooks: real HTTP to a receiver on loopback."""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from collections.abc import Iterator

import pytest
from django.db import transaction
from pytest_django import Settings

from accounts import api_keys, audit, provider_credentials, signing, webhook_deliveries, webhooks
from accounts.models import AuditEvent, Organization, WebhookDelivery, WebhookEndpoint, WebhookEvent
from tests.factories.accounts import make_api_key, make_organization
from tests.fakes.receiver import Receiver, listening

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.OUTBOUND_ALLOWED_HOSTS = "127.0.0.1"
    with listening() as found:
        yield found


@pytest.fixture
def acme() -> Organization:
    return make_organization("Acme")


def add(organization: Organization, url: str, *types: str) -> webhooks.NewSecret:
    return webhooks.add(
        organization=organization,
        url=url,
        event_types=types or tuple(webhooks.TYPES),
        actor=audit.SYSTEM,
        now=NOW,
    )


def emit(organization: Organization, once: str = "") -> WebhookEvent | None:
    return webhooks.emit(
        organization_id=organization.pk,
        event_type=webhooks.BUDGET_ALERT,
        data={"budget": "bud_1", "percent": 80},
        now=NOW,
        once=once,
    )


def test_an_event_arrives_signed_with_its_id(acme: Organization, receiver: Receiver) -> None:
    new = add(acme, f"{receiver.url}/hook")
    event = emit(acme)
    assert event is not None
    assert webhook_deliveries.deliver(now=NOW) == 1
    (received,) = receiver.of("/hook")
    assert signing.is_genuine(
        received.body, received.headers["kairosroute-signature"], secret=new.secret, now_s=time.time()
    )
    assert json.loads(received.body) == {
        "id": event.pk,
        "object": "event",
        "type": "budget.alert",
        "created": int(NOW.timestamp()),
        "organization_id": acme.pk,
        "data": {"budget": "bud_1", "percent": 80},
    }
    assert received.headers["kairosroute-event-id"] == event.pk
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.status, delivery.attempts) == ("delivered", 200, 1)
    assert webhook_deliveries.deliver(now=NOW) == 0


def test_only_those_who_chose_the_type_hear_of_it(acme: Organization, receiver: Receiver) -> None:
    add(acme, f"{receiver.url}/keys", webhooks.API_KEY_CREATED)
    add(make_organization("Other"), f"{receiver.url}/other")
    assert emit(acme) is None
    assert not WebhookEvent.objects.exists()


def test_what_concerns_all_goes_to_all_who_chose_it(acme: Organization, receiver: Receiver) -> None:
    other = make_organization("Other")
    add(acme, f"{receiver.url}/acme")
    add(other, f"{receiver.url}/other", webhooks.PROVIDER_STATE_CHANGED)
    add(make_organization("Third"), f"{receiver.url}/third", webhooks.BUDGET_ALERT)
    told = webhooks.emit_everywhere(
        event_type=webhooks.PROVIDER_STATE_CHANGED, data={"provider": "openai", "state": "open"}, now=NOW
    )
    webhook_deliveries.deliver(now=NOW)
    assert told == 2
    assert sorted(one.path for one in receiver.received) == ["/acme", "/other"]


def test_the_same_occurrence_is_told_once(acme: Organization, receiver: Receiver) -> None:
    add(acme, receiver.url)
    first, second = emit(acme, "bud_1 80 2026-11"), emit(acme, "bud_1 80 2026-11")
    assert first == second
    assert emit(acme, "bud_1 90 2026-11") != first
    assert WebhookDelivery.objects.count() == 2


def test_what_is_rolled_back_is_not_told(acme: Organization, receiver: Receiver) -> None:
    add(acme, receiver.url)
    with transaction.atomic():
        emit(acme)
        transaction.set_rollback(True)
    assert not WebhookEvent.objects.exists()


def test_a_delivery_is_tried_for_a_day_and_then_failed(acme: Organization, receiver: Receiver) -> None:
    add(acme, receiver.url)
    emit(acme)
    receiver.status = 500
    now, waited = NOW, []
    for _ in range(20):
        webhook_deliveries.deliver(now=now)
        delivery = WebhookDelivery.objects.get()
        if delivery.state == "failed":
            break
        assert webhook_deliveries.deliver(now=delivery.next_attempt_at - dt.timedelta(seconds=1)) == 0
        waited.append(delivery.next_attempt_at - now)
        now = delivery.next_attempt_at
    assert waited == sorted(waited)
    assert dt.timedelta(hours=24) <= now - NOW <= dt.timedelta(hours=26)
    assert len(receiver.received) == len(waited) + 1
    assert len({one.headers["kairosroute-event-id"] for one in receiver.received}) == 1
    assert WebhookEndpoint.objects.get().failing_since_at == NOW


def test_a_failed_delivery_can_be_sent_again(acme: Organization, receiver: Receiver) -> None:
    add(acme, receiver.url)
    emit(acme)
    WebhookDelivery.objects.update(state="failed", attempts=10)
    webhooks.resend(delivery=WebhookDelivery.objects.get(), now=NOW)
    assert webhook_deliveries.deliver(now=NOW) == 1
    assert WebhookDelivery.objects.get().state == "delivered"


def test_an_endpoint_that_does_not_answer_holds_up_no_other(acme: Organization, receiver: Receiver) -> None:
    add(acme, "http://127.0.0.1:9/dead")
    add(acme, f"{receiver.url}/alive")
    for number in range(3):
        emit(acme, str(number))
    assert webhook_deliveries.deliver(now=NOW) == 3
    dead = WebhookDelivery.objects.exclude(state="delivered")
    assert {(one.attempts, one.status) for one in dead} == {(1, None)}


def test_however_much_waits_for_one_endpoint_others_hear_of_theirs(acme: Organization, receiver: Receiver) -> None:
    crowd = make_organization("Crowd")
    add(crowd, f"{receiver.url}/crowd")
    for number in range(70):
        emit(crowd, once=str(number))
    add(acme, f"{receiver.url}/hook")
    emit(acme)
    webhook_deliveries.deliver(now=NOW)
    assert len(receiver.of("/hook")) == 1
    assert len(receiver.of("/crowd")) == webhook_deliveries.DELIVERIES_PER_ENDPOINT


def test_a_redirect_is_not_followed(acme: Organization, receiver: Receiver) -> None:
    add(acme, f"{receiver.url}/hook")
    emit(acme)
    receiver.status, receiver.headers = 302, {"Location": f"{receiver.url}/elsewhere"}
    assert webhook_deliveries.deliver(now=NOW) == 0
    assert [one.path for one in receiver.received] == ["/hook"]


def test_after_a_rotation_both_secrets_sign_for_a_day(acme: Organization, receiver: Receiver) -> None:
    old = add(acme, receiver.url)
    new = webhooks.rotate(endpoint=old.endpoint, actor=audit.SYSTEM, now=NOW)
    assert webhooks.signing_secrets(new.endpoint, now=NOW) == [new.secret, old.secret]
    later = NOW + webhooks.FORMER_SECRET_LIFETIME
    assert webhooks.signing_secrets(new.endpoint, now=later) == [new.secret]
    emit(acme)
    webhook_deliveries.deliver(now=NOW)
    (received,) = receiver.received
    for secret in (new.secret, old.secret):
        header = received.headers["kairosroute-signature"]
        assert signing.is_genuine(received.body, header, secret=secret, now_s=time.time())


def test_paused_endpoints_get_nothing_until_they_go_on(acme: Organization, receiver: Receiver) -> None:
    endpoint = add(acme, receiver.url).endpoint
    emit(acme)
    webhooks.pause(endpoint=endpoint, is_paused=True, actor=audit.SYSTEM, now=NOW)
    assert emit(acme) is None
    assert webhook_deliveries.deliver(now=NOW) == 0
    webhooks.pause(endpoint=endpoint, is_paused=False, actor=audit.SYSTEM, now=NOW)
    assert webhook_deliveries.deliver(now=NOW) == 1


def test_old_events_are_forgotten(acme: Organization, receiver: Receiver) -> None:
    add(acme, receiver.url)
    emit(acme)
    webhook_deliveries.deliver(now=NOW)
    webhook_deliveries.deliver(now=NOW + webhook_deliveries.KEPT_FOR + dt.timedelta(seconds=1))
    assert not WebhookDelivery.objects.exists()


def test_keys_that_come_and_go_are_told_without_the_key(acme: Organization, receiver: Receiver) -> None:
    add(acme, receiver.url)
    made = make_api_key(acme, name="nightly jobs", now=NOW)
    rotated = api_keys.rotate(api_key=made.api_key, actor=audit.SYSTEM, now=NOW)
    api_keys.revoke(api_key=rotated.api_key, actor=audit.SYSTEM, now=NOW)
    webhook_deliveries.deliver(now=NOW)
    bodies = [json.loads(one.body) for one in receiver.received]
    assert sorted((body["type"], body["data"]["id"]) for body in bodies) == sorted(
        [
            ("api_key.created", made.api_key.pk),
            ("api_key.created", rotated.api_key.pk),
            ("api_key.revoked", made.api_key.pk),
            ("api_key.revoked", rotated.api_key.pk),
        ]
    )
    assert not [one for one in receiver.received if made.key.encode() in one.body or rotated.key.encode() in one.body]


def test_the_secret_is_nowhere_in_clear(
    acme: Organization, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    new = add(acme, receiver.url)
    receiver.status = 500
    emit(acme)
    webhook_deliveries.deliver(now=NOW)
    seen = [repr(new), repr(vars(WebhookEndpoint.objects.get())), caplog.text]
    seen += [repr(vars(event)) for event in AuditEvent.objects.all()]
    seen += [one.body.decode() + repr(one.headers) for one in receiver.received]
    assert not [text for text in seen if new.secret in text]


@pytest.mark.parametrize(
    ("url", "types"),
    [
        ("https://169.254.169.254/latest", ["budget.alert"]),
        ("http://127.0.0.1:1/x", ["budget.alert"]),
        ("https://example.com/hook", []),
        ("https://example.com/hook", ["no.such"]),
        ("https://user:secret@127.0.0.1/", ["budget.alert"]),
    ],
)
def test_what_cannot_be_kept_is_refused(acme: Organization, url: str, types: list[str]) -> None:
    with pytest.raises(webhooks.InvalidWebhook):
        webhooks.add(organization=acme, url=url, event_types=types, actor=audit.SYSTEM, now=NOW)


def test_an_organization_has_a_most(acme: Organization, receiver: Receiver) -> None:
    for _ in range(webhooks.MOST_ENDPOINTS):
        add(acme, receiver.url)
    with pytest.raises(webhooks.InvalidWebhook):
        add(acme, receiver.url)


def test_a_provider_key_that_falls_back_is_told_once(acme: Organization, receiver: Receiver) -> None:
    add(acme, receiver.url, webhooks.FALLBACK_USED)
    credential = provider_credentials.create(
        organization=acme,
        workspace=None,
        provider="openai",
        label="ours",
        secret="sk-canary-1234",
        actor=audit.SYSTEM,
        now=NOW,
    )
    for _ in range(2):
        provider_credentials.note_managed_fallbacks({credential.pk: NOW})
    webhook_deliveries.deliver(now=NOW)
    (received,) = receiver.received
    assert json.loads(received.body)["data"] == {
        "provider_credential_id": credential.pk,
        "label": "ours",
        "provider": "openai",
    }
