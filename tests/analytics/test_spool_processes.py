"""Processes that write as fast as they can, killed at random, while another recovers and ships without a pause."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from analytics import spool
from tests.analytics.spooling import outcomes

_PROGRAM = """
import itertools, os, pathlib, random, sys, threading, time
from analytics import spool
from tests.analytics.spooling import intent_line, make_line

directory, notes, name = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
writer = spool.Writer(directory, segment_bytes=32768, segment_seconds=0.01)
notebook = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def keep_rotating():
    while True:
        writer.rotate()
        writer.sync()

threading.Thread(target=keep_rotating, daemon=True).start()
running = []
for number in itertools.count():
    call = f"req_{name}_{number}"
    os.write(notebook, f"begin {call}\\n".encode())
    writer.intent(call, intent_line(call))
    running.append(call)
    if len(running) > 5:
        done = running.pop(random.randrange(len(running)))
        os.write(notebook, f"try {done}\\n".encode())
        writer.record(done, make_line(done))
        os.write(notebook, f"end {done}\\n".encode())
"""


def test_no_call_of_a_killed_process_is_lost_or_counted_twice(tmp_path: Path) -> None:
    directory, notes = tmp_path / "spool", tmp_path / "notes"
    directory.mkdir()
    rng = random.Random(7)
    loaded: dict[str, list[str]] = {}
    done = threading.Event()

    def recover_and_ship() -> None:
        while not done.is_set():
            spool.recover(directory)
            for path in directory.glob("*.sealed"):
                for call, states in _states(path).items():
                    loaded.setdefault(call, []).extend(states)
                path.unlink()

    thread = threading.Thread(target=recover_and_ship)
    thread.start()
    try:
        for life in range(6):
            processes = [_start(directory, notes, f"{life}{twin}") for twin in "ab"]
            _wait_for_calls(notes, [f"{life}{twin}" for twin in "ab"])
            for process in processes:
                time.sleep(rng.uniform(0.01, 0.2))
                process.kill()
                process.wait()
    finally:
        done.set()
        thread.join()
    spool.recover(directory)
    for call, states in outcomes(directory).items():
        loaded.setdefault(call, []).extend(states)

    begun, tried, ended = (_noted(notes, word) for word in ("begin", "try", "end"))
    assert len(ended) > 500
    assert {call for call, states in loaded.items() if len(states) > 1} == set()
    assert {call for call in ended if loaded[call] != ["settled"]} == set()
    assert {call for call, states in loaded.items() if states == ["settled"]} <= tried
    assert set(loaded) <= begun
    # What begun and is not there died between the note and the intent: one call of each process at most.
    assert len(begun - set(loaded)) <= 12
    assert list(directory.glob("*.open")) == []
    assert list(directory.glob("*.damaged")) == []


def _start(directory: Path, notes: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _PROGRAM, str(directory), str(notes), name])


def _wait_for_calls(notes: Path, names: list[str]) -> None:
    deadline = time.monotonic() + 60
    while not notes.exists() or not all(f"end req_{name}_" in notes.read_text() for name in names):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _noted(notes: Path, word: str) -> set[str]:
    return {line.split()[1] for line in notes.read_text().splitlines() if line.startswith(f"{word} ")}


def _states(path: Path) -> dict[str, list[str]]:
    segment = spool.read_segment(path.read_bytes())
    assert (segment.torn_bytes, segment.damaged_bytes) == (0, 0)
    found: dict[str, list[str]] = {}
    for line in segment.lines("R"):
        call = line.split(b'"', 2)[1].decode()
        found.setdefault(call, []).append("interrupted" if b'"interrupted"' in line else "settled")
    return found
