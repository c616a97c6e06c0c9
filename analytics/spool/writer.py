"""Append intents, records, content and events to the spool of one process.

What is durable when: a frame is in the kernel when the method returns, so it outlives the process; it is on disk after
the next `sync`. Liveness, torn tails and orphan intents are the business of `recovery`.

Why nothing is recovered twice and nothing is lost
    Segments of a writer are numbered; call the place of a frame the number of its segment.
    (1) A request's record is written to the segment that is current at that time. On rotation the intents that are
        still open are repeated in the new segment; then one rename makes it visible, and it is current from there on.
        So no record stands before an intent of its request: place(record) >= place(intent) for each intent frame.
    (2) Segments are sealed in the order of their numbers, each only after the next one, repeated intents included, is
        on disk.
    Hence, when a writer dies, its unsealed segments are a tail k..n of its numbers. Take an intent in segment i >= k: a
    record of that request would stand in j >= i >= k, which is unsealed too and is read by the same recovery. So an
    intent without a record there has no record anywhere, and sealed segments, shipped and deleted long ago perhaps,
    need not be asked. An intent in a sealed segment i < k was either followed by its record in some segment, or it was
    repeated in every later segment up to n, and so stands in k..n. Recovery appends the interrupted records to segment
    n and seals k..n in order, which keeps (1) and (2) true at every step: if it dies halfway, the next one finds the
    records that it had appended.

Disk full
    Every segment's room is reserved when it is made (posix_fallocate), and an intent is refused unless there is room
    left for the records of all open calls besides. So a call that was admitted can be recorded on a full disk. Content
    is not part of the promise: it is dropped (and counted) before its record is.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from struct import Struct
from zlib import crc32

from analytics import events, request_log
from analytics.spool import files, frames
from analytics.spool.appending import EXTENSION_BYTES, RECORD_RESERVE_BYTES, Appender, SpoolUnavailable, unavailable

_RETRY_SECONDS = 0.1

_COLUMNS: Mapping[str, Sequence[str]] = {"R": request_log.COLUMNS, "F": events.FEEDBACK_COLUMNS}

_prefix = Struct("<IIB").pack
_INTENT, _RECORD, _CONTENT = (kind[0] for kind in (frames.INTENT, frames.RECORD, frames.CONTENT))
_INTENT_CRC, _RECORD_CRC, _CONTENT_CRC = (crc32(kind) for kind in (frames.INTENT, frames.RECORD, frames.CONTENT))


class Writer(Appender):
    """The append log of one process; several processes may share the directory.

    One thread (the event loop's) calls `intent`, `record` and `event`; `sync`, `rotate`, `seal` and `close` may be
    called from any other at the same time. `rotate` wants to be called a few times a second; a segment that has
    grown to twice `segment_bytes` is changed by the next intent itself, so a message stays bounded whatever happens.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int,
        segment_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        columns: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Open the first segment.

        Raises:
            SpoolUnavailable: the directory cannot be written or the disk is full.
        """
        super().__init__(segment_bytes=segment_bytes)
        self.directory = Path(directory)
        self.writer_id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(8)}"
        self._segment_seconds = segment_seconds
        self._clock = clock
        self._columns = {kind: list(names) for kind, names in (columns or _COLUMNS).items()}
        self._number = 0
        self._next_attempt_at = 0.0
        # Lock order: _disk_lock (slow work: fsync, rename, making files), then _write_lock (frames and offsets).
        self._disk_lock = threading.Lock()
        self._write_lock = threading.Lock()
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            first = self._create()
            files.show(first)
            self._use(first)
            files.sync_directory(self.directory)
        except OSError as error:
            raise unavailable("The spool cannot be opened", error) from error

    # -- the hot path ------------------------------------------------------------------------------------------------

    def intent(self, request_id: str, line: bytes) -> None:
        """Note that a call is about to go out. `line` is what its record shall be if the process dies before `record`.

        Raises:
            SpoolUnavailable: the call must not be admitted; nothing was written.
        """
        frame = _prefix(len(line) + 1, crc32(line, _INTENT_CRC), _INTENT) + line
        with self._write_lock:
            end = self._position + len(frame)
            if end + (len(self._open) + 1) * RECORD_RESERVE_BYTES > self._limit:
                self._make_room(len(frame))
                end = self._position + len(frame)
            try:
                if os.pwrite(self._fd, frame, self._position) != len(frame):
                    raise OSError("short write")
            except OSError as error:
                self._fail(error, len(frame))
            self._position = end
            self._open[request_id] = frame

    def record(self, request_id: str, line: bytes, content: bytes | None = None) -> None:
        """Note how a call ended, with its encrypted content where the workspace opted in.

        Raises:
            SpoolUnavailable: it is not in the log yet. It is kept in memory and written by `rotate` as soon as the disk
                takes it; if the process dies before, the intent speaks for the call.
        """
        frame = _prefix(len(line) + 1, crc32(line, _RECORD_CRC), _RECORD) + line
        extra = b""
        if content is not None:
            extra = _prefix(len(content) + 1, crc32(content, _CONTENT_CRC), _CONTENT) + content
        with self._write_lock:
            size = len(frame) + len(extra)
            if self._position + size + len(self._open) * RECORD_RESERVE_BYTES > self._limit:
                extra = self._admit(request_id, frame, extra)
            try:
                self._append(frame + extra if extra else frame)
            except OSError as error:
                if not extra:
                    self._postpone(request_id, frame, error)
                self._drop(extra)
                self._append_or_postpone(request_id, frame)
            self._has_records = True
            self._open.pop(request_id, None)
            if self._overdue:
                self._overdue.pop(request_id, None)  # it came again before the disk had taken it: one record is enough

    def many(
        self, intents: Sequence[tuple[str, bytes]], records: Sequence[tuple[str, bytes]]
    ) -> dict[str, SpoolUnavailable]:
        """Note several intents and records with one write; return those that were refused, as `intent` and `record` do.

        All of them stand in the log when this returns. Where the room is short they are written one by one.
        """
        new = [(name, _prefix(len(line) + 1, crc32(line, _INTENT_CRC), _INTENT) + line) for name, line in intents]
        frames_ = [frame for _, frame in new]
        for _, line in records:
            frames_.append(_prefix(len(line) + 1, crc32(line, _RECORD_CRC), _RECORD))
            frames_.append(line)
        data = b"".join(frames_)
        with self._write_lock:
            reserve = (len(self._open) + len(new)) * RECORD_RESERVE_BYTES
            if self._position + len(data) + reserve <= self._limit and not self._overdue:
                with contextlib.suppress(OSError):
                    self._append(data)
                    self._open.update(new)
                    for name, _ in records:
                        self._open.pop(name, None)
                    self._has_records = self._has_records or bool(records)
                    return {}
        return self._one_by_one(intents, records)

    def _one_by_one(
        self, intents: Sequence[tuple[str, bytes]], records: Sequence[tuple[str, bytes]]
    ) -> dict[str, SpoolUnavailable]:
        refused: dict[str, SpoolUnavailable] = {}
        for note, waiting in ((self.record, records), (self.intent, intents)):
            for name, line in waiting:
                try:
                    note(name, line)
                except SpoolUnavailable as error:
                    refused[name] = error
        return refused

    def event(self, kind: str, line: bytes) -> None:
        """Append something that belongs to no open call, such as feedback (`"F"`).

        Raises:
            SpoolUnavailable: it was not written; the sender should be told to come again.
        """
        frame = frames.encode(kind.encode("ascii"), line)
        with self._write_lock:
            if self._position + len(frame) + len(self._open) * RECORD_RESERVE_BYTES > self._limit:
                self._make_room(len(frame))
            try:
                self._append(frame)
            except OSError as error:
                raise unavailable("The event cannot be written", error) from error
            self._has_records = True

    # -- durability and rotation: any thread -------------------------------------------------------------------------

    @property
    def open_calls(self) -> int:
        """Return how many calls have an intent and no record."""
        return len(self._open)

    def sync(self) -> None:
        """Return when everything that was written before this call is on disk.

        Raises:
            SpoolUnavailable: it is not. The segment is left behind and rewritten; new calls are refused until that
                has worked, and a later `sync` that returns has made all of it durable.
        """
        with self._disk_lock:
            if self._is_closed:
                return
            try:
                if self._segment.is_suspect:
                    self._change_segment()
                self._seal_waiting()
                self._sync_current()
            except OSError as error:
                raise unavailable("The spool cannot be made durable", error) from error

    def rotate(self) -> Path | None:
        """Seal the current segment when it holds records and is large or old enough; return its sealed path.

        Also repeats what an earlier full or failing disk refused: overdue records, segments that wait for their seal.

        Raises:
            SpoolUnavailable: the disk refused; nothing is lost, call again.
        """
        with self._disk_lock:
            if self._is_closed:
                return None
            age = self._clock() - self._segment.opened_at
            is_old = self._has_records and age >= self._segment_seconds
            is_due = is_old or self._position >= self._segment_bytes or self._segment.is_suspect
            return self._change_and_seal(is_due=is_due)

    def seal(self) -> Path | None:
        """Seal the current segment now if it holds records; return its sealed path. Raises as `rotate` does."""
        with self._disk_lock:
            if self._is_closed:
                return None
            return self._change_and_seal(is_due=self._has_records)

    def close(self) -> None:
        """Record calls that are still open as interrupted, seal everything, and refuse what comes later. Idempotent.

        Raises:
            SpoolUnavailable: the disk refused; what is unsealed is left to `recover`.
        """
        with self._disk_lock:
            if self._is_closed:
                return
            try:
                with self._write_lock:
                    self._append_overdue()
                    self._is_closed = True
                    self._limit = -1
                    self._append_interrupted()
                    self._put_down()
                self._seal_waiting()
            except OSError as error:
                self._abandon()
                raise unavailable("The spool cannot be closed cleanly", error) from error

    # -- below: _write_lock is held ----------------------------------------------------------------------------------

    def _make_room(self, frame_bytes: int) -> None:
        """Change a segment that outgrew its bound, extend the reserved room, or refuse."""
        if self._is_closed:
            raise SpoolUnavailable("The spool is closed.")
        if self._segment.is_suspect:
            raise SpoolUnavailable("The disk failed to make records durable; waiting for it to recover.")
        now = self._clock()
        if now < self._next_attempt_at:
            raise SpoolUnavailable("The disk is full; waiting for space.")
        try:
            # A rotation that is under way holds the lock and changes the segment in a moment: numbers must not race.
            if self._position > 2 * self._segment_bytes and self._disk_lock.acquire(blocking=False):
                try:
                    self._switch_to(self._create())
                finally:
                    self._disk_lock.release()
            wanted = self._position + frame_bytes + (len(self._open) + 1) * RECORD_RESERVE_BYTES
            if wanted > self._segment.allocated:
                self._extend(self._segment, wanted)
            self._set_limit()
        except OSError as error:
            self._next_attempt_at = now + _RETRY_SECONDS
            raise unavailable("The disk has no room for another call", error) from error

    # -- below: _disk_lock is held, _write_lock is not ---------------------------------------------------------------

    def _create(self) -> files.SegmentFile:
        number = self._number + 1
        segment_id = f"{self.writer_id}-{number:08d}"
        header = frames.encode_header(segment_id, self.writer_id, self._columns)
        reserve = self._segment_bytes + len(header) + EXTENSION_BYTES
        segment = files.create(self.directory, segment_id, header, reserve_bytes=reserve, opened_at=self._clock())
        self._number = number
        return segment

    def _change_and_seal(self, *, is_due: bool) -> Path | None:
        try:
            # First what can free space: older segments are sealed, shipped and deleted even where no new one can begin.
            sealed = self._seal_waiting()
            if self._overdue:
                with self._write_lock:
                    self._append_overdue()
            if is_due:
                self._change_segment()
            return self._seal_waiting() or sealed
        except OSError as error:
            raise unavailable("The segment cannot be changed or sealed", error) from error

    def _change_segment(self) -> None:
        fresh = self._create()
        with self._write_lock:
            self._switch_to(fresh)

    def _seal_waiting(self) -> Path | None:
        """Seal what waits, oldest first; each only after its successor's name and repeated intents are on disk."""
        sealed: Path | None = None
        if self._unsealed:
            files.sync_directory(self.directory)
        while self._unsealed:
            if len(self._unsealed) > 1:
                self._sync_segment(self._unsealed[1], self._unsealed[1].position)
            else:
                self._sync_current()
            segment = self._unsealed[0]
            if segment.has_records:
                sealed = files.seal(segment)
            else:
                files.discard(segment)
            self._unsealed.pop(0)
        return sealed

    def _sync_current(self) -> None:
        with self._write_lock:
            segment, position = self._segment, self._position
        if not self._is_closed:
            self._sync_segment(segment, position)

    def _sync_segment(self, segment: files.SegmentFile, position: int) -> None:
        if segment.synced >= position:
            return
        try:
            os.fdatasync(segment.fd)
        except OSError:
            segment.is_suspect = True
            with self._write_lock:
                self._limit = -1
            raise
        segment.synced = position

    def _abandon(self) -> None:
        """Let go of the locks, so that a recovery in this or another process may finish the work."""
        with self._write_lock:
            if self._segment not in self._unsealed:
                self._put_down()
            self._is_closed = True
            self._limit = -1
        for segment in self._unsealed:
            files.release(segment)
        self._unsealed.clear()
