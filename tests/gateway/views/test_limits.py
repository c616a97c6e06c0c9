"""The limits page: what is used, who may change what, and what cannot be a limit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import audit
from accounts.models import AuditEvent, Organization, User
from analytics import stored_records
from billing import ledger
from gateway import limits
from gateway.limits import Terms, Whom
from gateway.models import Limit, LimitAlert
from tests.factories.accounts import Cast, make_api_key
from tests.factories.records import make_record

Login = Callable[[User], Client]
LIST, CREATE = "/o/acme/limits/", "/o/acme/limits/new/"
CENT = 10_000_000
FORM = {
    "whom": "organization:",
    "kind": "budget",
    "amount": "50",
    "period": "month",
    "on_exceed": "downgrade",
    "downgrade_percent": "70",
    "alerts": "100, 80",
    "name": "All of us",
}


def make_limit(organization: Organization, **fields: Any) -> Limit:
    whom = Whom(**{"scope": "organization", **{k: fields.pop(k) for k in ("scope", "subject", "tag") if k in fields}})
    terms = Terms(**{"name": "All of us", "kind": "budget", "amount": 100 * CENT, **fields})
    return limits.create(
        organization=organization, whom=whom, terms=terms, created_by=None, actor=audit.SYSTEM, now=timezone.now()
    )


def spend(organization: Organization, nanousd: int, **fields: Any) -> None:
    record = make_record(
        organization_id=organization.pk,
        booked_nanousd=nanousd,
        started_us=int(timezone.now().timestamp() * 1e6),
        **fields,
    )
    ledger.post_segment(segment_id=record.request_id, sha256="0" * 64, records=[stored_records.account_of(record)])


@pytest.mark.parametrize("role", ["owner", "admin", "developer", "finance", "viewer"])
def test_every_member_sees_what_is_used(cast: Cast, login: Login, role: str) -> None:
    make_limit(cast.acme, alert_percents=(80,))
    spend(cast.acme, 85 * CENT)
    page = login(cast.member(role)).get(LIST).content.decode()
    assert "All of us" in page
    assert "85%" in page
    assert "burn__bar--warning" in page
    assert ("Create the limit" in page) == (role in {"owner", "admin", "developer"})


def test_without_limits_the_page_says_what_to_do(cast: Cast, login: Login) -> None:
    page = login(cast.bob).get(LIST).content.decode()
    assert "No limits yet" in page
    assert "<table" not in page


def test_a_limit_on_each_shows_the_value_that_used_most(cast: Cast, login: Login) -> None:
    make_limit(cast.acme, scope="agent")
    make_limit(cast.acme, scope="tag", tag="team")
    for agent, team, amount in (("bot", "red", 3 * CENT), ("crawler", "blue", 120 * CENT)):
        spend(cast.acme, amount, agent=agent, tags={"team": team})
    page = login(cast.bob).get(LIST).content.decode()
    assert "most: crawler" in page
    assert "most: blue" in page
    assert page.count("burn__bar--danger") == 2


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"scope": "organization", "amount": 50_000_000_000, "alert_percents": [80, 100], "downgrade_percent": 70}),
        ({"whom": "end_user:", "amount": "0.25"}, {"scope": "end_user", "subject": "", "amount": 250_000_000}),
        ({"whom": "agent:value", "value": " bot "}, {"scope": "agent", "subject": "bot"}),
        ({"whom": "tag:value", "tag": "team", "value": "red"}, {"scope": "tag", "tag": "team", "subject": "red"}),
        ({"kind": "requests", "amount": "600"}, {"kind": "requests", "amount": 600}),
        ({"name": ""}, {"name": "Organization budget a month"}),
    ],
)
def test_a_limit_is_made(cast: Cast, login: Login, asked: dict[str, str], expected: dict[str, Any]) -> None:
    answer = login(cast.bob).post(CREATE, {**FORM, **asked})
    assert answer.status_code == 302, answer.content.decode()
    limit = Limit.objects.get()
    assert {name: getattr(limit, name) for name in expected} == expected
    assert AuditEvent.objects.filter(action="limit.create", object_id=limit.pk).count() == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"amount": "0"},
        {"amount": "-5"},
        {"amount": "9000000"},
        {"amount": "much"},
        {"kind": "requests", "amount": "1.5"},
        {"kind": "joy"},
        {"whom": "agent:value"},
        {"whom": "tag:"},
        {"whom": "api_key:key_of_others"},
        {"alerts": "eighty"},
        {"alerts": "1,2,3,4,5,6"},
        {"downgrade_percent": "101"},
        {"name": "kr_live_" + "a" * 48},
    ],
)
def test_nonsense_is_no_limit(cast: Cast, login: Login, asked: dict[str, str]) -> None:
    answer = login(cast.bob).post(CREATE, {**FORM, **asked})
    assert answer.status_code == 400
    assert not Limit.objects.exists()


def test_a_key_or_workspace_of_another_organization_cannot_be_named(cast: Cast) -> None:
    foreign = make_api_key(cast.other).api_key
    with pytest.raises(limits.InvalidLimit):
        make_limit(cast.acme, scope="api_key", subject=foreign.pk)
    with pytest.raises(limits.InvalidLimit):
        make_limit(cast.acme, scope="workspace", subject=foreign.workspace_id)


def test_a_change_reaches_the_data_plane_and_the_audit_trail(cast: Cast, login: Login) -> None:
    limit = make_limit(cast.acme)
    Organization.objects.filter(pk=cast.acme.pk).update(changed_at=timezone.now() - dt.timedelta(days=1))
    url = f"{LIST}{limit.pk}/"
    client = login(cast.bob)
    assert 'value="1"' in client.get(url).content.decode()
    assert client.post(url, {**FORM, "amount": "75"}).status_code == 302
    limit.refresh_from_db()
    assert limit.amount == 75_000_000_000
    assert Organization.objects.get(pk=cast.acme.pk).changed_at > timezone.now() - dt.timedelta(minutes=1)
    assert AuditEvent.objects.filter(action="limit.change").count() == 1
    assert client.post(url, {**FORM, "amount": "0"}).status_code == 400


def test_a_removed_limit_is_gone_with_its_alerts(cast: Cast, login: Login) -> None:
    limit = make_limit(cast.acme)
    LimitAlert.objects.create(
        organization=cast.acme,
        limit=limit,
        percent=80,
        period_starts_at=timezone.now(),
        crossed_at=timezone.now(),
        spent_nanousd=81 * CENT,
        amount_nanousd=100 * CENT,
    )
    assert "80%" in login(cast.victor).get(LIST).content.decode()
    assert login(cast.bob).post(f"{LIST}{limit.pk}/remove/").status_code == 302
    assert not Limit.objects.exists()
    assert not LimitAlert.objects.exists()


@pytest.mark.parametrize("role", ["finance", "viewer"])
def test_who_may_not_manage_keys_may_not_change_limits(cast: Cast, login: Login, role: str) -> None:
    limit = make_limit(cast.acme)
    client = login(cast.member(role))
    assert client.post(CREATE, FORM).status_code == 403
    assert client.get(f"{LIST}{limit.pk}/").status_code == 403
    assert client.post(f"{LIST}{limit.pk}/remove/").status_code == 403


def test_strangers_and_the_anonymous_find_nothing(cast: Cast, login: Login, client: Client) -> None:
    limit = make_limit(cast.acme)
    assert login(cast.charlie).get(f"{LIST}{limit.pk}/").status_code == 404
    assert client.get(LIST).status_code == 302
    assert login(cast.bob).get(CREATE).status_code == 405


def test_guardrails_of_a_key_are_set_and_marked(cast: Cast, login: Login) -> None:
    key = make_api_key(cast.acme).api_key
    client = login(cast.bob)
    url = f"/o/acme/keys/{key.pk}/guardrails/"
    form = {f"{key.pk}-quality_floor": "0.85", f"{key.pk}-max_cost_usd": "0.05"}
    assert client.post(url, form).status_code == 302
    key.refresh_from_db()
    assert (key.quality_floor, key.max_cost_per_request_nanousd) == (0.85, 50_000_000)
    page = client.get("/o/acme/keys/").content.decode()
    assert ">Guardrails</span>" in page
    assert AuditEvent.objects.filter(action="api_key.guardrails").count() == 1
    assert client.post(url, {f"{key.pk}-quality_floor": "3"}).status_code == 400
    assert client.post(url, {}).status_code == 302
    key.refresh_from_db()
    assert not key.has_guardrails
    assert login(cast.finn).post(url, form).status_code == 403


def test_the_time_zone_is_the_owners_to_choose(cast: Cast, login: Login) -> None:
    url = "/o/acme/settings/time-zone/"
    assert login(cast.alice).post(url, {"time_zone": "Europe/Berlin"}).status_code == 302
    cast.acme.refresh_from_db()
    assert cast.acme.time_zone == "Europe/Berlin"
    assert login(cast.alice).post(url, {"time_zone": "Mars/Olympus"}).status_code == 400
    assert login(cast.bob).post(url, {"time_zone": "UTC"}).status_code == 403
