"""What was spent is in the ledger or in the spool, and counts once."""

from __future__ import annotations

from pathlib import Path

import pytest

from analytics import request_log, spool, stored_records
from billing import ledger
from gateway.spend import Spend
from tests.factories.records import NOON_US, make_record

pytestmark = pytest.mark.django_db
NOON = NOON_US / 1e6
COLUMNS = {"R": request_log.COLUMNS, "F": ()}


def spent(spend: Spend) -> int:
    return spend.of(
        organization_id="org_acme", dimension="organization", value="", starts_at=NOON - 43_200, ends_at=NOON + 43_200
    )


def test_a_record_counts_once_wherever_it_stands(tmp_path: Path) -> None:
    spend = Spend(tmp_path)
    assert spent(spend) == 0
    writer = spool.Writer(tmp_path, segment_bytes=1 << 20, segment_seconds=3600, columns=COLUMNS)
    for booked in (1, 2):
        record = make_record(booked_nanousd=booked)
        writer.record(record.request_id, request_log.encode(record), None)
    assert spent(spend) == 3  # being written
    writer.seal()
    assert spent(spend) == spent(spend) == 3  # sealed
    (path,) = tmp_path.glob("*.sealed")
    segment = spool.read_segment(path.read_bytes())
    decode = stored_records.record_decoder(tuple(segment.columns["R"]))
    accounts = [stored_records.account_of(decode(line)) for line in segment.lines("R")]
    ledger.post_segment(segment_id=segment.segment_id, sha256="0" * 64, records=accounts)
    assert spent(spend) == 3  # in the ledger, its file still there
    path.unlink()
    record = make_record(booked_nanousd=10, organization_id="org_other")
    writer.record(record.request_id, request_log.encode(record), None)
    assert spent(spend) == 3
    writer.close()


def test_records_outside_the_period_and_garbage_do_not_count(tmp_path: Path) -> None:
    writer = spool.Writer(tmp_path, segment_bytes=1 << 20, segment_seconds=3600, columns=COLUMNS)
    for started_us in (NOON_US - 43_200_000_001, NOON_US + 43_200_000_000):
        record = make_record(booked_nanousd=1, started_us=started_us)
        writer.record(record.request_id, request_log.encode(record), None)
    writer.record("req_bad", b'["req_bad"]', None)
    assert spent(Spend(tmp_path)) == 0
    writer.close()
    (tmp_path / "other.sealed").write_bytes(b"nonsense")
    assert spent(Spend(tmp_path)) == 0


def test_many_who_ask_at_once_read_the_spool_once(tmp_path: Path) -> None:
    spend = Spend(tmp_path, rests=1e9)
    writer = spool.Writer(tmp_path, segment_bytes=1 << 20, segment_seconds=3600, columns=COLUMNS)
    record = make_record(booked_nanousd=1)
    writer.record(record.request_id, request_log.encode(record), None)
    assert spent(spend) == 1
    (path,) = tmp_path.glob("*.open")
    path.unlink()
    assert [spent(spend) for _ in range(5)] == [1] * 5
    assert spent(Spend(tmp_path)) == 0
