"""Stands in for the worker: takes every segment from the broker, marks it as loaded, and counts its records.

A gateway whose segments nobody confirms stops shipping after a few of them, and one that ships nothing would look
cheaper than it is. A real worker on the load generator's core would slow the load down; loading has a benchmark of its
own (`benchmarks.ingest`). So segments are only kept and marked while a load runs, and read when it has ended.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from queue import Empty
from typing import Any

import orjson
import psycopg
import redis
from kombu import Connection

from analytics import request_log, spool
from benchmarks.gateway import processes

QUEUE = "segments"
_STATE = request_log.COLUMNS.index("state")
_STATUS = request_log.COLUMNS.index("http_status")
_PRICE_STATE = request_log.COLUMNS.index("price_state")
_MARK = (
    "INSERT INTO billing_loadedsegment (segment_id, records, dead_letters, sha256, loaded_at) "
    "VALUES (%s, 0, 0, %s, now()) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Count:
    """What the segments hold that were read since the last count."""

    settled: int = 0  # priced records of calls that were answered with 200
    others: int = 0  # failed, interrupted or unpriced
    twice: int = 0  # records of a call that has one already


class Ledger:
    """Takes segments from a Redis database that it has for itself, in a thread."""

    def __init__(self, *, redis_url: str, database_url: str) -> None:
        self._redis_url, self._database_url = redis_url, database_url
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._parcels: dict[str, tuple[str, str]] = {}
        self._marked: set[str] = set()
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        """Start taking segments.

        Raises:
            processes.Unusable: Redis does not answer, or the database holds keys of somebody else.
        """
        try:
            keys = redis.Redis.from_url(self._redis_url).dbsize()
        except redis.RedisError as error:
            raise processes.Unusable(
                f"Redis at {self._redis_url} does not answer. Name another: --redis-url"
            ) from error
        if keys:
            raise processes.Unusable(
                f"{self._redis_url} is not empty. Name an unused database (--redis-url); it is flushed afterwards."
            )
        self._thread.start()

    def stop(self) -> None:
        """End, and empty the Redis database."""
        if self._thread.is_alive():
            self._stop.set()
            self._thread.join(10)
            redis.Redis.from_url(self._redis_url).flushdb()

    def settle(self, expected: int, *, within_s: float = 20.0) -> Count:
        """Wait until the segments hold as many records as calls were answered; return what they hold.

        It returns with less after `within_s`: then records are missing.
        """
        seen: set[str] = set()
        count = Count()
        deadline = time.monotonic() + within_s
        while True:
            for data in self._take():
                count = _add(count, data, seen)
            if count.settled + count.others >= expected or time.monotonic() > deadline:
                return count
            time.sleep(0.05)

    def _take(self) -> list[bytes]:
        if self._failure:
            raise processes.Unusable(f"Segments can no longer be taken or marked: {self._failure}")
        with self._lock:
            parcels, self._parcels = self._parcels, {}
        return [spool.unpack(body, sha256) for body, sha256 in parcels.values()]

    def _run(self) -> None:
        try:
            with (
                Connection(self._redis_url) as broker,
                psycopg.connect(self._database_url, autocommit=True) as database,
            ):
                queue = broker.SimpleQueue(QUEUE)
                while not self._stop.is_set():
                    try:
                        message = queue.get(timeout=0.5)
                    except Empty:
                        continue
                    self._accept(message, database)
                queue.close()
        except Exception as error:
            self._failure = repr(error)

    def _accept(self, message: Any, database: psycopg.Connection[Any]) -> None:
        segment = message.payload[1]
        segment_id = segment["segment_id"]
        with self._lock:
            if segment_id not in self._marked:  # a second delivery brings nothing new
                self._marked.add(segment_id)
                self._parcels[segment_id] = (segment["body"], segment["sha256"])
        database.execute(_MARK, (segment_id, segment["sha256"]))
        message.ack()


def _add(count: Count, data: bytes, seen: set[str]) -> Count:
    settled, others, twice = count.settled, count.others, count.twice
    for line in spool.read_segment(data).lines("R"):
        record = orjson.loads(line)
        if record[0] in seen:
            twice += 1
            continue
        seen.add(record[0])
        is_settled = record[_STATE] == request_log.SETTLED and record[_STATUS] == 200
        if is_settled and record[_PRICE_STATE] == request_log.PRICED:
            settled += 1
        else:
            others += 1
    return Count(settled, others, twice)
