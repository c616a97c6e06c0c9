"""Write segments, load them with one worker process on one core, and check that nothing is lost and nothing doubled.

The worker is a real Celery process (`--pool=threads`) that takes messages from Redis, loads a real ClickHouse server
and posts to PostgreSQL, both over real connections. Writing the segments is not part of the measurement.

    python -m benchmarks.ingest [--records 1000000] [--core 0] [--database-url …] [--redis-url …]
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis

from tests import stores

DEPTH = 24  # messages that wait in Redis at a time
STARTUP_SECONDS = 5  # imports; no message waits yet, so nothing of them is measured
QUIET_SECONDS = 3  # after this long without progress, what a killed worker had taken is sent again
START_US = 1_795_305_600_000_000  # 2026-11-22, UTC


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: CPU seconds so far and its largest resident size."""

    cpu_seconds: float
    peak_rss_mib: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--organizations", type=int, default=40)
    parser.add_argument("--segment-bytes", type=int, default=16 * 1024 * 1024)
    parser.add_argument("--core", type=int, default=0, help="the core that the worker is bound to")
    parser.add_argument("--threads", type=int, default=10, help="of the worker: one computes while others wait")
    parser.add_argument("--kills", type=int, default=0, help="kill -9 the worker this many times on the way")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--database-url", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--redis-url", default="redis://127.0.0.1:6379/14")
    arguments = parser.parse_args()
    reason = stores.why_no_server()
    if reason:
        print(f"This needs a ClickHouse server: {reason}.", file=sys.stderr)
        return 3
    broker: Any = redis.Redis.from_url(arguments.redis_url)
    if broker.dbsize():
        # Also messages that a killed worker had taken: they come back after minutes, into the wrong run.
        print(
            f"{arguments.redis_url} is not empty; name a database that is, it is emptied afterwards.", file=sys.stderr
        )
        return 3
    directory = Path(tempfile.mkdtemp(prefix="kairos-ingest-"))
    database = f"kairos_ingest_{os.getpid()}"
    server = stores.ClickHouseServer(directory / "clickhouse")
    with psycopg.connect(arguments.database_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {database}")
        try:
            server.start()
            _configure(arguments, directory, database, server)
            return _run(arguments, directory, server)
        finally:
            server.stop(signal.SIGKILL)
            broker.flushdb()
            _disconnect()
            admin.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            shutil.rmtree(directory, ignore_errors=True)


def _configure(arguments: argparse.Namespace, directory: Path, database: str, server: stores.ClickHouseServer) -> None:
    os.environ.update(
        {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "KAIROS_PROFILE": "full",
            "KAIROS_SECRET_KEY": "for-the-benchmark-only",
            "KAIROS_DATA_DIR": str(directory / "data"),
            "DATABASE_URL": urlunsplit(urlsplit(arguments.database_url)._replace(path=f"/{database}")),
            "REDIS_URL": arguments.redis_url,
            "CLICKHOUSE_URL": stores.with_database(server.url, "kairos"),
        }
    )
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("migrate_clickhouse", verbosity=0)


def _disconnect() -> None:
    try:
        from django.db import connections

        connections.close_all()
    except Exception:  # settings were never loaded
        return


def _run(arguments: argparse.Namespace, directory: Path, server: stores.ClickHouseServer) -> int:
    from benchmarks.ingest import traffic

    print(f"Writing {arguments.records:,} records …", file=sys.stderr)
    began = time.monotonic()
    expected = traffic.write_segments(
        directory / "segments",
        records=arguments.records,
        segment_bytes=arguments.segment_bytes,
        start_us=START_US,
        organizations=arguments.organizations,
        seed=arguments.seed,
    )
    print(f"{len(expected.segments):,} segments in {time.monotonic() - began:.0f} s. Loading …", file=sys.stderr)
    worker = Worker(core=arguments.core, threads=arguments.threads, directory=directory)
    try:
        time.sleep(STARTUP_SECONDS)
        before, server_before = worker.measure(), _usage(_pid(server))
        began = time.monotonic()
        _publish(expected.segments, arguments.redis_url, worker, arguments.kills)
        seconds = time.monotonic() - began
        after, server_after = worker.measure(), _usage(_pid(server))
    finally:
        worker.stop()
    rollup_seconds, buckets = _roll_up()
    checks = _check(expected)
    cpu = after.cpu_seconds - before.cpu_seconds
    rows: list[tuple[str, str]] = [
        ("worker", f"{arguments.threads} threads on core {arguments.core}, killed {arguments.kills} times"),
        ("records", f"{expected.records:,}"),
        ("segments", f"{len(expected.segments):,} of {arguments.segment_bytes / 2**20:.0f} MiB"),
        ("records a second", f"{expected.records / seconds:,.0f}"),
        ("worker CPU a record", f"{cpu / expected.records * 1e6:.1f} µs"),
        ("worker's core busy", f"{cpu / seconds:.0%}"),
        ("worker peak RSS", f"{after.peak_rss_mib:.0f} MiB"),
        (
            "ClickHouse CPU a record",
            f"{(server_after.cpu_seconds - server_before.cpu_seconds) / expected.records * 1e6:.1f} µs",
        ),
        ("ClickHouse peak RSS", f"{server_after.peak_rss_mib:.0f} MiB"),
        ("bytes a record on disk", f"{_bytes_on_disk() / expected.records:.0f}"),
        ("roll-up of everything", f"{buckets} hours in {rollup_seconds:.1f} s"),
        *checks,
    ]
    for name, value in rows:
        print(f"{name:<28}{value}")
    return 0 if all(value.startswith("exact") for _, value in checks) else 1


class Worker:
    """The Celery worker process, bound to one core; it can be killed and started again."""

    def __init__(self, *, core: int, threads: int, directory: Path) -> None:
        self.core, self.threads, self.log = core, threads, directory / "worker.log"
        self.cpu_seconds = 0.0
        self.peak_rss_mib = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("taskset", "-c", str(self.core), sys.executable, "-m", "celery", "-A", "config.celery", "worker"),
                    *("--pool=threads", f"--concurrency={self.threads}", "--prefetch-multiplier=8", "-Q", "segments"),
                    *(
                        "--loglevel=WARNING",
                        "--without-gossip",
                        "--without-mingle",
                        "--without-heartbeat",
                        "-n",
                        f"ingest-{os.getpid()}@%h",
                    ),
                ],
                stdout=log,
                stderr=log,
            )

    def measure(self) -> Usage:
        """Return what the processes so far have used together; the ones that were killed up to their end."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"The worker ended: {self.log.read_text()[-2000:]}")
        usage = _usage(self.process.pid)
        return Usage(self.cpu_seconds + usage.cpu_seconds, max(self.peak_rss_mib, usage.peak_rss_mib))

    def kill(self) -> None:
        usage = self.measure()
        self.cpu_seconds, self.peak_rss_mib = usage.cpu_seconds, usage.peak_rss_mib
        self._end(signal.SIGKILL)
        self.start()

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, sign: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(sign)
        self.process.wait(timeout=60)


def _publish(segments: list[tuple[str, Path, str]], redis_url: str, worker: Worker, kills: int) -> None:
    """Send every segment, a few ahead of the worker; send again what stays unmarked; return when all are marked.

    `kills` times, evenly over the segments, the worker is killed in the middle of what it does and started again.
    """
    from billing import models

    queue: Any = redis.Redis.from_url(redis_url)
    every = len(segments) // (kills + 1)
    for number, segment in enumerate(segments, start=1):
        while queue.llen("segments") >= DEPTH:
            time.sleep(0.005)
            worker.measure()
        _send(segment)
        if kills and number % every == 0 and number // every <= kills:
            worker.kill()
    loaded = moved_at = 0.0
    while True:
        count = models.LoadedSegment.objects.count()
        if count == len(segments):
            return
        if count != loaded:
            loaded, moved_at = count, time.monotonic()
        elif kills and time.monotonic() - moved_at > QUIET_SECONDS and not queue.llen("segments"):
            # What a killed worker had taken is sent again, as the gateway does for segments that stay unmarked.
            marked = set(models.LoadedSegment.objects.values_list("segment_id", flat=True))
            for segment in segments:
                if segment[0] not in marked:
                    _send(segment)
            moved_at = time.monotonic()
        time.sleep(0.02)
        worker.measure()


def _send(segment: tuple[str, Path, str]) -> None:
    from billing import tasks

    segment_id, path, sha256 = segment
    tasks.load_segment.apply_async(
        kwargs={"segment_id": segment_id, "body": path.read_text(encoding="ascii"), "sha256": sha256}
    )


def _roll_up() -> tuple[float, int]:
    from datetime import UTC, datetime, timedelta

    from analytics import rollups

    skip = [0]

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(hours=skip[0])

    began, buckets = time.monotonic(), 0
    while rollups.pending():
        buckets += rollups.refresh(now=now)
        skip[0] += 1
    return time.monotonic() - began, buckets


def _check(expected: Any) -> list[tuple[str, str]]:
    from datetime import date

    from django.db.models import Sum

    from analytics.clickhouse import client
    from analytics.queries.daily_totals import daily_totals
    from billing import models, reconciliation

    first, last = date(2026, 11, 22), date(2027, 12, 31)
    totals = daily_totals(organization_id="", first=first, last=last)
    logged = (
        sum(total.calls for total in totals),
        sum(total.provider_cost_nanousd for total in totals),
        sum(total.digest for total in totals) % 2**63,
    )
    ledger = models.UsageEntry.objects.aggregate(calls=Sum("calls"), cost=Sum("provider_cost_nanousd"))
    rolled = client.query("SELECT sum(calls), sum(provider_cost_nanousd) FROM request_rollups FINAL")[0]
    raw = client.query("SELECT count() FROM request_logs")[0][0]
    wanted = (expected.records, expected.provider_cost_nanousd)
    return [
        ("ClickHouse count and cost", _verdict(logged[:2], wanted)),
        ("ClickHouse digest", _verdict(logged[2:], (expected.digest,))),
        ("rows before merging", _verdict((raw,), (expected.records,))),
        ("ledger count and cost", _verdict((int(ledger["calls"]), int(ledger["cost"])), wanted)),
        ("roll-up count and cost", _verdict(tuple(rolled), wanted)),
        ("ledger against ClickHouse", _verdict((len(reconciliation.compare(first=first, last=last)),), (0,))),
    ]


def _verdict(found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    return f"exact {found}" if found == wanted else f"WRONG {found}, should be {wanted}"


def _bytes_on_disk() -> int:
    from analytics.clickhouse import client

    rows = client.query(
        "SELECT sum(bytes_on_disk) FROM system.parts "
        "WHERE active AND database = currentDatabase() AND table = 'request_logs'"
    )
    return int(rows[0][0])


def _pid(server: stores.ClickHouseServer) -> int:
    assert server.process is not None
    return server.process.pid


def _usage(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    peak = next(
        line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return Usage(cpu_seconds=ticks / os.sysconf("SC_CLK_TCK"), peak_rss_mib=int(peak) / 1024)


if __name__ == "__main__":
    sys.exit(main())
