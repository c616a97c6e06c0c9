"""Load a segment into ClickHouse: once in effect, however often it is delivered.

The lines go through untouched, as one insert whose deduplication token is the segment's id. Lines that do not fit are
found, left out and returned as dead letters; everything else lands. Money is not counted here: `billing.ledger` posts
the records that this returns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from analytics import spool, stored_records
from analytics.clickhouse import client, errors
from analytics.clickhouse.errors import StoreError
from analytics.events import CONTENT_COLUMNS, RequestContent
from analytics.stored_records import Account, account_of

__all__ = ["DeadLetter", "LoadResult", "StoreError", "load"]

logger = logging.getLogger(__name__)

RECORD, CONTENT, FEEDBACK = "R", "C", "F"

OpenContent = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A line that does not fit. `position` counts the segment's lines of its kind; `reason` never quotes the line."""

    kind: str
    position: int
    reason: str
    columns: tuple[str, ...]
    line: bytes


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What landed: what the ledger posts of each record, because it posts exactly these, and counts of the rest."""

    segment_id: str
    records: list[Account]
    feedback: int
    contents: int
    dead_letters: list[DeadLetter]


def load(data: bytes, *, open_content: OpenContent) -> LoadResult:
    """Insert a segment's records, feedback and opted-in content; idempotent by the segment's id.

    `open_content` decrypts the payload of a content frame to the JSON of a RequestContent; it raises ValueError for
    one that it cannot open.

    Raises:
        spool.DamagedSegment, stored_records.UnknownColumns: the bytes are no segment that this release reads.
        errors.StoreUnavailable: ClickHouse does not answer now; call again with the same bytes.
        errors.QueryRefused: ClickHouse lacks a table or column; migrate it, then call again.
    """
    segment = spool.read_segment(data)
    dead: list[DeadLetter] = []
    records: list[Account] = _load_lines(segment, RECORD, "request_logs", _account_decoder, _request_id, dead)
    feedback = _load_lines(segment, FEEDBACK, "feedback", stored_records.feedback_decoder, _idempotency_key, dead)
    contents = _load_contents(segment, open_content, dead)
    if dead:
        logger.error(
            "Lines of a segment do not fit the log store and became dead letters",
            extra={
                "segment_id": segment.segment_id,
                "dead_letters": len(dead),
                "reasons": sorted({letter.reason for letter in dead})[:5],
            },
        )
    return LoadResult(
        segment_id=segment.segment_id,
        records=records,
        feedback=len(feedback),
        contents=contents,
        dead_letters=dead,
    )


def _load_lines(
    segment: spool.Segment,
    kind: str,
    table: str,
    make_decoder: Callable[[Sequence[str]], Callable[[bytes], Any]],
    identify: Callable[[Any], Any],
    dead: list[DeadLetter],
) -> list[Any]:
    """Insert one kind's lines and return the rows of those that landed."""
    lines = segment.lines(kind)
    if not lines:
        return []
    columns = tuple(segment.columns[kind])
    rows, positions = _read(lines, make_decoder(columns), identify, kind, columns, dead)
    good = lines if len(rows) == len(lines) else [lines[position] for position in positions]
    refused = _insert(table, columns, good, token=f"{segment.segment_id}:{kind}")
    if not refused:
        return rows
    dead += [DeadLetter(kind, positions[index], reason, columns, good[index]) for index, reason in refused.items()]
    return [row for index, row in enumerate(rows) if index not in refused]


def _read(
    lines: Sequence[bytes],
    decode: Callable[[bytes], Any],
    identify: Callable[[Any], Any],
    kind: str,
    columns: tuple[str, ...],
    dead: list[DeadLetter],
) -> tuple[list[Any], Sequence[int]]:
    """Return the rows that pass the typed reading, and the positions of their lines."""
    try:
        rows = [decode(line) for line in lines]
    except msgspec.DecodeError:
        rows = []
    if len(rows) == len(lines) and len({identify(row) for row in rows}) == len(rows) and not _may_hold_nul(lines):
        return rows, range(len(lines))
    rows, positions, seen = [], [], set()
    for position, line in enumerate(lines):
        row, reason = _read_line(line, decode)
        if row is not None and identify(row) in seen:
            row, reason = None, "its id stands twice in the segment"
        if row is None:
            dead.append(DeadLetter(kind, position, reason, columns, line))
            continue
        seen.add(identify(row))
        rows.append(row)
        positions.append(position)
    return rows, positions


def _read_line(line: bytes, decode: Callable[[bytes], Any]) -> tuple[Any, str]:
    try:
        row = decode(line)
    except msgspec.ValidationError as error:
        # "Expected `int` <= 65535 - at `$[17]`": types and places, never values.
        return None, str(error)[:200]
    except msgspec.DecodeError:
        return None, "it is not JSON"
    # PostgreSQL stores no NUL in text; one such id would stop a whole segment from being posted.
    if any("\0" in getattr(row, name, "") for name in stored_records.KEY_LENGTHS):
        return None, "an id holds a NUL character"
    return row, ""


def _may_hold_nul(lines: Sequence[bytes]) -> bool:
    return any(b"\\u0000" in line for line in lines)


def _insert(table: str, columns: Sequence[str], lines: Sequence[bytes], *, token: str) -> dict[int, str]:
    """Insert the lines; return the positions and reasons of those that ClickHouse refuses.

    A refused block is halved until the lines are found that it is refused for. Halves carry tokens of their own that
    depend on nothing but the lines, so a second delivery halves the same way and inserts nothing twice.
    """
    if not lines:
        return {}
    try:
        client.insert_raw(table, columns, b"\n".join(lines), token=token)
        return {}
    except errors.RowsRefused as error:
        if len(lines) == 1:
            return {0: str(error)[:200]}
    middle = len(lines) // 2
    refused = _insert(table, columns, lines[:middle], token=f"{token}/0")
    second = _insert(table, columns, lines[middle:], token=f"{token}/1")
    return refused | {index + middle: reason for index, reason in second.items()}


def _load_contents(segment: spool.Segment, open_content: OpenContent, dead: list[DeadLetter]) -> int:
    """Decrypt and insert the content frames; what cannot be opened becomes a dead letter as it came, encrypted."""
    lines, envelopes, positions = [], segment.lines(CONTENT), []
    for position, envelope in enumerate(envelopes):
        try:
            content = msgspec.json.decode(open_content(envelope), type=RequestContent)
        except (ValueError, msgspec.DecodeError):
            dead.append(DeadLetter(CONTENT, position, "it cannot be decrypted or is no content", (), envelope))
            continue
        lines.append(msgspec.json.encode([getattr(content, column) for column in CONTENT_COLUMNS]))
        positions.append(position)
    refused = _insert("request_contents", CONTENT_COLUMNS, lines, token=f"{segment.segment_id}:{CONTENT}")
    dead += [
        DeadLetter(CONTENT, positions[index], reason, (), envelopes[positions[index]])
        for index, reason in refused.items()
    ]
    return len(lines) - len(refused)


def _account_decoder(columns: Sequence[str]) -> Callable[[bytes], Account]:
    decode = stored_records.record_decoder(columns)
    return lambda line: account_of(decode(line))


def _request_id(account: Account) -> str:
    return account.request_id


def _idempotency_key(event: Any) -> tuple[str, str, str]:
    return event.organization_id, event.workspace_id, event.idempotency_key
