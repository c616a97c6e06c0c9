"""What was spent in a period by one value of a dimension: the ledger's sums, and the spool that it does not have yet.

Blocking; `gateway.admission` asks from a thread, when it opens a budget. A sealed segment never changes, so its sums
are kept as long as its file is there; only segments that are being written are read each time. A client opens as many
budgets as it names runs, so the spool may be given a rest after it was read.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from analytics import spool, stored_records
from analytics.spool import files
from billing import spending
from billing.models import LoadedSegment
from billing.spending import Key

logger = logging.getLogger(__name__)

_ATTEMPTS = 5


class Spend:
    """Reads what was spent. One for a spool directory; safe to call from several threads."""

    def __init__(self, directory: Path, *, rests: float = 0.0) -> None:
        """`rests`: for so many times as long as the last reading took, its sums are good enough for others too."""
        self._directory = directory
        self._rests = rests
        self._last: dict[str, dict[Key, int]] = {}
        self._good_until = 0.0
        self._sealed: dict[str, dict[Key, int]] = {}
        self._lock = threading.Lock()

    def of(self, *, organization_id: str, dimension: str, value: str, starts_at: float, ends_at: float) -> int:
        """Return nano-USD booked in the period, as far as any record on this machine or in the ledger tells.

        Raises:
            django.db.Error: the ledger does not answer.
        """
        waiting = self._recent()
        # Loading a segment moves its sums from the spool to the ledger; what is read must lie on one side of it.
        for _ in range(_ATTEMPTS):
            before = _loaded(waiting)
            posted = spending.between(
                organization_id=organization_id,
                dimension=dimension,
                value=value,
                starts_at=starts_at,
                ends_at=ends_at,
            )
            if _loaded(waiting) == before:
                break
        first, last = int(starts_at) // spending.QUARTER_S, int(ends_at) // spending.QUARTER_S
        return posted + sum(
            booked
            for segment_id, sums in waiting.items()
            if segment_id not in before
            for (owner, of, name, quarter), booked in sums.items()
            if owner == organization_id and of == dimension and name == value and first <= quarter < last
        )

    def _recent(self) -> dict[str, dict[Key, int]]:
        with self._lock:
            began = time.monotonic()
            if began >= self._good_until:
                self._last = self._waiting()
                ended = time.monotonic()
                self._good_until = ended + self._rests * (ended - began)
            return self._last

    def _waiting(self) -> dict[str, dict[Key, int]]:
        """Return the sums of every segment whose file is there."""
        found: dict[str, dict[Key, int]] = {}
        if not self._directory.is_dir():
            return found
        paths = [path for path in self._directory.iterdir() if path.suffix in (files.OPEN, files.SEALED)]
        for path in paths:
            segment_id = path.stem
            sums = self._sealed.get(segment_id)
            if sums is None:
                sums = _sums(path)
                if sums is None:  # it was sealed or shipped meanwhile
                    sums = _sums(path.with_suffix(files.SEALED))
                if sums is None:
                    continue
                if path.suffix == files.SEALED:
                    self._sealed[segment_id] = sums
            found[segment_id] = sums
        for gone in self._sealed.keys() - found.keys():
            del self._sealed[gone]
        return found


def _loaded(waiting: dict[str, dict[Key, int]]) -> frozenset[str]:
    return frozenset(LoadedSegment.objects.filter(pk__in=list(waiting)).values_list("pk", flat=True))


def _sums(path: Path) -> dict[Key, int] | None:
    """Return a segment's sums, None where its file is gone; records that cannot be read count nothing."""
    try:
        segment = spool.read_segment(path.read_bytes())
    except FileNotFoundError:
        return None
    except spool.DamagedSegment:
        return {}
    lines = segment.lines("R")
    if not lines:
        return {}
    decode = stored_records.record_decoder(tuple(segment.columns["R"]))
    records = []
    for line in lines:
        try:
            records.append(stored_records.account_of(decode(line)))
        except ValueError:  # msgspec's errors are; it becomes a dead letter, which the ledger leaves out too
            continue
    return spending.aggregate(records)
