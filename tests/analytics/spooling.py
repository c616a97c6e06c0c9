"""What the tests of the spool share: calls as log lines, and what a directory of segments says about them."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from analytics import request_log, spool


class Clock:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make_line(request_id: str, state: str = request_log.SETTLED, receipt: str = "{}") -> bytes:
    return request_log.encode(
        request_log.RequestLog(
            request_id=request_id,
            organization_id="org_acme",
            workspace_id="ws_acme",
            api_key_id="key_alice",
            started_us=1_790_000_000_000_000,
            state=state,
            receipt=receipt,
        )
    )


def intent_line(request_id: str) -> bytes:
    return make_line(request_id, request_log.INTERRUPTED)


def open_writer(
    directory: Path, *, segment_bytes: int = 1 << 20, segment_seconds: float = 1, clock=None
) -> spool.Writer:
    return spool.Writer(directory, segment_bytes=segment_bytes, segment_seconds=segment_seconds, clock=clock or Clock())


def crash(directory: Path, to: Path) -> Path:
    """Return a copy of the directory as a crash at this moment would leave it: same bytes, no locks."""
    shutil.copytree(directory, to)
    return to


def outcomes(directory: Path) -> dict[str, list[str]]:
    """Return the states of every record in the sealed segments, by request id."""
    found: dict[str, list[str]] = {}
    for path in sorted(directory.glob("*.sealed")):
        for line in spool.read_segment(path.read_bytes()).lines("R"):
            record = request_log.decode(line)
            found.setdefault(record.request_id, []).append(record.state)
    return found


def left_open(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.open"))


def duplicates(directory: Path) -> dict[str, int]:
    counts = Counter({request_id: len(states) for request_id, states in outcomes(directory).items()})
    return {request_id: count for request_id, count in counts.items() if count > 1}
