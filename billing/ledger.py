"""The usage ledger: what was used, posted once a segment; the only source that money is summed from.

Prices are not looked up here (a record carries its cost) and ClickHouse is not asked; `reconciliation` compares.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain

from django.db import connection, transaction

from analytics.loader import DeadLetter
from analytics.models import StaleHour
from analytics.stored_records import Account
from billing import models, spending

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
DIGEST_MODULUS = 2**63

# Written out, because the ORM takes ten times as long for a row, and a segment of many tenants has hundreds.
_ENTRY_COLUMNS = (
    *("segment_id", "organization_id", "workspace_id", "api_key_id", "key_source"),
    *("price_version", "price_state", "state", "usage_date"),
    *("calls", "input_tokens", "cached_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("provider_cost_nanousd", "billed_nanousd", "digest"),
)
_INSERT_ENTRIES = f"INSERT INTO billing_usageentry ({', '.join(_ENTRY_COLUMNS)}) VALUES "  # noqa: S608  our own constants
_ENTRY_VALUES = f"({', '.join(['%s'] * len(_ENTRY_COLUMNS))})"
_ENTRIES_A_STATEMENT = 500

_EPOCH_DATE = date(1970, 1, 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class UsageKey:
    """Everything that money depends on: calls with equal keys are summed."""

    organization_id: str
    workspace_id: str
    api_key_id: str
    key_source: str
    price_version: str
    price_state: str
    state: str
    usage_day: int  # days since the Unix epoch, UTC


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over the calls of one key; `digest` is the sum of `request_log.digest`, modulo 2**63."""

    calls: int
    input_tokens: int
    cached_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    provider_cost_nanousd: int
    billed_nanousd: int
    digest: int


def is_posted(*, segment_id: str) -> bool:
    """Return whether the segment stands in the ledger (and with it in ClickHouse)."""
    return models.LoadedSegment.objects.filter(segment_id=segment_id).exists()


def post_segment(
    *, segment_id: str, sha256: str, records: Sequence[Account], dead_letters: Sequence[DeadLetter] = ()
) -> bool:
    """Post a segment's usage, its dead letters and its mark in one transaction; False when it was posted before.

    `records` are those that landed in ClickHouse and no others, so that both always hold the same calls.

    Raises:
        django.db.Error: nothing was posted; call again.
    """
    usage = aggregate(records)
    hours = {(record.organization_id, record.started_us // HOUR_US) for record in records}
    with transaction.atomic():
        segment, is_new = models.LoadedSegment.objects.get_or_create(
            segment_id=segment_id,
            defaults={"records": len(records), "dead_letters": len(dead_letters), "sha256": sha256},
        )
        if not is_new:
            return False
        _insert_entries([_entry(segment_id, key, sums) for key, sums in usage.items()])
        spending.post(records)
        models.DeadLetter.objects.bulk_create([_letter(segment, letter) for letter in dead_letters])
        StaleHour.objects.bulk_create(
            [
                StaleHour(organization_id=organization_id, hour_at=_EPOCH + timedelta(hours=hour))
                for organization_id, hour in sorted(hours)
            ]
        )
    return True


def aggregate(records: Iterable[Account]) -> dict[UsageKey, Usage]:
    """Return the sums of the records by everything that money depends on."""
    sums: dict[tuple[str, str, str, str, str, str, str, int], list[int]] = defaultdict(lambda: [0] * 9)
    md5 = hashlib.md5
    for record in records:
        total = sums[
            record.organization_id,
            record.workspace_id,
            record.api_key_id,
            record.key_source,
            record.price_version,
            record.price_state,
            record.state,
            record.started_us // DAY_US,
        ]
        total[0] += 1
        total[1] += record.input_tokens
        total[2] += record.cached_read_tokens
        total[3] += record.cache_write_tokens
        total[4] += record.output_tokens
        total[5] += record.reasoning_tokens
        total[6] += record.provider_cost_nanousd
        total[7] += record.billed_nanousd
        # request_log.digest, written out: the top bit goes with the modulus below
        total[8] += int.from_bytes(md5(record.request_id.encode(), usedforsecurity=False).digest()[:8], "big")
    for total in sums.values():
        total[8] %= DIGEST_MODULUS
    return {UsageKey(*key): Usage(*total) for key, total in sums.items()}


def _insert_entries(entries: list[tuple[str | date | int, ...]]) -> None:
    with connection.cursor() as cursor:
        for start in range(0, len(entries), _ENTRIES_A_STATEMENT):
            chunk = entries[start : start + _ENTRIES_A_STATEMENT]
            cursor.execute(_INSERT_ENTRIES + ", ".join([_ENTRY_VALUES] * len(chunk)), list(chain.from_iterable(chunk)))


def _entry(segment_id: str, key: UsageKey, usage: Usage) -> tuple[str | date | int, ...]:
    """Return the values of _ENTRY_COLUMNS."""
    return (
        segment_id,
        key.organization_id,
        key.workspace_id,
        key.api_key_id,
        key.key_source,
        key.price_version,
        key.price_state,
        key.state,
        _EPOCH_DATE + timedelta(days=key.usage_day),
        usage.calls,
        usage.input_tokens,
        usage.cached_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.provider_cost_nanousd,
        usage.billed_nanousd,
        usage.digest,
    )


def _letter(segment: models.LoadedSegment, letter: DeadLetter) -> models.DeadLetter:
    return models.DeadLetter(
        segment=segment,
        kind=letter.kind,
        position=letter.position,
        reason=letter.reason,
        columns=list(letter.columns),
        line=letter.line,
    )
