"""The embedded profile's Celery worker and beat, as threads of the serving process.

The broker is `memory://` and chDB belongs to one process, so whoever serves also works. The full profile runs
`celery -A config.celery worker` and `beat` instead and never imports this.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from celery.beat import Scheduler, Service
from celery.worker import WorkController, state
from django.conf import settings
from django.db import DatabaseError, connection

from config.celery import app
from gateway import shipping

# Loads and jobs mostly wait on ClickHouse or SQLite; more threads would only fight over one interpreter.
CONCURRENCY = 2
READY_TIMEOUT_S = 15.0
DRAIN_TIMEOUT_S = 8.0
STOP_TIMEOUT_S = 8.0

logger = logging.getLogger(__name__)


class WorkerNotReady(Exception):
    """The in-process worker did not come up."""


class _Worker(WorkController):
    """A worker without process title, signal handlers and banner; it says when it is ready."""

    def __init__(self, ready: threading.Event) -> None:
        self._ready = ready
        super().__init__(
            app=app,
            hostname="embedded@localhost",
            pool="threads",
            concurrency=CONCURRENCY,
            loglevel=logging.WARNING,
            queues=["segments", "jobs"],
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )

    def on_consumer_ready(self, consumer: object) -> None:
        self._ready.set()


class InProcessWorker:
    """Start and stop the worker and the beat threads of this process. Not restartable."""

    def __init__(self) -> None:
        self._worker_thread: threading.Thread | None = None
        self._beat_thread: threading.Thread | None = None
        self._beat: Service | None = None

    def start(self) -> None:
        """Start both threads and return when the worker takes messages.

        Raises:
            WorkerNotReady: it does not within 15 seconds, or died.
        """
        ready, dead = threading.Event(), threading.Event()
        state.should_stop = None
        self._worker_thread = threading.Thread(target=self._work, args=(ready, dead), name="celery-worker", daemon=True)
        self._worker_thread.start()
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not ready.wait(0.05):
            if dead.is_set() or time.monotonic() > deadline:
                raise WorkerNotReady("The in-process worker did not start; its error is in the log.")
        # The schedule lives in memory: its entries are intervals, counted from the start of the process.
        self._beat = Service(app, max_interval=1, scheduler_cls=Scheduler)
        self._beat_thread = threading.Thread(target=self._beat.start, name="celery-beat", daemon=True)
        self._beat_thread.start()

    def stop(self) -> None:
        """Stop the beat, give the worker a few seconds to load what is sealed, then stop it after its running tasks."""
        if self._beat is not None:
            self._beat.stop()
        if self._worker_thread is None:
            return
        _wait_until_loaded(settings.SPOOL_DIR, timeout_s=DRAIN_TIMEOUT_S)
        state.should_stop = 0  # type: ignore[assignment]  # an exit code, or None to run on
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._worker_thread.is_alive() and time.monotonic() < deadline:
            # The worker looks at `should_stop` between messages, and else every two seconds: give it messages.
            app.control.broadcast("ping")
            self._worker_thread.join(0.1)
        if self._worker_thread.is_alive():
            logger.warning("A job is still running; it starts again at the next start.")
        state.should_stop = None

    @staticmethod
    def _work(ready: threading.Event, dead: threading.Event) -> None:
        app.set_current()
        try:
            _Worker(ready).start()
        except Exception:
            logger.exception("The in-process worker stopped.")
        finally:
            dead.set()


def _wait_until_loaded(spool_dir: Path, *, timeout_s: float) -> None:
    """Return when the ledger has every sealed segment, or after `timeout_s`: what is left loads at the next start.

    The data plane has published them and is gone; whoever starts next finds the marks and deletes the files.
    """
    deadline = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            waiting = [path.stem for path in spool_dir.glob("*.sealed")]
            if len(shipping.loaded_segments(waiting)) == len(waiting):
                return
            time.sleep(0.05)
    except DatabaseError:
        logger.warning("The ledger cannot be asked for the last segments; they are loaded at the next start.")
    finally:
        connection.close()
