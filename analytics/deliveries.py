"""What customers' collectors are still to get: kept with a segment's loading, sent later, dropped after a day.

`keep` writes batches in the transaction that posts the segment, so none is lost and none is kept twice. `deliver`
sends what is due; a batch goes when the collector has taken it, so it is sent at least once. A collector that fails
is left alone for a growing while, and its page says since when it fails; loading never waits for it.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec
import zstandard
from django.db.models import F

from accounts import outbound
from accounts.encryption import KeyringError
from analytics import collectors, spool, stored_records
from analytics.collectors import Post
from analytics.models import Collector, TelemetryBatch
from analytics.request_log import RequestLog
from analytics.telemetry import metrics, spans

logger = logging.getLogger(__name__)

RECORDS_PER_BATCH = 500
BATCHES_PER_RUN = 8
COLLECTORS_PER_RUN = 16
MOST_BATCHES = 1000  # of one collector
MAXIMUM_AGE = dt.timedelta(hours=24)
TIMEOUT_S = 10.0
_LEASE = dt.timedelta(seconds=2 * BATCHES_PER_RUN * TIMEOUT_S + 20)
_LONGEST_WAIT_S = 300
_LONGEST_RETRY_AFTER_S = 3600
# The collector will never take such a batch, so it goes; it is counted as dropped.
_HOPELESS = frozenset({400, 413, 422})


def keep(*, data: bytes, organization_ids: Iterable[str], now: dt.datetime) -> int:
    """Keep a segment's records for the collectors of their organizations; return how many batches were made.

    Call it in the transaction that marks the segment as loaded, when that is new.
    """
    waiting = list(Collector.objects.filter(organization_id__in=set(organization_ids), is_enabled=True))
    if not waiting:
        return 0
    segment = spool.read_segment(data)
    columns = tuple(segment.columns["R"])
    lines = list(_sound_lines(segment.lines("R"), columns))
    made: list[TelemetryBatch] = []
    for collector in waiting:
        wanted = [line for record, line in lines if _is_for(record, collector)]
        room = MOST_BATCHES - collector.batches.count()
        for part, start in enumerate(range(0, len(wanted), RECORDS_PER_BATCH)):
            some = wanted[start : start + RECORDS_PER_BATCH]
            if part >= room:
                _drop(collector.pk, len(some))
                continue
            made.append(
                TelemetryBatch(
                    collector=collector,
                    segment_id=segment.segment_id,
                    part=part,
                    records=len(some),
                    payload=_packed(columns, some),
                    created_at=now,
                )
            )
    TelemetryBatch.objects.bulk_create(made, ignore_conflicts=True)
    return len(made)


def deliver(*, now: dt.datetime, post: Post = outbound.post) -> int:
    """Send what waits for the collectors that are due; return how many batches were taken.

    Collectors are sent to at the same time, so that one that hangs does not hold up the others.
    """
    _drop_old(now)
    due = Collector.objects.due(now).filter(batches__isnull=False).distinct().order_by("next_attempt_at", "pk")
    jobs = [job for collector in due[:COLLECTORS_PER_RUN] if (job := _claim(collector, now)) is not None]
    if not jobs:
        return 0
    taken = 0
    with ThreadPoolExecutor(max_workers=min(8, len(jobs)), thread_name_prefix="otlp") as pool:
        for job, outcome in zip(jobs, pool.map(lambda job: _run(job, post), jobs), strict=True):
            taken += _settle(job, outcome, now)
    return taken


@dataclass(frozen=True, slots=True)
class _Job:
    """One collector and the oldest batches that it is to get."""

    collector: Collector
    batches: Sequence[TelemetryBatch]


@dataclass(slots=True)
class _Outcome:
    """How far a job came. Batches not named are sent again."""

    taken: list[TelemetryBatch] = field(default_factory=list)
    hopeless: list[TelemetryBatch] = field(default_factory=list)
    half_sent: TelemetryBatch | None = None
    rejected_records: int = 0
    failure: str = ""
    retry_after_s: float | None = None


class _Failed(Exception):
    """The collector did not take a request; it may take it later."""

    def __init__(self, why: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class _Hopeless(Exception):
    """The collector will never take a request."""


def _claim(collector: Collector, now: dt.datetime) -> _Job | None:
    """Return a job if no other worker took the collector first."""
    claimed = Collector.objects.due(now).filter(pk=collector.pk).update(leased_until=now + _LEASE)
    if not claimed:
        return None
    return _Job(collector, list(collector.batches.order_by("pk")[:BATCHES_PER_RUN]))


def _run(job: _Job, post: Post) -> _Outcome:
    """Send a job's batches in order until one fails. In a thread of its own: it touches no database."""
    outcome = _Outcome()
    try:
        headers = {
            "content-type": "application/json",
            "content-encoding": "gzip",
            **collectors.opened_headers(job.collector),
        }
        for batch in job.batches:
            try:
                _send(job.collector, batch, headers, outcome, post)
            except _Hopeless as error:
                outcome.hopeless.append(batch)
                outcome.failure = str(error)
            else:
                outcome.taken.append(batch)
                outcome.failure = ""
    except _Failed as error:
        outcome.failure, outcome.retry_after_s = str(error), error.retry_after_s
    except outbound.OutboundError as error:
        outcome.failure = str(error)
    except KeyringError:
        outcome.failure = "The headers cannot be decrypted. Enter them again."
    except Exception as error:
        # Its text may hold a header; a fault of ours must not stop the other collectors.
        logger.error("Telemetry could not be sent", extra={"error": type(error).__name__})
        outcome.failure = "Something went wrong on our side."
    return outcome


def _send(collector: Collector, batch: TelemetryBatch, headers: dict[str, str], outcome: _Outcome, post: Post) -> None:
    records = _unpacked(bytes(batch.payload))
    organization_id = collector.organization_id
    if collector.sends_traces and not batch.has_sent_traces:
        ratio = collector.sample_percent / 100
        sampled = [record for record in records if spans.is_sampled(record, sample_ratio=ratio)]
        if sampled:
            body = spans.export(sampled, organization_id=organization_id)
            outcome.rejected_records += _post(collector, "/v1/traces", body, headers, post)
        outcome.half_sent = batch
    if collector.sends_metrics:
        body = metrics.export(records, organization_id=organization_id)
        _post(collector, "/v1/metrics", body, headers, post)
    outcome.half_sent = None


def _post(collector: Collector, path: str, body: bytes, headers: dict[str, str], post: Post) -> int:
    """Send one export; return how many of its items the collector says that it refused.

    Raises:
        _Failed, _Hopeless, outbound.OutboundError
    """
    answer = post(collector.endpoint + path, body=gzip.compress(body, 3), headers=headers, timeout_s=TIMEOUT_S)
    if 200 <= answer.status < 300:
        return _rejected(answer.body)
    why = f"The collector answered {answer.status} to {path}. {collectors.advice(answer.status)}".strip()
    if answer.status in _HOPELESS:
        raise _Hopeless(why)
    raise _Failed(why, retry_after_s=_retry_after(answer.headers.get("retry-after", "")))


class _PartialSuccess(msgspec.Struct, rename="camel"):
    rejected_spans: int | str = 0


class _Answer(msgspec.Struct, rename="camel"):
    partial_success: _PartialSuccess = msgspec.field(default_factory=_PartialSuccess)


def _rejected(body: bytes) -> int:
    """Return `rejectedSpans` of an OTLP answer, 0 where it says nothing that can be read."""
    try:
        return int(msgspec.json.decode(body, type=_Answer).partial_success.rejected_spans)
    except (msgspec.DecodeError, ValueError):
        return 0


def _retry_after(value: str) -> float | None:
    try:
        return min(_LONGEST_RETRY_AFTER_S, max(0.0, float(value)))
    except ValueError:
        return None


def _settle(job: _Job, outcome: _Outcome, now: dt.datetime) -> int:
    """Write down how far a job came, and end its lease."""
    collector = job.collector
    gone = outcome.taken + outcome.hopeless
    TelemetryBatch.objects.filter(pk__in=[batch.pk for batch in gone]).delete()
    if outcome.half_sent is not None:
        TelemetryBatch.objects.filter(pk=outcome.half_sent.pk).update(has_sent_traces=True)
    sent = sum(batch.records for batch in outcome.taken)
    lost = sum(batch.records for batch in outcome.hopeless) + outcome.rejected_records
    changes: dict[str, object] = {
        "leased_until": None,
        "sent_records": F("sent_records") + sent,
        "dropped_records": F("dropped_records") + lost,
    }
    if outcome.taken:
        changes["last_success_at"] = now
    if outcome.failure:
        failures = 1 if outcome.taken else collector.failures + 1
        wait_s = max(min(_LONGEST_WAIT_S, 2 ** min(failures, 9)), outcome.retry_after_s or 0)
        changes |= {
            "failures": failures,
            "failing_since_at": (None if outcome.taken else collector.failing_since_at) or now,
            "failure": outcome.failure[:300],
            "next_attempt_at": now + dt.timedelta(seconds=wait_s),
        }
    else:
        changes |= {"failures": 0, "failing_since_at": None, "failure": "", "next_attempt_at": now}
    Collector.objects.filter(pk=collector.pk).update(**changes)
    return len(outcome.taken)


def _drop_old(now: dt.datetime) -> None:
    """Give up batches that no collector took for a day, and those of paused ones."""
    old = TelemetryBatch.objects.filter(created_at__lt=now - MAXIMUM_AGE).values_list("pk", "collector_id", "records")
    for pk, collector_id, records in old[:MOST_BATCHES]:
        if TelemetryBatch.objects.filter(pk=pk).delete()[0]:
            _drop(collector_id, records)


def _drop(collector_id: str, records: int) -> None:
    Collector.objects.filter(pk=collector_id).update(dropped_records=F("dropped_records") + records)


def _is_for(record: RequestLog, collector: Collector) -> bool:
    return record.organization_id == collector.organization_id and collector.workspace_id in {
        None,
        record.workspace_id,
    }


def _sound_lines(lines: Iterable[bytes], columns: tuple[str, ...]) -> Iterable[tuple[RequestLog, bytes]]:
    """Yield the records that can be read, each with its line. The others are dead letters of the loader's."""
    decode = stored_records.record_decoder(columns)
    for line in lines:
        try:
            yield decode(line), line
        except msgspec.DecodeError:
            continue


def _packed(columns: Sequence[str], lines: Sequence[bytes]) -> bytes:
    """Return a batch's payload: zstd over the columns' names and the lines, one JSON array a line."""
    return zstandard.ZstdCompressor(level=3).compress(b"\n".join((json.dumps(columns).encode(), *lines)))


def _unpacked(payload: bytes) -> list[RequestLog]:
    columns, *lines = zstandard.ZstdDecompressor().decompress(payload).split(b"\n")
    decode = stored_records.record_decoder(json.loads(columns))
    return [decode(line) for line in lines]
