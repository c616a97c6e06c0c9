"""A budget that crosses a percentage is told once a period, to everybody who listens."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from accounts.models import WebhookEndpoint, WebhookEvent
from gateway.limit_alerts import Crossing, Herald
from gateway.models import Limit, LimitAlert
from tests.factories.accounts import make_organization
from tests.gateway.limits import CENT, Desk, make_key, make_limit

AT = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def crossing(limit: Limit, **fields: object) -> Crossing:
    return Crossing(
        **{  # type: ignore[arg-type]
            "organization_id": limit.organization_id,
            "limit_id": limit.pk,
            "subject": "",
            "percent": 80,
            "period_starts_at": AT,
            "crossed_at": AT,
            "spent_nanousd": 81,
            "amount_nanousd": 100,
            **fields,
        }
    )


@pytest.mark.django_db
def test_it_is_written_once_and_a_listener_that_fails_stops_no_other() -> None:
    limit = Limit.objects.create(
        organization=make_organization(), name="All", scope="organization", kind="budget", amount=100
    )
    herald, heard = Herald(), []

    def fails(alert: LimitAlert) -> None:
        raise ValueError("no")

    herald.listeners += [fails, heard.append]
    assert herald.write(crossing(limit)) is not None
    assert herald.write(crossing(limit)) is None
    assert herald.write(crossing(limit, percent=100)) is not None
    assert herald.write(crossing(limit, period_starts_at=AT + dt.timedelta(days=30))) is not None
    assert len(heard) == LimitAlert.objects.count() == 3


async def test_each_percentage_is_told_as_it_is_crossed_and_none_twice(tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []

    class Ear(Herald):
        def crossed(self, crossing: Crossing) -> None:
            told.append((crossing.percent, crossing.subject))

    desk = Desk(tmp_path, herald=Ear())
    limit = make_limit(alert_percents=(50, 80, 100), scope="end_user", is_each=True)
    key = make_key(limits=(limit,))
    for cents in (40, 5, 5, 5, 27, 10, 7):
        draft = desk.draft(key, user="ann")
        await desk.admission.admit(draft)
        desk.end(draft, cents * CENT)
    assert told == [(50, "ann"), (80, "ann")]  # at 50 and at 82 cents; 99 is the last
    draft = desk.draft(key, user="ann")
    await desk.admission.admit(draft)
    desk.end(draft, 2 * CENT)
    assert told[2:] == [(100, "ann")]


@pytest.mark.django_db(transaction=True)
def test_the_thread_writes_what_is_waiting_before_it_ends() -> None:
    limit = Limit.objects.create(
        organization=make_organization(), name="All", scope="organization", kind="budget", amount=100
    )
    herald = Herald()
    herald.start()
    herald.crossed(crossing(limit))
    herald.crossed(crossing(limit, limit_id="lim_gone"))
    herald.stop()
    assert LimitAlert.objects.get().percent == 80


@pytest.mark.django_db
def test_webhooks_hear_of_an_alert_once() -> None:
    organization = make_organization()
    WebhookEndpoint.objects.create(
        organization=organization, url="https://example.com", event_types=["budget.alert"], secret_envelope=b""
    )
    limit = Limit.objects.create(organization=organization, name="All", scope="organization", kind="budget", amount=100)
    for _ in range(2):
        Herald().write(crossing(limit))
    told = json.loads(WebhookEvent.objects.get().body)
    assert (told["type"], told["data"]["limit"], told["data"]["percent"]) == ("budget.alert", "All", 80)
