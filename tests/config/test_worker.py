"""The worker and the beat inside the serving process: they do jobs, and they stop in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Task
from django.conf import settings

from billing.models import LoadedSegment
from config import worker
from config.celery import app

DEADLINE_S = 15

pytestmark = pytest.mark.django_db(transaction=True)


class Jobs:
    """Tasks of this test and what they saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.arrived = threading.Condition()

    def note(self, text: str) -> None:
        with self.arrived:
            self.seen.append((text, threading.current_thread().name))
            self.arrived.notify_all()

    def wait_for(self, text: str) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: any(text == seen for seen, _ in self.seen), DEADLINE_S)


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def note(jobs: Jobs) -> Iterator[Task[Any, Any]]:
    def note(text: str) -> None:
        jobs.note(text)

    yield from registered("tests.note", note)


def registered(name: str, function: Callable[..., None]) -> Iterator[Task[Any, Any]]:
    """Register `function` as a task of our application for as long as the fixture lives."""
    task = app.task(name=name)(function)
    yield task
    app.tasks.pop(name)


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[worker.InProcessWorker]:
    monkeypatch.setattr(settings, "SPOOL_DIR", tmp_path)
    found = worker.InProcessWorker()
    found.start()
    yield found
    found.stop()


def test_it_takes_jobs_from_both_queues_in_threads_of_this_process(
    jobs: Jobs, note: Task[Any, Any], running: worker.InProcessWorker
) -> None:
    note.apply_async(("from jobs",), queue="jobs")
    note.apply_async(("from segments",), queue="segments")

    jobs.wait_for("from jobs")
    jobs.wait_for("from segments")
    assert threading.current_thread().name not in {thread for _, thread in jobs.seen}


def test_the_beat_sends_what_is_due(
    jobs: Jobs, note: Task[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SPOOL_DIR", tmp_path)
    monkeypatch.setitem(
        app.conf, "beat_schedule", {"often": {"task": "tests.note", "schedule": 0.1, "args": ("from the beat",)}}
    )
    found = worker.InProcessWorker()
    found.start()
    try:
        jobs.wait_for("from the beat")
    finally:
        found.stop()


def test_stopping_waits_for_the_job_that_runs(jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SPOOL_DIR", tmp_path)
    release = threading.Event()

    def hold() -> None:
        jobs.note("begun")
        release.wait(DEADLINE_S)
        jobs.note("ended")

    task = app.task(name="tests.hold")(hold)
    found = worker.InProcessWorker()
    found.start()
    task.apply_async(queue="jobs")
    jobs.wait_for("begun")
    threading.Timer(0.3, release.set).start()
    found.stop()
    app.tasks.pop("tests.hold")

    assert [text for text, _ in jobs.seen] == ["begun", "ended"]


@pytest.mark.parametrize("is_loaded", [True, False])
def test_stopping_waits_until_the_ledger_has_the_sealed_segments_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_loaded: bool
) -> None:
    monkeypatch.setattr(settings, "SPOOL_DIR", tmp_path)
    monkeypatch.setattr(worker, "DRAIN_TIMEOUT_S", 1.5)
    (tmp_path / "a-00000001.sealed").touch()
    if is_loaded:
        LoadedSegment.objects.create(segment_id="a-00000001", records=1, sha256="0" * 64)
    found = worker.InProcessWorker()
    found.start()
    started = time.monotonic()
    found.stop()
    elapsed = time.monotonic() - started

    assert elapsed < 1.4 if is_loaded else 1.5 <= elapsed < 10


def test_a_worker_that_dies_at_once_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(ready: threading.Event) -> None:
        raise RuntimeError("no broker")

    monkeypatch.setattr(worker, "_Worker", broken)
    started = time.monotonic()

    with pytest.raises(worker.WorkerNotReady):
        worker.InProcessWorker().start()

    assert time.monotonic() - started < 5
