"""Bring sealed segments to the workers: publish, wait for the ledger's mark, delete; finish what dead processes left.

A segment's file is deleted when the ledger has its mark and never before, so a broker that forgets and a worker that
dies cost a second delivery, which both stores recognise. What a segment holds, and how it is loaded, is not known here.

Of the processes that share a spool directory one ships (it holds `shipper.lock`); another takes over when it ends.
A message is bounded because a segment is: the writer changes it at twice its size at the latest, so nothing is split.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from celery import current_app
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerError

from analytics import spool
from analytics.spool import files
from billing.models import LoadedSegment

logger = logging.getLogger(__name__)

TASK = "billing.tasks.load_segment"
QUEUE = "segments"

_LOCK_NAME = "shipper.lock"
_MAX_IN_FLIGHT = 32  # the backlog of an outage waits on the disk, not in the broker's memory
_MAX_REDELIVERY_S = 900.0
_RECOVERY_S = 5.0
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.5, 10.0
_BROKER_TIMEOUT_S = 5.0


class BrokerUnavailable(Exception):
    """The broker did not take the message; it may be sent again."""


class Publish(Protocol):
    """Sends a segment's message. Raises `BrokerUnavailable`; never blocks for more than some seconds."""

    def __call__(self, *, segment_id: str, body: str, sha256: str) -> None: ...


# Returns those of the given segment ids that the ledger has. Raises django.db.Error.
IsLoaded = Callable[[list[str]], set[str]]


@dataclass(frozen=True, slots=True)
class Backlog:
    """What lies sealed and not yet confirmed. `oldest_s` is the age of the oldest segment, 0 when there is none."""

    segments: int
    size_bytes: int
    oldest_s: float


@dataclass(slots=True)
class Counters:
    """What a shipper has done since its start."""

    published: int = 0
    republished: int = 0
    confirmed: int = 0
    failures: int = 0
    interrupted: int = 0


@dataclass(slots=True)
class _Delivery:
    due_at: float  # when it is published again
    attempts: int


class Shipper:
    """A thread that ships the sealed segments of one directory."""

    def __init__(
        self,
        directory: Path,
        publish: Publish,
        is_loaded: IsLoaded,
        interval: float = 0.25,
        *,
        redelivery_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = Counters()
        self._directory = Path(directory)
        self._publish = publish
        self._is_loaded = is_loaded
        self._interval = interval
        self._redelivery_s = redelivery_s
        self._clock = clock
        self._in_flight: dict[str, _Delivery] = {}
        self._recovery_due_at = clock() + _RECOVERY_S
        self._lock: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Publish what is sealed and end; return whether that was done in time. The next start ships what remains."""
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def backlog(self) -> Backlog:
        """Return the state of the directory now."""
        sealed = _sealed(self._directory)
        oldest_s = max(0.0, time.time() - sealed[0].sealed_at) if sealed else 0.0
        return Backlog(len(sealed), sum(segment.size_bytes for segment in sealed), oldest_s)

    def ship(self, *, limit: int = _MAX_IN_FLIGHT) -> None:
        """Make one pass: delete what the ledger has, publish what is due, keep at most `limit` under way.

        Raises:
            BrokerUnavailable, django.db.Error: the pass ended there; the next one goes on.
        """
        if not self._may_ship():
            return
        now = self._clock()
        if now >= self._recovery_due_at:
            self._recovery_due_at = now + _RECOVERY_S
            self.counters.interrupted += _recover(self._directory).interrupted
        window = self._window(limit)
        if not window:
            return
        loaded = self._is_loaded([segment.segment_id for segment in window])
        for segment in window:
            if segment.segment_id in loaded:
                self._confirm(segment)
            else:
                self._deliver(segment, now)

    def _window(self, limit: int) -> list[_Sealed]:
        """Return the segments under way and, as far as the limit allows, the oldest of the others."""
        sealed = _sealed(self._directory)
        present = {segment.segment_id for segment in sealed}
        for segment_id in self._in_flight.keys() - present:
            del self._in_flight[segment_id]
        free = limit - len(self._in_flight)
        window = []
        for segment in sealed:
            if segment.segment_id in self._in_flight:
                window.append(segment)
            elif free > 0:
                window.append(segment)
                free -= 1
        return window

    def _confirm(self, segment: _Sealed) -> None:
        segment.path.unlink(missing_ok=True)
        self._in_flight.pop(segment.segment_id, None)
        self.counters.confirmed += 1

    def _deliver(self, segment: _Sealed, now: float) -> None:
        delivery = self._in_flight.get(segment.segment_id)
        if delivery is not None and now < delivery.due_at:
            return
        try:
            data = segment.path.read_bytes()
        except FileNotFoundError:
            return
        body, sha256 = spool.pack(data)
        self._publish(segment_id=segment.segment_id, body=body, sha256=sha256)
        attempts = 1 if delivery is None else delivery.attempts + 1
        # Each further delivery waits longer: while the stores are down, copies must not pile up in the broker.
        wait = min(self._redelivery_s * 2 ** (attempts - 1), max(_MAX_REDELIVERY_S, self._redelivery_s))
        self._in_flight[segment.segment_id] = _Delivery(due_at=now + wait, attempts=attempts)
        if delivery is None:
            self.counters.published += 1
        else:
            self.counters.republished += 1

    def _may_ship(self) -> bool:
        if self._lock is None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._directory / _LOCK_NAME
            path.touch(mode=0o600)
            self._lock = files.lock(path)
        return self._lock is not None

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            failures = 0 if self._pass(_MAX_IN_FLIGHT) else failures + 1
            pause = min(_FIRST_PAUSE_S * 2 ** (failures - 1), _LAST_PAUSE_S) if failures else self._interval
            self._stop.wait(pause)
        self._pass(limit=1 << 30)
        connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _pass(self, limit: int) -> bool:
        close_old_connections()
        try:
            self.ship(limit=limit)
        except BrokerUnavailable:
            logger.warning("The broker takes no segments; they wait in the spool.")
        except DatabaseError:
            logger.warning("The ledger cannot be asked for segments; they wait in the spool.")
        except OSError:
            logger.exception("The spool directory cannot be read or written; shipping is tried again.")
        except Exception:
            logger.exception("Shipping failed unexpectedly; it is tried again.")
        else:
            return True
        self.counters.failures += 1
        return False


class CeleryPublisher:
    """Publishes over a broker connection of its own that gives up after seconds, whatever the broker does."""

    def __init__(self) -> None:
        self._connection: Connection | None = None

    def __call__(self, *, segment_id: str, body: str, sha256: str) -> None:
        """Send the message.

        Raises:
            BrokerUnavailable: it may or may not have arrived.
        """
        if self._connection is None:
            self._connection = current_app.connection_for_write(
                connect_timeout=_BROKER_TIMEOUT_S,
                transport_options={
                    "socket_timeout": _BROKER_TIMEOUT_S,
                    "socket_connect_timeout": _BROKER_TIMEOUT_S,
                    # Without these a channel is opened with retries that never end.
                    "max_retries": 1,
                    "interval_start": 0,
                    "interval_step": 0.1,
                    "interval_max": 0.1,
                },
            )
        broker = self._connection
        broker_errors: tuple[type[BaseException], ...] = (
            BrokerError,
            *broker.connection_errors,
            *broker.channel_errors,
        )
        try:
            current_app.send_task(
                TASK,
                kwargs={"segment_id": segment_id, "body": body, "sha256": sha256},
                queue=QUEUE,
                producer=current_app.amqp.Producer(broker, auto_declare=False),
                retry=False,
                ignore_result=True,
                # What tools show of the arguments: Celery would print the body at length to cut it short afterwards.
                argsrepr="()",
                kwargsrepr=segment_id,
            )
        except broker_errors as error:
            self._connection = None
            with contextlib.suppress(*broker_errors):
                broker.close()
            raise BrokerUnavailable("The broker did not take the message.") from error


def loaded_segments(segment_ids: list[str]) -> set[str]:
    """Return those of the segments that the ledger has.

    Raises:
        django.db.Error: the database does not answer.
    """
    return set(LoadedSegment.objects.filter(pk__in=segment_ids).values_list("pk", flat=True))


def recover_and_start(
    directory: Path, *, publish: Publish | None = None, is_loaded: IsLoaded = loaded_segments
) -> Shipper:
    """Finish what dead processes left in the spool and start shipping; called once at the start of a process."""
    _recover(Path(directory))
    shipper = Shipper(
        directory,
        publish or CeleryPublisher(),
        is_loaded,
        redelivery_s=settings.SEGMENT_REDELIVERY_SECONDS,
    )
    shipper.start()
    return shipper


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A sealed segment's file."""

    sealed_at: float
    segment_id: str
    path: Path
    size_bytes: int


def _sealed(directory: Path) -> list[_Sealed]:
    """Return the sealed segments, the oldest first."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(files.SEALED):
                    with contextlib.suppress(FileNotFoundError):
                        facts = entry.stat()
                        name = entry.name.removesuffix(files.SEALED)
                        found.append(_Sealed(facts.st_mtime, name, Path(entry.path), facts.st_size))
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda segment: (segment.sealed_at, segment.segment_id))


def _recover(directory: Path) -> spool.Recovery:
    found = spool.recover(directory)
    if found.writers:
        logger.warning(
            "The spool of %d ended processes was recovered: %d calls interrupted, %d torn bytes.",
            found.writers,
            found.interrupted,
            found.torn_bytes,
        )
    for path in found.damaged:
        logger.error("A damaged segment was kept aside: %s", path.name)
    if found.failed:
        logger.error("The disk refused the recovery of %d segments; it is tried again.", len(found.failed))
    return found
