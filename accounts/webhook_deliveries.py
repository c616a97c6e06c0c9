"""Send what waits for webhooks: signed, at least once, with growing waits for a day.

A delivery that was taken twice has the same event id both times; receivers keep that. One endpoint that hangs holds up
its own deliveries and no others.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.db.models import Min

from accounts import outbound, signing, webhooks
from accounts.encryption import KeyringError
from accounts.models import WebhookDelivery, WebhookEndpoint, WebhookEvent

logger = logging.getLogger(__name__)

# Waits after the first, second, … failed attempt; after the last of them a delivery has failed. 25 hours in all.
WAITS = tuple(
    dt.timedelta(seconds=seconds) for seconds in (10, 60, 300, 1800, 2 * 3600, 4 * 3600, 6 * 3600, 6 * 3600, 6 * 3600)
)
TIMEOUT_S = 10.0
KEPT_FOR = dt.timedelta(days=30)
ENDPOINTS_PER_RUN = 32
DELIVERIES_PER_ENDPOINT = 8
_LEASE = dt.timedelta(seconds=DELIVERIES_PER_ENDPOINT * TIMEOUT_S * 2)
_FORGOTTEN_PER_RUN = 500

Post = Callable[..., outbound.Response]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one attempt. `status` is None where there was no answer."""

    status: int | None
    failure: str
    latency_ms: int


def deliver(*, now: dt.datetime, post: Post = outbound.post) -> int:
    """Send what is due; return how many deliveries were taken."""
    _forget_old(now)
    due = WebhookDelivery.objects.due(now)
    # By endpoint: however much waits for one, some of every other is sent as well.
    waiting = due.values_list("endpoint_id").annotate(first=Min("next_attempt_at")).order_by("first", "endpoint_id")
    queues: list[list[WebhookDelivery]] = []
    for endpoint_id, _ in waiting[:ENDPOINTS_PER_RUN]:
        of_endpoint = due.filter(endpoint_id=endpoint_id).select_related("endpoint", "event")
        oldest = of_endpoint.order_by("next_attempt_at", "pk")[:DELIVERIES_PER_ENDPOINT]
        queue = [delivery for delivery in oldest if _claim(delivery, now)]
        if queue:
            queues.append(queue)
    if not queues:
        return 0
    taken = 0
    with ThreadPoolExecutor(max_workers=min(8, len(queues)), thread_name_prefix="webhook") as pool:
        for queue, outcomes in zip(queues, pool.map(lambda queue: _run(queue, now, post), queues), strict=True):
            for delivery, outcome in zip(queue, outcomes, strict=True):
                taken += _settle(delivery, outcome, now)
    return taken


def _claim(delivery: WebhookDelivery, now: dt.datetime) -> bool:
    """Take a delivery for this worker, unless another one was faster."""
    mine = WebhookDelivery.objects.filter(
        pk=delivery.pk, state=WebhookDelivery.State.WAITING, next_attempt_at=delivery.next_attempt_at
    )
    return bool(mine.update(next_attempt_at=now + _LEASE))


def _run(queue: Sequence[WebhookDelivery], now: dt.datetime, post: Post) -> list[_Outcome]:
    """Attempt an endpoint's deliveries in order. In a thread of its own: it touches no database."""
    endpoint = queue[0].endpoint
    try:
        secrets = webhooks.signing_secrets(endpoint, now=now)
    except KeyringError:
        return [_Outcome(None, "The secret cannot be decrypted. Rotate it.", 0)] * len(queue)
    outcomes: list[_Outcome] = []
    for delivery in queue:
        if outcomes and outcomes[-1].status is None:
            # It does not answer: the rest need not find that out one timeout at a time.
            outcomes.append(outcomes[-1])
            continue
        outcomes.append(_attempt(endpoint, delivery.event, secrets, post))
    return outcomes


def _attempt(endpoint: WebhookEndpoint, event: WebhookEvent, secrets: Sequence[str], post: Post) -> _Outcome:
    body = event.body.encode()
    headers = {
        "content-type": "application/json",
        "user-agent": "KairosRoute-Webhooks/1",
        signing.HEADER: signing.sign(body, secrets=secrets, at_s=int(time.time())),
        "KairosRoute-Event-Id": event.pk,
        "KairosRoute-Event-Type": event.type,
    }
    started = time.monotonic()
    status, failure = None, ""
    try:
        status = post(endpoint.url, body=body, headers=headers, timeout_s=TIMEOUT_S).status
    except outbound.OutboundError as error:
        failure = str(error)
    except Exception as error:
        # Its text may hold the address, which may hold a secret.
        logger.error("A webhook could not be sent", extra={"error": type(error).__name__})
        failure = "Something went wrong on our side."
    if status is not None and not 200 <= status < 300:
        failure = f"It answered {status}; 200 to 299 would mean that it was taken."
    return _Outcome(status, failure, round((time.monotonic() - started) * 1000))


def _settle(delivery: WebhookDelivery, outcome: _Outcome, now: dt.datetime) -> bool:
    attempts = delivery.attempts + 1
    is_taken = not outcome.failure
    changes: dict[str, object] = {
        "attempts": attempts,
        "status": outcome.status,
        "failure": outcome.failure[:300],
        "latency_ms": outcome.latency_ms,
        "attempted_at": now,
    }
    if is_taken:
        changes["state"] = WebhookDelivery.State.DELIVERED
    elif attempts > len(WAITS):
        changes["state"] = WebhookDelivery.State.FAILED
    else:
        changes["next_attempt_at"] = now + WAITS[attempts - 1]
    WebhookDelivery.objects.filter(pk=delivery.pk).update(**changes)
    endpoint = WebhookEndpoint.objects.filter(pk=delivery.endpoint_id)
    if is_taken:
        endpoint.exclude(failing_since_at=None).update(failing_since_at=None)
    else:
        endpoint.filter(failing_since_at=None).update(failing_since_at=now)
    return is_taken


def _forget_old(now: dt.datetime) -> None:
    old = WebhookEvent.objects.filter(created_at__lt=now - KEPT_FOR).values_list("pk", flat=True)
    found = list(old[:_FORGOTTEN_PER_RUN])
    if found:
        WebhookEvent.objects.filter(pk__in=found).delete()
