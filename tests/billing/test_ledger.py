"""The ledger holds each segment once, summed by everything that money depends on."""

from __future__ import annotations

from datetime import date

import pytest
from django.db import IntegrityError, transaction

from analytics import request_log, stored_records
from analytics.loader import DeadLetter
from analytics.models import StaleHour
from billing import ledger, models
from tests.factories.records import NOON_US, make_record


def post(records: list[request_log.RequestLog], segment_id: str = "one") -> bool:
    return ledger.post_segment(segment_id=segment_id, sha256="0" * 64, records=records)


@pytest.mark.django_db
def test_calls_are_summed_by_everything_that_money_depends_on() -> None:
    same = [make_record(), make_record(input_tokens=7, provider_cost_nanousd=5, billed_nanousd=6)]
    other = [
        make_record(organization_id="org_other"),
        make_record(workspace_id="ws_other"),
        make_record(api_key_id="key_other"),
        make_record(key_source="byok"),
        make_record(price_version="2026-12-01"),
        make_record(price_state="unpriced"),
        make_record(price_state="estimated"),
        make_record(state="interrupted"),
        make_record(started_us=NOON_US - 12 * ledger.HOUR_US - 1),
    ]
    assert post([*same, *other])
    entry = models.UsageEntry.objects.get(calls=2)
    assert (entry.input_tokens, entry.output_tokens) == (1007, 200)
    assert (entry.provider_cost_nanousd, entry.billed_nanousd) == (1_250_005, 1_300_006)
    assert entry.usage_date == date(2026, 11, 15)
    assert models.UsageEntry.objects.count() == 10
    assert models.UsageEntry.objects.filter(usage_date=date(2026, 11, 14)).count() == 1


def test_the_digest_is_the_sum_of_the_calls_digests() -> None:
    records = [make_record() for _ in range(50)]
    (usage,) = ledger.aggregate(records).values()
    assert usage.digest == sum(request_log.digest(record.request_id) for record in records) % 2**63


@pytest.mark.django_db
def test_a_segment_is_posted_once() -> None:
    records = [make_record()]
    assert post(records)
    assert not post(records)
    assert models.UsageEntry.objects.count() == 1
    assert models.LoadedSegment.objects.get().records == 1
    assert StaleHour.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_failure_in_the_middle_posts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    letter = DeadLetter("R", 0, "why", (), b"x")
    with pytest.raises(IntegrityError):
        ledger.post_segment(segment_id="one", sha256="0" * 64, records=[make_record()], dead_letters=[letter, letter])
    assert not ledger.is_posted(segment_id="one")
    assert models.UsageEntry.objects.count() == StaleHour.objects.count() == 0


@pytest.mark.django_db
def test_a_hour_is_marked_once_for_an_organization_and_segment() -> None:
    post([make_record(), make_record(), make_record(organization_id="org_other"), make_record(started_us=NOON_US - 1)])
    assert StaleHour.objects.count() == 3


@pytest.mark.django_db
def test_a_dead_letter_is_kept_as_it_came() -> None:
    letter = DeadLetter("R", 3, "it is not JSON", ("request_id",), b"\xff\0{")
    ledger.post_segment(segment_id="one", sha256="0" * 64, records=[], dead_letters=[letter])
    kept = models.DeadLetter.objects.get()
    assert (bytes(kept.line), kept.position, kept.columns) == (b"\xff\0{", 3, ["request_id"])
    assert models.LoadedSegment.objects.get().dead_letters == 1


@pytest.mark.django_db
def test_the_ledger_holds_the_largest_sums_of_a_segment() -> None:
    most = stored_records.MONEY_MAX_NANOUSD
    with transaction.atomic():
        post([make_record(provider_cost_nanousd=most, input_tokens=stored_records.UINT32_MAX) for _ in range(5000)])
    assert models.UsageEntry.objects.get().provider_cost_nanousd == 5000 * most


def test_the_lengths_that_the_reading_allows_are_the_columns_lengths() -> None:
    lengths = {
        field.name: field.max_length
        for field in models.UsageEntry._meta.get_fields()
        if getattr(field, "max_length", None)
    }
    assert lengths == stored_records.KEY_LENGTHS


def test_the_written_out_insert_names_every_column() -> None:
    columns = {field.column for field in models.UsageEntry._meta.concrete_fields} - {"id"}
    assert set(ledger._ENTRY_COLUMNS) == columns
