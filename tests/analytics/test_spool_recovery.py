from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import spool
from analytics.spool import files, frames
from tests.analytics.spooling import Clock, crash, duplicates, intent_line, left_open, make_line, open_writer, outcomes


def test_an_empty_or_missing_directory_needs_no_recovery(tmp_path: Path) -> None:
    assert spool.recover(tmp_path / "none") == spool.Recovery()
    assert spool.recover(tmp_path) == spool.Recovery()


def test_an_orphan_intent_becomes_an_interrupted_record_once(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "spool")
    writer.intent("req_1", intent_line("req_1"))
    writer.intent("req_2", intent_line("req_2"))
    writer.record("req_2", make_line("req_2"))
    copy = crash(tmp_path / "spool", tmp_path / "copy")
    writer.close()
    found = spool.recover(copy)
    assert (found.writers, found.interrupted, found.torn_bytes, found.failed) == (1, 1, 0, ())
    assert [path.suffix for path in found.sealed] == [".sealed"]
    assert spool.recover(copy).writers == 0
    assert outcomes(copy) == {"req_1": ["interrupted"], "req_2": ["settled"]}
    (path,) = copy.glob("*.sealed")
    assert spool.read_segment(path.read_bytes()).lines("R")[-1] == intent_line("req_1")


def test_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.intent("req_1", intent_line("req_1"))
    assert spool.recover(tmp_path).writers == 0
    writer.record("req_1", make_line("req_1"))
    writer.seal()
    writer.intent("req_2", intent_line("req_2"))
    assert spool.recover(tmp_path).writers == 0
    writer.record("req_2", make_line("req_2"))
    writer.close()
    assert outcomes(tmp_path) == {"req_1": ["settled"], "req_2": ["settled"]}


def test_the_locks_of_a_killed_process_are_gone_and_its_calls_recovered(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from analytics import spool\n"
        "from tests.analytics.spooling import intent_line, make_line\n"
        "writer = spool.Writer(pathlib.Path(sys.argv[1]), segment_bytes=1 << 20, segment_seconds=1)\n"
        "writer.intent('req_1', intent_line('req_1'))\n"
        "writer.record('req_1', make_line('req_1'))\n"
        "writer.intent('req_2', intent_line('req_2'))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert spool.recover(tmp_path).writers == 0
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert spool.recover(tmp_path).interrupted == 1
    assert outcomes(tmp_path) == {"req_1": ["settled"], "req_2": ["interrupted"]}


def test_two_writers_share_a_directory_and_one_of_them_dies(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    dead = open_writer(tmp_path / "dead")
    dead.intent("req_dead", intent_line("req_dead"))
    living = open_writer(shared)
    living.intent("req_living", intent_line("req_living"))
    for path in (tmp_path / "dead").iterdir():
        shutil.copy(path, shared)
    assert spool.recover(shared).writers == 1
    living.record("req_living", make_line("req_living"))
    living.close()
    assert outcomes(shared) == {"req_dead": ["interrupted"], "req_living": ["settled"]}
    dead.close()


def _half_written(tmp_path: Path) -> tuple[Path, bytes, int]:
    """Return a segment name, its bytes after two settled calls and one open one, and where the frames end."""
    writer = open_writer(tmp_path / "spool")
    for name in ("req_1", "req_2"):
        writer.intent(name, intent_line(name))
        writer.record(name, make_line(name))
    writer.intent("req_3", intent_line("req_3"))
    (path,) = (tmp_path / "spool").glob("*.open")
    data = path.read_bytes()
    writer.close()
    return Path(path.name), data, frames.scan(data).end


def test_a_tail_torn_at_any_byte_costs_only_the_torn_frame(tmp_path: Path) -> None:
    name, data, end = _half_written(tmp_path)
    header_end = len(frames.encode(b"H", frames.scan(data).items[0][1]))
    found = frames.scan(data[:end])
    ends = [header_end]
    for _, payload in found.items[1:]:
        ends.append(ends[-1] + frames.PREFIX_BYTES + len(payload))
    for cut in range(header_end, end):
        whole = sum(1 for frame_end in ends[1:] if frame_end <= cut)
        for tail in (b"", bytes(64), b"\xff" * 7):
            scanned = frames.scan(data[:cut] + tail)
            assert scanned.items == found.items[: whole + 1]
            assert scanned.end == ends[whole]
            assert scanned.damaged_bytes == 0
    directory = tmp_path / "torn"
    for cut in (ends[1] + 3, ends[2] - 1, ends[3] + 20, ends[4], ends[5] - 1):
        directory.mkdir()
        (directory / name).write_bytes(data[:cut] + bytes(4096))
        recovery = spool.recover(directory)
        whole = max(frame_end for frame_end in ends if frame_end <= cut)
        assert recovery.torn_bytes == len(data[whole:cut].rstrip(b"\0"))
        settled = sum(1 for frame_end in (ends[2], ends[4]) if frame_end <= cut)
        intents = sum(1 for frame_end in (ends[1], ends[3], ends[5]) if frame_end <= cut)
        states = [state for states in outcomes(directory).values() for state in states]
        assert (states.count("settled"), states.count("interrupted")) == (settled, intents - settled)
        assert left_open(directory) == []
        shutil.rmtree(directory)


def test_a_header_torn_by_a_power_cut_leaves_nothing_to_recover(tmp_path: Path) -> None:
    (tmp_path / "20260101T000000-aa-00000001.open").write_bytes(bytes(8192))
    (tmp_path / "20260101T000000-ab-00000001.open").write_bytes(b"")
    recovery = spool.recover(tmp_path)
    assert recovery.writers == 2
    assert recovery.damaged == ()
    assert left_open(tmp_path) == []


def test_damage_in_the_middle_costs_what_lies_there_and_the_file_is_kept_aside(tmp_path: Path) -> None:
    name, data, _ = _half_written(tmp_path)
    directory = tmp_path / "damaged"
    directory.mkdir()
    at = data.index(b"req_1", data.index(b"req_1") + 10)  # in the record of the first call
    damaged = data[:at] + b"\xff\xff" + data[at + 2 :]
    (directory / name).write_bytes(damaged)
    recovery = spool.recover(directory)
    (aside,) = recovery.damaged
    assert aside.suffix == ".damaged"
    assert aside.read_bytes() == damaged
    assert outcomes(directory) == {"req_1": ["interrupted"], "req_2": ["settled"], "req_3": ["interrupted"]}


def test_a_segment_without_a_readable_header_is_kept_aside_whole(tmp_path: Path) -> None:
    name, data, _ = _half_written(tmp_path)
    directory = tmp_path / "damaged"
    directory.mkdir()
    (directory / name).write_bytes(b"\xff" * 20 + data[20:])
    recovery = spool.recover(directory)
    assert recovery.sealed == ()
    assert [path.suffix for path in recovery.damaged] == [".damaged"]
    with pytest.raises(spool.DamagedSegment):
        spool.read_segment(recovery.damaged[0].read_bytes())


@pytest.mark.parametrize("broken", ["pwrite", "fdatasync", "ftruncate", "fsync", "rename"])
def test_a_recovery_that_the_disk_interrupts_is_finished_by_the_next(tmp_path: Path, monkeypatch, broken: str) -> None:
    name, data, _ = _half_written(tmp_path)
    directory = tmp_path / "left"
    directory.mkdir()
    (directory / name).write_bytes(data)

    with monkeypatch.context() as context:
        context.setattr(os, broken, _fail)
        assert spool.recover(directory).failed == (name.stem,)
    assert spool.recover(directory).failed == ()
    assert outcomes(directory) == {"req_1": ["settled"], "req_2": ["settled"], "req_3": ["interrupted"]}
    assert left_open(directory) == []


def test_a_recovery_that_dies_between_two_segments_is_finished_without_doubles(tmp_path: Path, monkeypatch) -> None:
    writer = open_writer(tmp_path / "spool")
    writer.intent("req_long", intent_line("req_long"))
    writer.record("req_1", make_line("req_1"))
    with monkeypatch.context() as context:
        context.setattr(files, "seal", _fail)
        with pytest.raises(spool.SpoolUnavailable):
            writer.seal()
    writer.record("req_2", make_line("req_2"))
    left = crash(tmp_path / "spool", tmp_path / "left")
    writer.close()
    assert len(left_open(left)) == 2
    seal, sealed = files.seal, []

    def seal_one(segment: files.SegmentFile) -> Path:
        if sealed:
            _fail()
        sealed.append(seal(segment))
        return sealed[0]

    with monkeypatch.context() as context:
        context.setattr(files, "seal", seal_one)
        assert len(spool.recover(left).failed) == 1
    assert spool.recover(left).failed == ()
    assert outcomes(left) == {"req_1": ["settled"], "req_2": ["settled"], "req_long": ["interrupted"]}


def _fail(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_files_that_were_being_made_are_removed_when_old(tmp_path: Path) -> None:
    young, old = tmp_path / "w-00000001.new", tmp_path / "w-00000002.new"
    young.write_bytes(b"x")
    old.write_bytes(b"x")
    os.utime(old, (1, 1))
    spool.recover(tmp_path)
    assert young.exists()
    assert not old.exists()


_STEPS = st.lists(
    st.sampled_from(["begin", "begin", "end", "end", "rotate", "seal", "ship", "sync", "crash", "recover"]),
    min_size=5,
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(steps=_STEPS, choose=st.randoms(use_true_random=False), tear=st.integers(0, 400))
def test_whatever_happens_every_call_has_exactly_one_record(steps: list[str], choose, tear: int) -> None:
    """Two writers, rotations, shipping, crashes with torn tails and recoveries, in any order."""
    with tempfile.TemporaryDirectory() as root:
        _run(Path(root), steps, choose, tear)


def _run(root: Path, steps: list[str], choose, tear: int) -> None:
    clock = Clock()
    directory = root / "spool-0"
    writers = [open_writer(directory, segment_bytes=4096, segment_seconds=1, clock=clock) for _ in range(2)]
    running: dict[str, spool.Writer] = {}
    expected: dict[str, str] = {}
    loaded: dict[str, list[str]] = {}
    count = crashes = 0

    def ship() -> None:
        for path in sorted(directory.glob("*.sealed")):
            if choose.random() < 0.7:
                for request_id, states in _states(path).items():
                    loaded.setdefault(request_id, []).extend(states)
                path.unlink()

    for step in steps:
        writer = choose.choice(writers)
        if step == "begin":
            count += 1
            name = f"req_{count}"
            writer.intent(name, intent_line(name))
            running[name] = writer
        elif step == "end" and running:
            name = choose.choice(sorted(running))
            running.pop(name).record(name, make_line(name, receipt="r" * choose.randrange(2000)))
            expected[name] = "settled"
        elif step == "rotate":
            clock.now += choose.choice([0.2, 2])
            writer.rotate()
        elif step == "seal":
            writer.seal()
        elif step == "sync":
            writer.sync()
        elif step == "ship":
            ship()
        elif step == "recover":
            spool.recover(directory)
        elif step == "crash":
            crashes += 1
            directory = crash(directory, root / f"spool-{crashes}")
            for name in running:
                expected[name] = "interrupted"
            running.clear()
            for path in directory.glob("*.open"):  # a frame that was being written when the process died
                end = frames.scan(path.read_bytes()).end
                with path.open("r+b") as file:
                    file.seek(end)
                    file.write(frames.encode(b"I", intent_line("req_never"))[: min(tear, 300)])
            if choose.random() < 0.5:
                spool.recover(directory)
            for dead in writers:
                dead.close()
            writers = [open_writer(directory, segment_bytes=4096, segment_seconds=1, clock=clock) for _ in range(2)]
    for name in running:
        expected[name] = "interrupted"
    for writer in writers:
        writer.close()
    spool.recover(directory)
    for request_id, states in outcomes(directory).items():
        loaded.setdefault(request_id, []).extend(states)
    assert loaded == {name: [state] for name, state in expected.items()}
    assert duplicates(directory) == {}
    assert left_open(directory) == []


def _states(path: Path) -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory() as alone:
        shutil.copy(path, alone)
        return outcomes(Path(alone))


@settings(max_examples=15, deadline=None)
@given(choose=st.randoms(use_true_random=False))
def test_a_crash_between_any_two_system_calls_loses_and_doubles_nothing(choose) -> None:
    """The directory is copied before every system call that changes it, as if the process had died there."""
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as monkeypatch:
        directory = Path(root, "spool")
        clock = Clock()
        settled: list[str] = []
        begun: list[str] = []
        copies: list[tuple[Path, list[str], list[str]]] = []
        budget = [25]

        def snapshot(real):
            def call(*args, **kwargs):
                if budget[0] and choose.random() < 0.3:
                    budget[0] -= 1
                    copy = crash(directory, Path(root, f"copy{budget[0]}"))
                    copies.append((copy, list(begun), list(settled)))
                return real(*args, **kwargs)

            return call

        writer = open_writer(directory, segment_bytes=4096, clock=clock)
        for name in ("pwrite", "rename", "fsync", "fdatasync", "ftruncate", "close", "open"):
            monkeypatch.setattr(os, name, snapshot(getattr(os, name)))
        for number in range(12):
            name = f"req_{number}"
            writer.intent(name, intent_line(name))
            begun.append(name)
            if choose.random() < 0.7:
                open_names = [name for name in begun if name not in settled]
                name = choose.choice(open_names)
                writer.record(name, make_line(name))
                settled.append(name)
            if choose.random() < 0.4:
                clock.now += 2
                writer.rotate()
        budget[0] = 0
        monkeypatch.undo()
        writer.close()
        for copy, begun_then, settled_then in copies:
            spool.recover(copy)
            found = outcomes(copy)
            assert duplicates(copy) == {}
            assert set(begun_then) <= set(found)
            assert len(set(found) - set(begun_then)) <= 1  # one that was just being written
            assert all(found[name] == ["settled"] for name in settled_then)
            assert sum(states == ["settled"] for states in found.values()) <= len(settled_then) + 1
            assert left_open(copy) == []
