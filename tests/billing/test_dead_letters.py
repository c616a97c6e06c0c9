"""Refused lines can be looked at, taken out, and loaded again once."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from django.core.management import call_command

from analytics import request_log, stored_records
from analytics.clickhouse import client
from billing import dead_letters, models, segments
from tests.factories.records import make_message, make_record, make_segment

pytestmark = [pytest.mark.clickhouse, pytest.mark.django_db, pytest.mark.usefixtures("log_store")]


@pytest.fixture
def poison() -> bytes:
    """A line that is refused while the bound of http_status is what it is, in a loaded segment with a good one."""
    line = request_log.encode(make_record(http_status=70_000))
    segments.load(**make_message(make_segment([make_record(), line, b"not a record"])))
    return line


def test_the_reasons_are_counted(poison: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("dead_letters")
    assert "1  Record    it is not JSON" in capsys.readouterr().out
    assert [(row.kind, row.letters) for row in dead_letters.reasons()] == [("R", 1), ("R", 1)]


def test_they_can_be_written_to_a_file_that_only_the_owner_reads(poison: bytes, tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    call_command("dead_letters", export=path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [base64.b64decode(row["line"]) for row in rows] == [poison, b"not a record"]
    assert path.stat().st_mode & 0o077 == 0


def test_those_that_fit_now_are_loaded_and_the_others_stay(poison: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        # As after a release that reads more: the bound is gone, and the status fits modulo 65536.
        patch.setattr(stored_records, "UINT16_MAX", 99_999)
        stored_records._decoder.cache_clear()
        assert dead_letters.retry() == dead_letters.Retry(loaded=1, refused=1)
    stored_records._decoder.cache_clear()
    assert client.query("SELECT count() FROM request_logs FINAL") == [(2,)]
    assert sum(models.UsageEntry.objects.values_list("calls", flat=True)) == 2
    assert [bytes(letter.line) for letter in models.DeadLetter.objects.all()] == [b"not a record"]


def test_a_retry_that_died_before_it_tidied_up_counts_nothing_twice(
    poison: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_records, "UINT16_MAX", 99_999)
    stored_records._decoder.cache_clear()
    letters = list(models.DeadLetter.objects.order_by("id"))
    dead_letters._load("R", request_log.COLUMNS, letters)
    models.DeadLetter.objects.exclude(id__in=[letter.id for letter in letters]).delete()
    dead_letters.retry()
    stored_records._decoder.cache_clear()
    assert sum(models.UsageEntry.objects.values_list("calls", flat=True)) == 2
    assert client.query("SELECT count() FROM request_logs") == [(2,)]
