"""Measure the gateway on one processor, beside the direct call and nginx, and check every answer and every record.

The gateway runs as in production (`manage.py serve gateway`, full profile) over PostgreSQL and Redis; the provider is
a mock. After each load the records that its segments hold are counted: they must be as many as the calls answered.

    python -m benchmarks.gateway [--seconds 8] [--rounds 3] [--quick] [--scenarios whole-64,stream-64]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.gateway import processes, report, scenarios, targets
from benchmarks.gateway.ledger import Count, Ledger
from benchmarks.gateway.processes import Program, Unusable
from benchmarks.gateway.scenarios import Scenario
from benchmarks.gateway.targets import Target

EXIT_MET, EXIT_MISSED, EXIT_UNUSABLE = 0, 1, 3
AWAITED_MS, INTERVAL_MS = 0, 50


@dataclass(frozen=True, slots=True)
class Bench:
    """What stands ready to be measured."""

    directory: Path
    loadgen: str
    core: int
    upstream: Program
    targets: list[Target]
    ledger: Ledger

    def measure(self, scenario: Scenario, target: Target, *, seconds: float, warmup_s: float) -> dict[str, Any]:
        """Run one load against one target and return the line of the raw file."""
        programs = [self.upstream.pid, *(one.program.pid for one in self.targets if one.program)]
        pid = target.program.pid if target.program else None
        before, began = _Usage.now(programs, pid), time.monotonic()
        with ExitStack() as stack:
            for other in self.targets:
                if other is not target and other.program is not None:
                    stack.enter_context(other.program.paused())
            figures = scenarios.run(
                scenario,
                loadgen=self.loadgen,
                directory=self.directory,
                port=target.port,
                headers=target.headers,
                expected=target.stream if scenario.is_stream else target.whole,
                core=self.core,
                seconds=seconds,
                warmup_s=warmup_s,
            )
        used, wall_s = _Usage.now(programs, pid).since(before), time.monotonic() - began
        memory = processes.rss_mib(pid) if pid else None
        answered = figures["answered"]
        count = self.ledger.settle(answered) if target.keeps_records else Count(settled=answered)
        if count.settled != answered and target.program and not figures["first_error"]:
            figures["first_error"] = f"{target.name} said last: {target.program.last_words()}"
        return figures | {
            "target": target.name,
            "scenario": scenario.name,
            "title": scenario.title,
            "is_stream": scenario.is_stream,
            "cpu_us": round(used.target_s / max(answered, 1) * 1e6, 2) if pid else None,
            "rss_mib": memory,
            "target_cores": round(used.target_s / wall_s, 3),
            "others_cores": round(max(used.others_s, 0.0) / wall_s, 3),
            "stolen_cores": round(used.stolen_s / wall_s, 3),
            "missing_records": answered - count.settled,
            "other_records": count.others,
            "records_twice": count.twice,
        }


@dataclass(frozen=True, slots=True)
class _Usage:
    """CPU seconds: of the target measured, of everybody who is no part of the benchmark, and taken by the host."""

    target_s: float
    others_s: float
    stolen_s: float

    @classmethod
    def now(cls, programs: list[int], target: int | None) -> _Usage:
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        ours_s = sum(usage.ru_utime + usage.ru_stime for usage in own) + sum(map(processes.cpu_s, programs))
        machine = processes.machine()
        target_s = 0.0 if target is None else processes.cpu_s(target)
        return cls(target_s, machine.busy_s - ours_s, machine.stolen_s)

    def since(self, before: _Usage) -> _Usage:
        return _Usage(self.target_s - before.target_s, self.others_s - before.others_s, self.stolen_s - before.stolen_s)


def main() -> int:
    arguments = _arguments()
    # Ended from outside it ends what it started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    chosen = [
        one for one in scenarios.SCENARIOS if not arguments.scenarios or one.name in arguments.scenarios.split(",")
    ]
    if arguments.prefer and not processes.prefer_this_session():
        print("The kernel does not prefer this session; other work weighs in.", file=sys.stderr)
    runs: list[dict[str, Any]] = []
    try:
        with _ready(arguments) as bench:
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            preface = report.preface(
                python=arguments.python,
                cores=arguments.cores,
                seconds=arguments.seconds,
                rounds=arguments.rounds,
                spool_directory=bench.directory,
            )
            _warm(bench, chosen)
            for number in range(1, arguments.rounds + 1):
                for scenario in chosen:
                    for target in bench.targets:
                        run = bench.measure(scenario, target, seconds=arguments.seconds, warmup_s=0.5)
                        runs.append({"round": number} | run)
                        _note(arguments.output, runs[-1])
    except Unusable as error:
        print(error, file=sys.stderr)
        return EXIT_UNUSABLE
    print(f"\n{preface}\n\n{report.table(runs)}\n")
    for warning in report.warnings(runs):
        print(f"Warning: {warning}")
    if not any(run["target"] == report.NGINX for run in runs):
        print("Warning: no nginx here, so there are no ratios. On Debian or Ubuntu: apt-get install nginx-light")
    print(f"Raw figures: {arguments.output}")
    return EXIT_MET if report.is_met(runs) else EXIT_MISSED


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gateway", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run, after half a second of warm-up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 2 seconds")
    parser.add_argument("--limits", action="store_true", help="three budgets and two rate limits on every call")
    parser.add_argument("--scenarios", default="", help="names, separated by commas; all without it")
    parser.add_argument("--cores", default="0,1", help="processors: of the gateway, of provider and load generator")
    parser.add_argument("--port", type=int, default=8190, help="the first of four free ports")
    parser.add_argument("--python", default=sys.executable, help="runs the gateway; needs the same dependencies")
    parser.add_argument("--prefer", action="store_true", help="let the kernel prefer this session (needs privileges)")
    parser.add_argument("--database-url", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument(
        "--redis-url", default="redis://127.0.0.1:6379/9", help="an unused database; flushed at the end"
    )
    parser.add_argument("--output", type=Path, default=None, help="raw figures, one JSON object a line")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seconds, arguments.rounds = 2.0, 1
    try:
        first, second = (int(core) for core in arguments.cores.split(","))
    except ValueError:
        parser.error("--cores takes two numbers, as in --cores 0,1")
    if not {first, second} <= os.sched_getaffinity(0) or first == second:
        parser.error(f"--cores {arguments.cores}: name two different ones of {sorted(os.sched_getaffinity(0))}.")
    names = {one.name for one in scenarios.SCENARIOS}
    if unknown := set(filter(None, arguments.scenarios.split(","))) - names:
        parser.error(f"--scenarios: {', '.join(sorted(unknown))} is none of {', '.join(sorted(names))}.")
    arguments.cores = (first, second)
    arguments.output = arguments.output or Path(f"var/benchmarks/gateway-{time.strftime('%Y%m%d-%H%M%S')}.jsonl")
    return arguments


@contextmanager
def _ready(arguments: argparse.Namespace) -> Iterator[Bench]:
    """Start everything; end and remove everything afterwards."""
    gateway_core, load_core = arguments.cores
    port = arguments.port
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="kairos-bench-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o755)  # nginx's worker is another user when its master is root
        programs = processes.compile_programs(directory)
        database_url = stack.enter_context(_database(arguments.database_url))
        ledger = Ledger(redis_url=arguments.redis_url, database_url=database_url)
        ledger.start()
        stack.callback(ledger.stop)
        for one in range(port, port + 4):
            targets.require_free(one)
        upstream = targets.upstream(
            programs["upstream"], stack, port=port, core=load_core, directory=directory, max_seconds=4 * 3600
        )
        found = [Target(report.DIRECT, port, None)]
        proxy = targets.nginx(stack, port=port + 1, upstream_port=port, core=gateway_core, directory=directory)
        if proxy is not None:
            found.append(proxy)
        key = ""
        for number, (name, sync_ms) in enumerate(((report.OURS, INTERVAL_MS), (report.AWAITED, AWAITED_MS))):
            data = directory / f"data-{number}"
            environment = targets.gateway_environment(
                directory=data,
                database_url=database_url,
                redis_url=arguments.redis_url,
                port=port + 2 + number,
                upstream_port=port,
            )
            if not key:
                key = targets.prepare_database(environment)
                if arguments.limits:
                    targets.add_limits(environment)
            target = targets.gateway(
                name,
                stack,
                python=arguments.python,
                environment=environment,
                key=key,
                sync_ms=sync_ms,
                core=gateway_core,
                directory=directory,
            )
            found.append(target)
            ledger.settle(1)
        os.sched_setaffinity(0, {load_core})
        yield Bench(directory, programs["loadgen"], load_core, upstream, found, ledger)


@contextmanager
def _database(url: str) -> Iterator[str]:
    """Make a database on the server, and drop it afterwards."""
    name = f"kairos_bench_{os.getpid()}"
    try:
        connection = psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        raise Unusable(f"PostgreSQL does not answer: {error}. Name another: --database-url") from error
    with connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield targets.database_named(url, name)
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _warm(bench: Bench, chosen: list[Scenario]) -> None:
    """Let every target import, connect and fill its caches before anything counts."""
    for kind in {scenario.is_stream: scenario for scenario in chosen}.values():
        for target in bench.targets:
            bench.measure(kind, target, seconds=0.5, warmup_s=0.0)


def _note(path: Path, run: dict[str, Any]) -> None:
    """Append a run to the raw file, and tell that it is over."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n")
    cpu = "" if run["cpu_us"] is None else f"{run['cpu_us']:8.1f} µs"
    print(
        f"round {run['round']}  {run['scenario']:<10} {run['target']:<16} {run['rps']:10,.1f}/s {cpu:>11}"
        f"  others {run['others_cores']:.2f}  errors {report.errors(run)}",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
