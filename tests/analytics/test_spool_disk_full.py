"""A real file system that really is full: a tmpfs of some megabytes. Mounting one needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics import spool
from tests.analytics.spooling import Clock, intent_line, left_open, make_line, open_writer, outcomes

_MEGABYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    # A disk that is really full needs a file system of its own; the same promises are tested with failing system calls
    # in test_spool_writer.py, without any rights.
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small tmpfs needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(64 * 1024))
        except OSError:
            return ballast


def test_admitted_calls_are_recorded_on_a_full_disk_and_new_ones_refused(small_disk: Path) -> None:
    clock = Clock()
    writer = open_writer(small_disk / "spool", segment_bytes=64 * 1024, clock=clock)
    ballast = fill(small_disk)
    admitted = []
    refused = 0
    for number in range(2000):
        name = f"req_{number:04d}"
        try:
            writer.intent(name, intent_line(name))
            admitted.append(name)
        except spool.SpoolUnavailable:
            refused += 1
    assert admitted
    assert refused
    with pytest.raises(spool.SpoolUnavailable):  # what was promised nothing does not take what others were promised
        writer.record("req_stranger", make_line("req_stranger", receipt="r" * 50_000))
    for name in admitted:
        writer.record(name, make_line(name, receipt="r" * 3000))
    with pytest.raises(spool.SpoolUnavailable):
        writer.seal()  # no room for the next segment
    ballast.unlink()
    clock.now += 1
    writer.intent("req_after", intent_line("req_after"))
    writer.record("req_after", make_line("req_after"))
    writer.close()
    assert outcomes(small_disk / "spool") == {name: ["settled"] for name in [*admitted, "req_after", "req_stranger"]}
    assert left_open(small_disk / "spool") == []


def test_a_spool_that_fills_its_disk_by_itself_goes_on_when_segments_are_shipped(small_disk: Path) -> None:
    clock = Clock()
    writer = open_writer(small_disk / "spool", segment_bytes=256 * 1024, clock=clock)
    loaded: dict[str, list[str]] = {}
    admitted, refused, was_full = [], 0, False
    for number in range(6000):
        name = f"req_{number:04d}"
        clock.now += 0.01
        try:
            writer.intent(name, intent_line(name))
        except spool.SpoolUnavailable:
            refused += 1
            was_full = True
        else:
            admitted.append(name)
            writer.record(name, make_line(name, receipt="r" * 2000))
        if number % 10 == 0:
            try:
                writer.rotate()
            except spool.SpoolUnavailable:
                was_full = True
        if was_full and refused > 200:  # the workers are back
            loaded |= outcomes(small_disk / "spool")
            for path in (small_disk / "spool").glob("*.sealed"):
                path.unlink()
            was_full, refused = False, 0
    writer.close()
    loaded |= outcomes(small_disk / "spool")
    assert len(admitted) > 4000
    assert loaded == {name: ["settled"] for name in admitted}


def test_what_a_dead_process_left_on_a_full_disk_is_recovered_there(small_disk: Path) -> None:
    writer = open_writer(small_disk / "spool", segment_bytes=64 * 1024)
    writer.record("req_1", make_line("req_1"))
    names = [f"req_open_{number}" for number in range(50)]
    for name in names:
        writer.intent(name, intent_line(name))
    writer._abandon()  # the locks go, as they do when a process dies
    fill(small_disk)
    recovery = spool.recover(small_disk / "spool")
    assert (recovery.interrupted, recovery.failed) == (50, ())
    assert outcomes(small_disk / "spool") == {"req_1": ["settled"]} | {name: ["interrupted"] for name in names}


def test_a_writer_that_finds_its_disk_full_at_the_start_says_so(small_disk: Path) -> None:
    (small_disk / "spool").mkdir()
    fill(small_disk)
    with pytest.raises(spool.SpoolUnavailable, match="No space left"):
        open_writer(small_disk / "spool")
    assert list((small_disk / "spool").iterdir()) == []


def test_content_of_many_megabytes_never_costs_a_record(small_disk: Path) -> None:
    writer = open_writer(small_disk / "spool", segment_bytes=_MEGABYTE)
    names = [f"req_{number}" for number in range(40)]
    for name in names:
        writer.intent(name, intent_line(name))
    for name in names[:20]:
        writer.record(name, make_line(name), content=os.urandom(_MEGABYTE // 2))
    fill(small_disk)
    for name in names[20:]:
        writer.record(name, make_line(name, receipt="r" * 3000), content=os.urandom(_MEGABYTE // 2))
    assert 0 < writer.dropped_contents < 40
    for path in (small_disk / "spool").glob("*.sealed"):
        path.unlink()
    writer._abandon()
    found = spool.recover(small_disk / "spool")
    assert (found.interrupted, found.torn_bytes, found.damaged) == (0, 0, ())
    assert outcomes(small_disk / "spool") == {name: ["settled"] for name in names}
