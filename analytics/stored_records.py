"""The typed reading of a segment's lines: what a record must be so that ClickHouse and the ledger hold the same. Pure.

ClickHouse wraps an integer that is too large for its column without a word, so every bound is checked here, line by
line, before the lines go on untouched. Bounds follow from a column's name, as its type in the schema does; a test
compares the two. Loading is `analytics.loader`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, cast

import msgspec

from analytics.events import FeedbackEvent
from analytics.request_log import RequestLog

UINT16_MAX = 2**16 - 1
UINT32_MAX = 2**32 - 1
# A call above a million dollars, or above 104 days, is a fault of whoever wrote it, and sums of lesser ones fit.
MONEY_MAX_NANOUSD = 10**15
DURATION_MAX_US = 9 * 10**12
STARTED_MIN_US = 1_577_836_800_000_000  # 2020-01-01, UTC
STARTED_MAX_US = 4_102_444_800_000_000  # 2100-01-01, UTC

# What the ledger's columns hold; longer ids are nobody's of ours.
KEY_LENGTHS = {
    "organization_id": 40,
    "workspace_id": 40,
    "api_key_id": 40,
    "key_source": 12,
    "price_version": 40,
    "price_state": 12,
    "state": 12,
}

Flag = bool | Annotated[int, msgspec.Meta(ge=0, le=1)]


class UnknownColumns(Exception):
    """The segment's header lacks a column without which a record is none."""


def integer_bounds(column: str) -> tuple[int, int] | None:
    """Return the least and the greatest value of an integer column, None where the column holds no integers."""
    if column.startswith("is_"):
        return 0, 1
    if column in {"http_status", "attempts", "client_retry_count"}:
        return 0, UINT16_MAX
    if column.endswith("_tokens") or column == "output_characters":
        return 0, UINT32_MAX
    if column.endswith("_nanousd"):
        return 0, MONEY_MAX_NANOUSD
    if column in {"started_us", "created_us", "request_started_us"}:
        return STARTED_MIN_US, STARTED_MAX_US
    if column.endswith("_us"):
        return 0, DURATION_MAX_US
    return None


class Account(msgspec.Struct, frozen=True, gc=False):
    """What the ledger reads of a record. A segment's worth of whole records would fill a worker's memory."""

    request_id: str
    organization_id: str
    workspace_id: str
    api_key_id: str
    key_source: str
    price_version: str
    price_state: str
    state: str
    started_us: int
    input_tokens: int
    cached_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    provider_cost_nanousd: int
    billed_nanousd: int
    booked_nanousd: int = 0
    agent: str = ""
    agent_run: str = ""
    end_user: str = ""
    tags: Mapping[str, str] = {}
    credential_id: str = ""


def account_of(record: RequestLog) -> Account:
    """Return what the ledger keeps of a record."""
    return Account(
        record.request_id,
        record.organization_id,
        record.workspace_id,
        record.api_key_id,
        record.key_source,
        record.price_version,
        record.price_state,
        record.state,
        record.started_us,
        record.input_tokens,
        record.cached_read_tokens,
        record.cache_write_tokens,
        record.output_tokens,
        record.reasoning_tokens,
        record.provider_cost_nanousd,
        record.billed_nanousd,
        record.booked_nanousd,
        record.agent,
        record.agent_run,
        record.end_user,
        record.tags,
        record.credential_id,
    )


def record_decoder(columns: Sequence[str]) -> Callable[[bytes], RequestLog]:
    """Return the function that reads a line of a segment with these columns, or raises msgspec.DecodeError.

    Columns that the segment lacks take their defaults; columns that only a newer release knows are read past.

    Raises:
        UnknownColumns: a column that every record has is not among them.
    """
    return cast(Callable[[bytes], RequestLog], _decoder(RequestLog, tuple(columns)))


def feedback_decoder(columns: Sequence[str]) -> Callable[[bytes], FeedbackEvent]:
    """Return the function that reads a line of feedback; see `record_decoder`."""
    return cast(Callable[[bytes], FeedbackEvent], _decoder(FeedbackEvent, tuple(columns)))


@cache
def _decoder(record: type[msgspec.Struct], columns: tuple[str, ...]) -> Callable[[bytes], Any]:
    known = {field.name: field for field in msgspec.structs.fields(record)}
    missing = [name for name, field in known.items() if name not in columns]
    lacking = [name for name in missing if known[name].required]
    if lacking:
        raise UnknownColumns(f"The segment's header lacks {', '.join(lacking)}.")
    fields: list[Any] = []
    for name in columns:
        if name in known:
            fields.append((name, _bounded(name, known[name].type)))
        else:
            fields.append((name, Any))
    fields += [(name, known[name].type, _default(known[name])) for name in missing]
    struct = msgspec.defstruct(f"Stored{record.__name__}", fields, array_like=True, frozen=True, gc=False)
    return msgspec.json.Decoder(struct).decode


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return field.default


def _bounded(name: str, annotation: Any) -> Any:
    """Return the field's type with the bounds of its column."""
    bounds = integer_bounds(name)
    if bounds is not None:
        limited: Any = Flag if name.startswith("is_") else Annotated[int, msgspec.Meta(ge=bounds[0], le=bounds[1])]
        return limited if annotation is int else limited | None
    if name in KEY_LENGTHS:
        return Annotated[str, msgspec.Meta(max_length=KEY_LENGTHS[name])]
    return annotation
