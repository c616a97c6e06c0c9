"""Finish what dead writers left behind: seal their segments, turn orphan intents into interrupted records.

The proof that this emits each lost call once, and no call that has a record, stands in `writer`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from analytics.spool import files, frames

_LOCK_NAME = "recovery.lock"
_UNBORN_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Recovery:
    """What one pass did. `failed` names segments that the disk refused to finish; the next pass tries again."""

    writers: int = 0
    sealed: tuple[Path, ...] = ()
    interrupted: int = 0
    torn_bytes: int = 0
    damaged: tuple[Path, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Leftover:
    """An unsealed segment of a dead writer, locked by us."""

    file: files.SegmentFile
    found: frames.Frames
    is_readable: bool = True


@dataclass(slots=True)
class _Tally:
    writers: int = 0
    sealed: list[Path] = field(default_factory=list)
    interrupted: int = 0
    torn_bytes: int = 0
    damaged: list[Path] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def recover(directory: Path) -> Recovery:
    """Recover every dead writer's segments in the directory; leave living writers alone.

    Safe to call at any time, from several processes at once, and again after it died halfway.
    """
    directory = Path(directory)
    tally = _Tally()
    if not directory.is_dir():
        return Recovery()
    with files.exclusive(directory / _LOCK_NAME):
        for writer, paths in _open_segments(directory).items():
            with _dead_writer(directory, writer, paths) as leftovers:
                if leftovers:
                    tally.writers += 1
                    try:
                        _finish(leftovers, tally)
                    except OSError:
                        left = [leftover.file for leftover in leftovers if leftover.file.path.exists()]
                        tally.failed.extend(file.segment_id for file in left)
        _remove_unborn(directory)
    return Recovery(
        writers=tally.writers,
        sealed=tuple(tally.sealed),
        interrupted=tally.interrupted,
        torn_bytes=tally.torn_bytes,
        damaged=tuple(tally.damaged),
        failed=tuple(tally.failed),
    )


def _open_segments(directory: Path) -> dict[str, list[Path]]:
    """Return the unsealed segments by writer, each list in the order in which the segments were begun."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(directory.glob(f"*{files.OPEN}")):
        groups.setdefault(path.stem.rpartition("-")[0], []).append(path)
    return groups


@contextlib.contextmanager
def _dead_writer(directory: Path, writer: str, paths: list[Path]) -> Iterator[list[_Leftover]]:
    """Yield the locked leftovers of a writer, none when it lives.

    A living writer holds the lock of every segment under its open name, so one lock that we get on a file which still
    has that name proves the writer dead, and the list that we read after that is complete and final.
    """
    leftovers: list[_Leftover] = []
    descriptors: list[int] = []
    try:
        for path in paths:
            descriptor = files.lock(path)
            if descriptor is None:
                break
            descriptors.append(descriptor)
        if len(descriptors) == len(paths) and paths == _open_segments(directory).get(writer):
            leftovers = [_load(path, descriptor) for path, descriptor in zip(paths, descriptors, strict=True)]
            descriptors = []
        yield leftovers
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        for leftover in leftovers:
            files.release(leftover.file)


def _load(path: Path, descriptor: int) -> _Leftover:
    size = os.fstat(descriptor).st_size
    found = frames.scan(files.read(descriptor, size))
    file = files.SegmentFile(path.stem, path.parent, descriptor, position=found.end, allocated=size)
    return _Leftover(file, found)


def _finish(leftovers: list[_Leftover], tally: _Tally) -> None:
    sound = []
    for leftover in leftovers:
        tally.torn_bytes += leftover.found.torn_bytes
        if _repair(leftover, tally):
            sound.append(leftover)
    orphans = _orphans(sound)
    if orphans:
        _append(sound[-1].file, orphans)
        tally.interrupted += len(orphans)
    for leftover in sound:  # all of them before the first is sealed: a sealed segment may rely on its successors
        os.fdatasync(leftover.file.fd)
    for leftover in sound:
        holds_records = any(kind in b"RCF" for kind, _ in leftover.found.items)
        if holds_records or (orphans and leftover is sound[-1]):
            tally.sealed.append(files.seal(leftover.file))
        else:
            files.discard(leftover.file)


def _repair(leftover: _Leftover, tally: _Tally) -> bool:
    """Keep a damaged file aside and go on with its readable frames; return whether there is any to go on with."""
    file, found = leftover.file, leftover.found
    try:
        frames.header_of(found)
    except frames.DamagedSegment:
        if not found.items and not found.torn_bytes:
            files.discard(file)  # the machine went down before anything of it reached the disk
            return False
        os.rename(file.path, _aside(file))
        files.sync_directory(file.directory)
        tally.damaged.append(_aside(file))
        return False
    if found.damaged_bytes:
        with contextlib.suppress(FileExistsError):
            os.link(file.path, _aside(file))
        tally.damaged.append(_aside(file))
        rebuilt = b"".join(frames.encode(bytes([kind]), payload) for kind, payload in found.items)
        replaced = file.fd
        file.fd = files.replace(file.path, rebuilt)
        file.position = file.allocated = len(rebuilt)
        os.close(replaced)
    return True


def _aside(file: files.SegmentFile) -> Path:
    return file.directory / (file.segment_id + files.DAMAGED)


def _orphans(leftovers: list[_Leftover]) -> list[bytes]:
    """Return the latest intent of each call that has no record in any of the writer's unsealed segments."""
    intents: dict[str, bytes] = {}
    recorded: set[str] = set()
    for leftover in leftovers:
        for kind, payload in leftover.found.items:
            if kind == frames.INTENT[0]:
                intents[frames.request_id_of(payload)] = payload
            elif kind == frames.RECORD[0]:
                recorded.add(frames.request_id_of(payload))
    return [line for request_id, line in intents.items() if request_id not in recorded]


def _append(file: files.SegmentFile, lines: list[bytes]) -> None:
    data = b"".join(frames.encode(frames.RECORD, line) for line in lines)
    # What a torn frame left behind must not follow the new ones.
    rest = max(0, os.fstat(file.fd).st_size - file.position)
    if rest:
        files.erase(file, rest)
    try:
        files.write_at(file.fd, data, file.position)
    except OSError:
        files.erase(file, len(data))
        raise
    file.position += len(data)
    os.fdatasync(file.fd)


def _remove_unborn(directory: Path) -> None:
    """Remove files that were being made when their maker died; they hold nothing that is not elsewhere."""
    for path in directory.glob(f"*{files.NEW}"):
        with contextlib.suppress(FileNotFoundError):
            # A living maker locks its file a moment after making it.
            if time.time() - path.stat().st_mtime < _UNBORN_SECONDS:
                continue
            descriptor = files.lock(path)
            if descriptor is not None:
                path.unlink()
                os.close(descriptor)
