"""`python -m tests.faults`: kill the gateway, kill the worker, hang and kill ClickHouse, all under load; then count.

Prints one table of what was done and one of the claims; exits with 1 when a claim is broken.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests import stores
from tests.faults import evidence, verdict
from tests.faults.load import Load
from tests.faults.stack import Stack, StackError

_DRAIN_S = 120


@dataclass(slots=True)
class Diary:
    """What was done to the stack."""

    gateway_kills: list[float] = field(default_factory=list)
    restarts_s: list[float] = field(default_factory=list)
    worker_kills: int = 0
    most_sealed: int = 0
    drained_s: float = 0.0
    gateway_exit: int | None = None


def main() -> int:
    arguments = _arguments()
    reason = stores.why_no_server()
    if reason:
        print(f"The fault run needs a ClickHouse server: {reason}.", file=sys.stderr)
        return 2
    directory = Path(tempfile.mkdtemp(prefix="kairos-faults-"))
    stack = Stack(directory, postgres_url=arguments.postgres, redis_url=arguments.redis, port=arguments.port)
    os.environ.update(stack.environment)
    rng = random.Random(arguments.seed)
    diary = Diary()
    try:
        stack.start()
        load = Load(
            url=f"http://127.0.0.1:{stack.port}",
            api_key=stack.api_key,
            clients=arguments.clients,
            think_s=arguments.clients / arguments.rate,
        )
        load.start()
        try:
            _break_things(stack, diary, rng, kills=arguments.kills, seconds=arguments.seconds)
        finally:
            load.stop()
        _drain(stack, diary)
        found = _collect(stack, load, diary)
    except StackError as error:
        print(f"The fault run ended early: {error}", file=sys.stderr)
        stack.stop()
        return 2
    except BaseException:
        stack.stop()
        raise
    stack.stop()
    findings = verdict.judge(found)
    print(_account(diary, found, seconds=arguments.seconds))
    print()
    print(verdict.table(findings))
    if all(finding.holds for finding in findings):
        shutil.rmtree(directory)
        return 0
    print(f"\nThe logs of the processes are in {directory}.")
    return 1


def _break_things(stack: Stack, diary: Diary, rng: random.Random, *, kills: int, seconds: float) -> None:
    for _ in range(kills):
        time.sleep(rng.uniform(0.2, 1.5))
        diary.gateway_kills.append(stack.gateway.kill())
        down_at = time.monotonic()
        stack.gateway.start()
        stack.wait_until_ready()
        diary.restarts_s.append(time.monotonic() - down_at)
    for _ in range(kills):
        time.sleep(rng.uniform(1.0, 3.5))  # a worker needs about two seconds to take its first message
        stack.worker.kill()
        stack.worker.start()
        diary.worker_kills += 1
    # Both faults of ClickHouse at once take the asked time: it hangs, then it is gone.
    stack.clickhouse.pause()
    _watch_backlog(stack, diary, seconds / 2)
    stack.clickhouse.stop(signal.SIGKILL)
    _watch_backlog(stack, diary, seconds / 2)
    stack.clickhouse.start()
    time.sleep(3)


def _watch_backlog(stack: Stack, diary: Diary, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        diary.most_sealed = max(diary.most_sealed, stack.sealed_segments())
        time.sleep(0.5)


def _drain(stack: Stack, diary: Diary) -> None:
    """Wait until everything is loaded, end the gateway in order, and let its last segment be loaded too."""
    started = time.monotonic()
    time.sleep(2)  # the last calls' segment reaches its age
    _wait_until_shipped(stack, started)
    diary.drained_s = time.monotonic() - started
    diary.gateway_exit = stack.gateway.terminate()
    if stack.sealed_segments():  # the next process would find and confirm them
        stack.gateway.start()
        stack.wait_until_ready()
        _wait_until_shipped(stack, started)
        stack.gateway.terminate()


def _wait_until_shipped(stack: Stack, started: float) -> None:
    while stack.sealed_segments() and time.monotonic() - started < _DRAIN_S:
        time.sleep(0.2)


def _collect(stack: Stack, load: Load, diary: Diary) -> verdict.Evidence:
    import django

    django.setup()
    return evidence.collect(stack, seen=load.seen, kills=diary.gateway_kills)


def _account(diary: Diary, found: verdict.Evidence, *, seconds: float) -> str:
    outcomes = Counter(call.outcome for call in found.seen)
    states = Counter(row.state for row in found.recorded)
    restarts = sorted(diary.restarts_s)
    lines = [
        ("gateway killed", f"{len(diary.gateway_kills)} times"),
        (
            "  back and answering after",
            f"{restarts[len(restarts) // 2]:.1f} s (median), {restarts[-1]:.1f} s (longest)",
        ),
        ("worker killed", f"{diary.worker_kills} times"),
        ("ClickHouse hung, then gone", f"{seconds / 2:.0f} s and {seconds / 2:.0f} s"),
        ("  segments waiting at most", str(diary.most_sealed)),
        ("everything loaded after the load's end", f"{diary.drained_s:.1f} s"),
        ("gateway's exit code after SIGTERM", str(diary.gateway_exit)),
        ("calls made", str(len(found.seen))),
        *((f"  {outcome}", str(count)) for outcome, count in sorted(outcomes.items())),
        ("calls that reached the upstream", str(len(found.asked))),
        ("records", str(len(found.recorded))),
        *((f"  {state}", str(count)) for state, count in sorted(states.items())),
    ]
    if not restarts:
        del lines[1]
    return "\n".join(f"{what:<40} {value}" for what, value in lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="how often the gateway dies, and then the worker")
    parser.add_argument("--seconds", type=float, default=60, help="how long ClickHouse is away")
    parser.add_argument("--clients", type=int, default=10, help="calls under way at a time")
    parser.add_argument("--rate", type=float, default=25, help="calls a second, about")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which processes die")
    parser.add_argument("--port", type=int, default=8140, help="of the gateway; the upstream takes the next one")
    parser.add_argument("--postgres", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/4", help="its database is emptied")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
