"""The sums that budgets are counted from hold each call once, for everybody whom it concerns."""

from __future__ import annotations

import pytest

from billing import ledger, spending
from tests.factories.records import NOON_US, make_record

pytestmark = pytest.mark.django_db
NOON = NOON_US // 1_000_000
DAY = {"starts_at": NOON - 43_200, "ends_at": NOON + 43_200}


def post(*records: object, segment_id: str = "one") -> None:
    accounts = [ledger_account(record) for record in records]
    ledger.post_segment(segment_id=segment_id, sha256="0" * 64, records=accounts)


def ledger_account(record: object) -> object:
    from analytics import stored_records

    return stored_records.account_of(record)  # type: ignore[arg-type]


def spent(dimension: str, value: str = "") -> int:
    return spending.between(organization_id="org_acme", dimension=dimension, value=value, **DAY)


def test_a_call_counts_for_everybody_whom_it_concerns() -> None:
    spending.count(organization_id="org_acme", dimension="end_user")
    spending.count(organization_id="org_acme", dimension="tag", name="team")
    post(
        make_record(booked_nanousd=7, agent="bot", agent_run="r1", end_user="u1", tags={"team": "search", "x": "y"}),
        make_record(booked_nanousd=5),
    )
    assert spent("organization") == spent("workspace", "ws_production") == spent("api_key", "key_one") == 12
    assert spent("agent", "bot") == spent("end_user", "u1") == spent("tag", "team=search") == 7
    assert spent("agent_run", spending.run_value("ws_production", "r1", is_simulated=False)) == 7
    assert spent("tag", "x=y") == 0  # nobody asked for it


def test_segments_add_up_and_a_second_delivery_adds_nothing() -> None:
    post(make_record(booked_nanousd=7))
    post(make_record(booked_nanousd=5), segment_id="two")
    post(make_record(booked_nanousd=5), segment_id="two")
    assert spent("organization") == 12


def test_what_the_simulator_answered_counts_for_its_key_alone() -> None:
    post(make_record(booked_nanousd=7, key_source="simulated", agent="bot"))
    assert (spent("organization"), spent("agent", "bot"), spent("api_key", "key_one")) == (0, 0, 7)


def test_a_period_ends_before_its_end() -> None:
    post(make_record(booked_nanousd=1, started_us=NOON_US - 1), make_record(booked_nanousd=2, started_us=NOON_US))
    bounds = {"organization_id": "org_acme", "dimension": "organization", "value": ""}
    assert spending.between(**bounds, starts_at=NOON - 900, ends_at=NOON) == 1
    assert spending.between(**bounds, starts_at=NOON, ends_at=NOON + 900) == 2
    assert spending.by_value(organization_id="org_acme", dimension="api_key", **DAY) == {"key_one": 3}


def test_long_and_strange_values_do_not_stop_a_segment() -> None:
    post(make_record(booked_nanousd=1, agent="a\0b" + "x" * 900), make_record(booked_nanousd=2, agent="ab" + "x" * 901))
    assert sum(spending.by_value(organization_id="org_acme", dimension="agent", **DAY).values()) == 3
