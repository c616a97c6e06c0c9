"""One open segment file: reserved, locked, written at an explicit offset, sealed under its final name.

`<segment id>.open` is being written and is locked (flock) as long as its writer lives; `<segment id>.sealed` is
complete and durable; `.new` is being made; `.damaged` was kept aside for a person to look at. What goes into a
segment, and when it is sealed, is the business of `writer` and `recovery`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OPEN, NEW, SEALED, DAMAGED = ".open", ".new", ".sealed", ".damaged"

_UNSUPPORTED = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
# Where space cannot be reserved a segment is treated as if any amount were: writing then finds out.
UNLIMITED = 1 << 62


@dataclass(slots=True, eq=False)
class SegmentFile:
    """An open segment. `position` is where its frames end, `allocated` up to where the disk has promised room."""

    segment_id: str
    directory: Path
    fd: int
    position: int
    allocated: int
    synced: int = 0
    is_suspect: bool = False  # an fsync failed: what the disk holds is unknown, what the kernel holds is right
    has_records: bool = False
    opened_at: float = 0.0

    @property
    def path(self) -> Path:
        return self.directory / (self.segment_id + OPEN)


def create(directory: Path, segment_id: str, header: bytes, *, reserve_bytes: int, opened_at: float) -> SegmentFile:
    """Make a segment file that holds its header, has its room reserved and is locked; nobody sees it before `show`.

    Raises:
        OSError: there is no room for it; nothing is left behind.
    """
    path = directory / (segment_id + NEW)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        allocated = allocate(fd, 0, reserve_bytes)
        write_at(fd, header, 0)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.close(fd)
        raise
    return SegmentFile(segment_id, directory, fd, len(header), allocated, opened_at=opened_at)


def show(segment: SegmentFile) -> None:
    """Give a segment that `create` made the name under which recovery looks for it.

    Raises:
        OSError: it stays hidden.
    """
    os.rename(segment.directory / (segment.segment_id + NEW), segment.path)


def allocate(fd: int, start: int, size: int) -> int:
    """Have the file system promise `size` bytes from `start`; return the offset up to which room is promised.

    Raises:
        OSError: the disk is full.
    """
    if not hasattr(os, "posix_fallocate"):
        return UNLIMITED
    try:
        os.posix_fallocate(fd, start, size)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return UNLIMITED
        raise
    return start + size


def write_at(fd: int, data: bytes, position: int) -> None:
    """Write all of `data` at `position`.

    Raises:
        OSError: part of it may stand in the file; `erase` removes it.
    """
    written = os.pwrite(fd, data, position)
    while written < len(data):
        written += os.pwrite(fd, data[written:], position + written)


def erase(segment: SegmentFile, size: int) -> None:
    """Remove what a failed write of `size` bytes left after the segment's end, without giving up reserved room.

    The reserved part is overwritten with zeros (its blocks exist, so a full disk does not matter), the rest is cut off.
    """
    end = os.fstat(segment.fd).st_size
    if end > max(segment.allocated, segment.position):
        end = max(segment.allocated, segment.position)
        os.ftruncate(segment.fd, end)
    rest = min(end - segment.position, size)
    if rest > 0:
        os.pwrite(segment.fd, bytes(rest), segment.position)


def seal(segment: SegmentFile) -> Path:
    """Cut the unused room off, make the file durable and give it its final name; the lock goes with the descriptor.

    Raises:
        OSError: the disk refused; the segment stays open under its old name and may be sealed again.
    """
    sealed = segment.directory / (segment.segment_id + SEALED)
    if segment.is_suspect:
        _replace_content(segment)
    else:
        os.ftruncate(segment.fd, segment.position)
        try:
            os.fsync(segment.fd)
        except OSError:
            segment.is_suspect = True
            raise
    if segment.path.exists():  # else the rename worked last time, and the directory failed after it
        os.rename(segment.path, sealed)
    sync_directory(segment.directory)
    release(segment)
    return sealed


def discard(segment: SegmentFile) -> None:
    """Remove a segment that holds nothing worth keeping."""
    segment.path.unlink(missing_ok=True)
    segment.path.with_suffix(NEW).unlink(missing_ok=True)
    release(segment)


def release(segment: SegmentFile) -> None:
    """Close the descriptor and with it the lock. Idempotent."""
    descriptor, segment.fd = segment.fd, -1
    if descriptor >= 0:
        os.close(descriptor)


def read(fd: int, size: int) -> bytes:
    """Return the first `size` bytes of the file."""
    parts: list[bytes] = []
    done = 0
    while done < size and (part := os.pread(fd, size - done, done)):
        parts.append(part)
        done += len(part)
    return b"".join(parts)


def replace(path: Path, data: bytes) -> int:
    """Put a durable file with `data` in the place of `path` in one step; return its descriptor, locked."""
    fresh = path.with_suffix(NEW)
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write_at(fd, data, 0)
        os.fsync(fd)
        os.rename(fresh, path)
        sync_directory(path.parent)
    except BaseException:
        os.close(fd)
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        raise
    return fd


def sync_directory(directory: Path) -> None:
    """Make names in the directory durable.

    Raises:
        OSError: the disk refused.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def lock(path: Path) -> int | None:
    """Return a descriptor that holds the file's lock, None when somebody alive holds it or the file is gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file for the block; wait for it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _replace_content(segment: SegmentFile) -> None:
    # After a failed fsync the kernel forgets that the pages were dirty and a second fsync would lie (the "fsyncgate"
    # of PostgreSQL, 2018). The page cache still holds the right bytes: a fresh file gets them, and its own fsync.
    old = segment.fd
    segment.fd = replace(segment.path, read(old, segment.position))
    segment.is_suspect = False
    os.close(old)
