"""Put the demo organization's traffic through the spool, once, beside the serving process.

The segments take the road of every other: shipped, loaded, posted to the ledger, rolled up. When all of them have
arrived, the two analysis jobs look at the route changes and the experiments.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.utils import timezone

from accounts.models import User
from analytics import experiments, quality
from analytics.queries import StoreError
from analytics.spool import SpoolUnavailable, Writer
from billing.models import LoadedSegment
from config.demo import plan, story
from config.demo.traffic import Traffic
from gateway.catalog import loader

_ARRIVAL_TIMEOUT_S = 600.0
# The loader shares one interpreter with the gateway: between hours it lets everybody else go first.
_BREATH_S = 0.005

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Size:
    """How much traffic the demo makes, and under which name."""

    name: str
    days: int
    calls_per_day: int


SIZES = {
    "small": Size(name="Demo", days=7, calls_per_day=1200),
    "large": Size(name="Demo, 30 days", days=30, calls_per_day=3000),
}


class DemoLoad:
    """A thread that loads the demo; `stop` ends it early at the next hour of traffic.

    `mark` is the file that says that this demo was made, so that it is not made again once it was removed.
    """

    def __init__(self, *, owner_email: str, size: Size, mark: Path) -> None:
        self._owner_email = owner_email
        self._size = size
        self._mark = mark
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        try:
            self._load()
        except (SpoolUnavailable, StoreError):
            logger.exception("The demo is incomplete: a store did not take it.")
        except Exception:
            logger.exception("The demo could not be loaded.")
        finally:
            connection.close()

    def _load(self) -> None:
        started = time.monotonic()
        owner = User.objects.get(email=self._owner_email)
        end = timezone.now()
        begin = (end - dt.timedelta(days=self._size.days)).replace(minute=0, second=0, microsecond=0)
        catalog, book = loader.load(settings.DATA_DIR / "prices")
        told = story.tell(name=self._size.name, owner=owner, catalog=catalog, start=begin, end=end)
        # From here on the demo is there; an interrupted one is short, not doubled by the next start.
        self._mark.write_text(told.organization.pk, encoding="utf-8")
        writer = Writer(
            settings.SPOOL_DIR,
            segment_bytes=settings.SPOOL_SEGMENT_BYTES,
            segment_seconds=settings.SPOOL_SEGMENT_SECONDS,
        )
        try:
            calls = self._make_calls(told, Traffic(catalog=catalog, book=book, writer=writer), writer, begin, end)
        finally:
            writer.close()
        logger.info("The demo's calls are made.", extra={"calls": calls, "s": round(time.monotonic() - started, 1)})
        if self._arrived(writer.writer_id):
            _analyse(told)
            logger.info("The demo is loaded.", extra={"s": round(time.monotonic() - started, 1)})

    def _make_calls(
        self, told: story.Story, traffic: Traffic, writer: Writer, begin: dt.datetime, end: dt.datetime
    ) -> int:
        made = 0
        hour = begin.timestamp()
        while hour < end.timestamp() and not self._stop.is_set():
            for call in plan.calls_of_hour(start=hour, calls_per_day=self._size.calls_per_day, seed="demo"):
                if call.at < end.timestamp():
                    traffic.record(call, told.key(call.agent, call.at))
                    made += 1
            writer.rotate()
            hour += plan.HOUR_S
            self._stop.wait(_BREATH_S)
        return made

    def _arrived(self, writer_id: str) -> bool:
        """Wait until the ledger has every segment of the writer; False when it is told to stop or takes too long."""
        deadline = time.monotonic() + _ARRIVAL_TIMEOUT_S
        while time.monotonic() < deadline:
            if not any(settings.SPOOL_DIR.glob(f"{writer_id}*")):
                return LoadedSegment.objects.filter(segment_id__startswith=writer_id).exists()
            if self._stop.wait(0.25):
                return False
        logger.warning("The demo's segments are still on their way; its analysis follows with the regular jobs.")
        return False


def _analyse(told: story.Story) -> None:
    """Do now, on whole data, what the jobs of every minute would do later."""
    now = timezone.now()
    for change in told.changes:
        quality.compare(change, now=now)
    for experiment in told.experiments:
        experiments.evaluate(experiment, now=now)
