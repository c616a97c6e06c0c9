"""The stores of the suite: the log store of the profile, empty for each test, and a ClickHouse server of one's own.

Embedded: chDB in the session's state directory. Full: the server that CLICKHOUSE_URL names, in a database that belongs
to this session alone. `clickhouse_server` starts a server for tests that stop, kill or hang it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings

SERVE = Path(__file__).parent / "clickhouse_server" / "serve.py"
LIBRARY = SERVE.parent / "node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"
TABLES = ("request_logs", "feedback", "request_contents", "request_rollups")


class ClickHouseServer:
    """A ClickHouse server process with a data directory of its own, on a free port of this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.http_port = _free_port()
        self.tcp_port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        """Start the server and return when it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(SERVE), str(self.directory / "data"), str(self.http_port), str(self.tcp_port)],
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The ClickHouse server did not start; see {self.directory / 'server.log'}.")
            time.sleep(0.1)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """End the server by a signal and return when it is gone."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(sign)
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=15)
        self.process = None

    def pause(self) -> None:
        """Let the server hang: its ports accept, nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def why_no_server() -> str:
    """Return why a ClickHouse server cannot be started here, empty when it can."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "the ClickHouse library is installed for Linux on x86-64 only"
    if not LIBRARY.exists():
        return "run `npm ci` in tests/clickhouse_server for a ClickHouse server"
    return ""


@pytest.fixture(scope="session")
def _migrated_log_store() -> Iterator[None]:
    """Build the tables once a session, in a database that no other session uses."""
    from analytics.clickhouse import client, migrate

    if settings.CLICKHOUSE_IS_EMBEDDED:
        migrate.migrate()
        yield
        client.close()
        return
    database = f"kairos_test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{os.getpid()}"
    settings.CLICKHOUSE_DSN = with_database(settings.CLICKHOUSE_DSN, database)
    migrate.migrate()
    yield
    client.command(f"DROP DATABASE IF EXISTS {database}")
    client.close()


@pytest.fixture
def log_store(_migrated_log_store: None, request: pytest.FixtureRequest) -> None:
    """Empty tables in the log store of the profile; the test is marked `clickhouse`."""
    from analytics.clickhouse import client

    for table in TABLES:
        client.command(f"TRUNCATE TABLE {table}")


@pytest.fixture
def clickhouse_server(tmp_path: Path) -> Iterator[ClickHouseServer]:
    """A running server of this test's own, which it may stop, kill or pause."""
    # The server comes from npm, which `make test` does not need; `make test-full` installs it.
    reason = why_no_server()
    if reason:
        pytest.skip(reason)
    # Socket paths and lock files dislike pytest's long directory names.
    directory = Path(tempfile.mkdtemp(prefix="kairos-clickhouse-"))
    server = ClickHouseServer(directory)
    server.start()
    yield server
    server.stop(signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)


def with_database(url: str, database: str) -> str:
    """Return the ClickHouse URL with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
