"""A key's last use follows from the calls that were loaded."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from accounts.models import ApiKey, AuditEvent
from billing import tasks
from tests.factories.accounts import make_api_key, make_provider_credential
from tests.factories.records import NOON_US, make_message, make_record, make_segment

pytestmark = [pytest.mark.clickhouse, pytest.mark.django_db, pytest.mark.usefixtures("log_store")]

MINUTE_US = 60_000_000


def test_loading_a_segment_notes_when_its_keys_were_used_last() -> None:
    used, unused = make_api_key().api_key, make_api_key().api_key
    later, earlier = (
        make_record(api_key_id=used.pk, organization_id=used.workspace.organization_id, started_us=NOON_US + offset)
        for offset in (5 * MINUTE_US, 0)
    )
    tasks.load_segment.run(**make_message(make_segment([later, earlier, make_record()])))
    assert _last_use(used) == datetime.fromtimestamp((NOON_US + 5 * MINUTE_US) / 1_000_000, UTC)
    assert _last_use(unused) is None


def test_a_late_segment_does_not_turn_the_last_use_back() -> None:
    key = make_api_key().api_key
    for offset in (5 * MINUTE_US, 0):
        record = make_record(api_key_id=key.pk, started_us=NOON_US + offset)
        tasks.load_segment.run(**make_message(make_segment([record])))
    assert _last_use(key) == datetime.fromtimestamp((NOON_US + 5 * MINUTE_US) / 1_000_000, UTC)


def _last_use(key: ApiKey) -> datetime | None:
    return ApiKey.objects.get(pk=key.pk).last_used_at


def test_loading_a_segment_notes_the_use_of_provider_keys_and_their_first_fallback() -> None:
    used, fallen = make_provider_credential(), make_provider_credential(allows_managed_fallback=True)
    records = [
        make_record(key_source="byok", credential_id=used.pk, started_us=NOON_US),
        make_record(key_source="byok", credential_id="request", started_us=NOON_US),
        make_record(key_source="managed", credential_id=fallen.pk, started_us=NOON_US + MINUTE_US),
    ]
    for _ in range(2):
        tasks.load_segment.run(**make_message(make_segment(records)))

    used.refresh_from_db()
    fallen.refresh_from_db()
    assert used.last_used_at == datetime.fromtimestamp(NOON_US / 1_000_000, UTC)
    assert (used.fell_back_at, fallen.last_used_at) == (None, None)
    assert fallen.fell_back_at == datetime.fromtimestamp((NOON_US + MINUTE_US) / 1_000_000, UTC)
    assert AuditEvent.objects.filter(action="provider_credential.fall_back", object_id=fallen.pk).count() == 1
