"""The processes of a full profile on this machine, each of which may be killed, stopped and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis

from tests.stores import ClickHouseServer

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent


class StackError(Exception):
    """A process did not come up; the message names its log."""


@dataclass(slots=True)
class Program:
    """A process that can be started again under the same name."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> float:
        """Kill it without a chance to say anything; return the moment."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise StackError(f"The {self.name} ended by itself with {self.process.returncode}; see {self.log}.")
        moment = time.monotonic()
        self.process.kill()
        self.process.wait(timeout=10)
        return moment

    def keep_up(self) -> bool:
        """Start it again if it has ended, as every supervisor does; return whether that was needed."""
        if self.process is None or self.process.poll() is None:
            return False
        self.start()
        return True

    def pause(self) -> None:
        """Let it hang: its sockets stay open and nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def terminate(self, timeout: float = 40) -> int:
        """Ask it to end; return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=timeout)

    def discard(self) -> None:
        """Kill it if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)


class Stack:
    """Gateway, worker, Redis, ClickHouse and upstream of this run alone, and a database of its own in PostgreSQL."""

    def __init__(self, directory: Path, *, postgres_url: str, port: int, sync_ms: int) -> None:
        self.directory = directory
        self.spool = directory / "data" / "spool"
        self.port, self.upstream_port, self.redis_port = port, port + 1, port + 2
        self.clickhouse = ClickHouseServer(directory / "clickhouse")
        self._postgres_url = postgres_url
        self._sync_ms = sync_ms
        self._database = f"kairos_faults_{os.getpid()}"
        self.environment = self._environment()
        python = sys.executable
        self.gateway = self._program("gateway", [python, "manage.py", "serve", "gateway"])
        self.worker = self._program(
            "worker",
            [
                *[python, "-m", "celery", "-A", "config.celery", "worker", "-Q", "segments,jobs", "-l", "WARNING"],
                *["--pool=threads", "--concurrency=2", "--without-gossip", "--without-mingle"],
            ],
        )
        self.upstream = self._program(
            "upstream",
            [
                *[str(BIN / "llmock"), "serve", "--host", "127.0.0.1", "--port", str(self.upstream_port)],
                *["--latency-ms", "40", "--stream-chunk-delay-ms", "15", "--log-level", "warning"],
            ],
        )
        self.redis = self._program(
            "redis",
            ["redis-server", "--bind", "127.0.0.1", "--port", str(self.redis_port), "--save", "", "--appendonly", "no"],
        )
        self.api_key = ""

    def start(self) -> None:
        """Start everything and make an organization with a live key.

        Raises:
            StackError: something does not come up.
        """
        for port in (self.port, self.upstream_port, self.redis_port):
            _keep_free(port)
        self._on_server(f"CREATE DATABASE {self._database}")
        self.redis.start()
        self.clickhouse.start()
        self.upstream.start()
        self._manage("migrate", "--verbosity=0")
        self._manage("migrate_clickhouse", "--verbosity=0")
        first = self._manage("bootstrap", "--organization=Faults", "--email=alice@acme.test", "--json")
        self.api_key = json.loads(first.splitlines()[-1])["live_api_key"]
        self.gateway.start()
        self.worker.start()
        self.wait_until_ready()

    def stop(self) -> None:
        """End and remove everything but the log files."""
        for program in (self.gateway, self.worker, self.upstream, self.redis):
            program.discard()
        self.clickhouse.stop(signal.SIGKILL)
        self._on_server(f"DROP DATABASE IF EXISTS {self._database} WITH (FORCE)")

    def close_database(self) -> None:
        """Let PostgreSQL end every session of the database and refuse new ones."""
        self._on_server(f"ALTER DATABASE {self._database} ALLOW_CONNECTIONS false")
        self._on_server(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._database}'")

    def open_database(self) -> None:
        self._on_server(f"ALTER DATABASE {self._database} ALLOW_CONNECTIONS true")

    def messages_in_hand(self) -> int:
        """Return how many segments the worker has taken and not finished."""
        count: object = redis.Redis(port=self.redis_port, socket_timeout=2).hlen("unacked")
        return int(str(count))

    def wait_until_ready(self) -> None:
        """Return when the gateway takes calls."""
        deadline = time.monotonic() + 60
        while not self._answers():
            process = self.gateway.process
            if process is None or process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"The gateway does not come up; see {self.gateway.log}.")
            time.sleep(0.02)

    def sealed_segments(self) -> int:
        return sum(1 for _ in self.spool.glob("*.sealed"))

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True
        )
        if done.returncode:
            raise StackError(f"manage.py {arguments[0]} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KAIROS_", "CLICKHOUSE_"))}
        return kept | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "KAIROS_PROFILE": "full",
            "KAIROS_SECRET_KEY": "for-fault-tests-only",
            "KAIROS_DATA_DIR": str(self.directory / "data"),
            # Many small segments and an impatient shipper: as much as possible is under way when something dies.
            "KAIROS_SPOOL_SEGMENT_BYTES": "4096",
            "KAIROS_SEGMENT_REDELIVERY_SECONDS": "5",
            "KAIROS_SPOOL_SYNC_INTERVAL_MS": str(self._sync_ms),
            "KAIROS_PROVIDER_OPENAI_BASE_URL": f"http://127.0.0.1:{self.upstream_port}/v1",
            "KAIROS_PROVIDER_OPENAI_API_KEY": "upstream-key",
            "DATABASE_URL": urlunsplit(urlsplit(self._postgres_url)._replace(path=f"/{self._database}")),
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "CLICKHOUSE_URL": f"{self.clickhouse.url}/kairos",
            "PORT": str(self.port),
        }

    def _on_server(self, statement: str) -> None:
        with psycopg.connect(self._postgres_url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _program(self, name: str, command: list[str]) -> Program:
        return Program(name, command, self.environment, self.directory / f"{name}.log")


def _keep_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackError(f"Port {port} is taken; choose another with --port.") from error
