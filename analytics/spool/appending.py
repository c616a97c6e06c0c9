"""The current segment as its writer appends to it: frames, offsets, and the room that open calls were promised.

Nothing here locks, syncs, rotates or seals; `writer` does, and calls every method with its write lock held.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import NoReturn

from analytics.spool import files, frames

# Room kept for one open call's record; records share the room of all open calls, so one long receipt is no problem.
RECORD_RESERVE_BYTES = 4096
EXTENSION_BYTES = 1024 * 1024
MAX_OVERDUE = 10_000


class SpoolUnavailable(Exception):
    """The spool cannot take this now: the disk is full or failing, or the writer is closed. It heals by itself."""


class Appender:
    """What the writer knows of its current segment and of the calls that are open in it."""

    def __init__(self, *, segment_bytes: int) -> None:
        self.dropped_contents = 0
        self._segment_bytes = segment_bytes
        self._open: dict[str, bytes] = {}  # request id -> its intent frame, in order of admission
        self._overdue: dict[str, bytes] = {}  # request id -> record frame that the disk has not taken yet
        self._unsealed: list[files.SegmentFile] = []  # rotated away, oldest first, not sealed yet
        self._is_closed = False
        self._segment: files.SegmentFile
        # Copies of what belongs to the current segment, and the offset up to which a frame needs no further thought.
        self._fd = -1
        self._position = 0
        self._limit = 0
        self._has_records = False

    def _append(self, data: bytes) -> None:
        try:
            files.write_at(self._fd, data, self._position)
        except OSError:
            self._erase(len(data))
            raise
        self._position += len(data)

    def _append_or_postpone(self, request_id: str, frame: bytes) -> None:
        try:
            self._append(frame)
        except OSError as error:
            self._postpone(request_id, frame, error)

    def _postpone(self, request_id: str, frame: bytes, error: OSError) -> NoReturn:
        # A flood of calls that were never admitted must not fill the memory while the disk is full.
        if request_id in self._open or len(self._overdue) < MAX_OVERDUE:
            self._overdue[request_id] = frame
        raise unavailable("The record cannot be written", error) from error

    def _append_overdue(self) -> None:
        for request_id, frame in list(self._overdue.items()):
            if request_id not in self._open and not self._fits(len(frame)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._append(frame)
            self._has_records = True
            del self._overdue[request_id]
            self._open.pop(request_id, None)

    def _admit(self, request_id: str, frame: bytes, extra: bytes) -> bytes:
        """Return the content that there is room for; refuse a record that nothing was promised to."""
        if self._is_closed:
            raise SpoolUnavailable("The spool is closed.")
        if self._fits(len(frame) + len(extra)):
            return extra
        if request_id not in self._open:
            self._postpone(request_id, frame, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        return self._drop(extra)

    def _append_interrupted(self) -> None:
        if self._open:
            self._append(
                b"".join(frames.encode(frames.RECORD, frames.payload_of(frame)) for frame in self._open.values())
            )
            self._has_records = True
            self._open.clear()

    def _fits(self, size: int) -> bool:
        """Return whether `size` bytes fit without using up what other open calls were promised."""
        wanted = self._position + size + len(self._open) * RECORD_RESERVE_BYTES
        if wanted > self._segment.allocated:
            try:
                self._extend(self._segment, wanted)
            except OSError:
                return False
        if self._position <= 2 * self._segment_bytes:  # else the limit stays, and the next intent changes the segment
            self._set_limit()
        return True

    def _drop(self, extra: bytes) -> bytes:
        if extra:
            self.dropped_contents += 1
        return b""

    def _extend(self, segment: files.SegmentFile, wanted: int) -> None:
        size = wanted - segment.allocated + EXTENSION_BYTES
        segment.allocated = files.allocate(segment.fd, segment.allocated, size)

    def _set_limit(self) -> None:
        # The second bound is not about room: past it a segment is changed even where rotate() is never called.
        if self._segment.is_suspect:
            self._limit = -1
            return
        reserve = (len(self._open) + 1) * RECORD_RESERVE_BYTES
        bound = max(2 * self._segment_bytes, self._position) + reserve + EXTENSION_BYTES
        self._limit = min(self._segment.allocated, bound)

    def _fail(self, error: OSError, size: int) -> None:
        self._erase(size)
        raise unavailable("The intent cannot be written", error) from error

    def _erase(self, size: int) -> None:
        self._segment.position = self._position
        with contextlib.suppress(OSError):  # the next frame overwrites it, and until then its checksum fails
            files.erase(self._segment, size)

    def _use(self, segment: files.SegmentFile) -> None:
        self._segment = segment
        self._fd = segment.fd
        self._position = segment.position
        self._has_records = segment.has_records
        self._set_limit()

    def _put_down(self) -> None:
        """Queue the current segment for its seal."""
        self._segment.position = self._position
        self._segment.has_records = self._has_records
        self._unsealed.append(self._segment)

    def _switch_to(self, fresh: files.SegmentFile) -> None:
        """Repeat the open intents in `fresh` and make it current; on failure nothing has changed."""
        carried = b"".join(self._open.values())
        try:
            wanted = fresh.position + len(carried) + (len(self._open) + 1) * RECORD_RESERVE_BYTES
            if wanted > fresh.allocated:
                self._extend(fresh, wanted)
            if carried:
                files.write_at(fresh.fd, carried, fresh.position)
                fresh.position += len(carried)
            files.show(fresh)  # from here on a recovery reads it, so the records of these calls must go there
        except OSError:
            files.discard(fresh)
            raise
        self._put_down()
        self._use(fresh)


def unavailable(what: str, error: OSError) -> SpoolUnavailable:
    """Return the error that says what the disk refused and why."""
    return SpoolUnavailable(f"{what}: {error.strerror or error}.")
