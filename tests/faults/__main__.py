"""`python -m tests.faults`: kill gateway and worker, take ClickHouse, Redis and PostgreSQL away, all under load; count.

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
    calm_from: float = 0.0
    worker_kills: int = 0
    kills_with_messages: int = 0
    worker_restarts: int = 0
    segments: int = 0
    most_sealed: int = 0
    drained_s: float = 0.0
    gateway_exit: int | None = None


def main() -> int:
    arguments = _arguments()
    reason = stores.why_no_server() or ("" if shutil.which("redis-server") else "redis-server is not installed")
    if reason:
        print(f"The fault run cannot start: {reason}.", file=sys.stderr)
        return 2
    directory = Path(tempfile.mkdtemp(prefix="kairos-faults-"))
    stack = Stack(directory, postgres_url=arguments.postgres, port=arguments.port, sync_ms=arguments.sync_ms)
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
    diary.calm_from = time.monotonic()
    for _ in range(kills):
        left_behind = stack.messages_in_hand()  # by the workers that were killed before
        time.sleep(rng.uniform(1.5, 3.0))  # a worker needs about two seconds to take its first message
        diary.kills_with_messages += _wait_for_a_message(stack, left_behind)
        time.sleep(rng.uniform(0, 0.02))  # somewhere between the insert, the ledger and the acknowledgement
        stack.worker.kill()
        stack.worker.start()
        diary.worker_kills += 1
    stack.clickhouse.pause()
    _watch_backlog(stack, diary, seconds / 2)
    stack.clickhouse.stop(signal.SIGKILL)
    _watch_backlog(stack, diary, seconds / 2)
    stack.clickhouse.start()
    stack.redis.pause()
    _watch_backlog(stack, diary, seconds / 6)
    stack.redis.kill()  # it keeps nothing: every message is lost
    _watch_backlog(stack, diary, seconds / 6)
    stack.redis.start()
    stack.close_database()
    _watch_backlog(stack, diary, seconds / 6)
    stack.open_database()
    time.sleep(3)


def _wait_for_a_message(stack: Stack, left_behind: int) -> bool:
    """Return whether the worker took a message within seconds."""
    until = time.monotonic() + 4
    while time.monotonic() < until:
        if stack.messages_in_hand() > left_behind:
            return True
        time.sleep(0.002)
    return False


def _watch_backlog(stack: Stack, diary: Diary, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        diary.most_sealed = max(diary.most_sealed, stack.sealed_segments())
        # A worker whose Redis vanishes may give up (kombu fails while it hands its messages back): it is started again.
        diary.worker_restarts += stack.worker.keep_up()
        time.sleep(min(0.5, seconds))


def _drain(stack: Stack, diary: Diary) -> None:
    """Wait until everything is loaded, end the gateway in order, and let its last segment be loaded too."""
    started = time.monotonic()
    time.sleep(2)  # the last calls' segment reaches its age
    _wait_until_shipped(stack, diary, started)
    diary.drained_s = time.monotonic() - started
    diary.gateway_exit = stack.gateway.terminate()
    if stack.sealed_segments():  # the next process would find and confirm them
        stack.gateway.start()
        stack.wait_until_ready()
        _wait_until_shipped(stack, diary, started)
        stack.gateway.terminate()


def _wait_until_shipped(stack: Stack, diary: Diary, started: float) -> None:
    while stack.sealed_segments() and time.monotonic() - started < _DRAIN_S:
        _watch_backlog(stack, diary, 0.2)


def _collect(stack: Stack, load: Load, diary: Diary) -> verdict.Evidence:
    import django

    django.setup()
    diary.segments = evidence.loaded_segments()
    return evidence.collect(stack, seen=load.seen, kills=diary.gateway_kills, calm_from=diary.calm_from)


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
        ("  with segments in its hands", f"{diary.kills_with_messages} times"),
        ("ClickHouse hung, then gone", f"{seconds / 2:.0f} s and {seconds / 2:.0f} s"),
        ("Redis hung, then emptied", f"{seconds / 6:.0f} s and {seconds / 6:.0f} s"),
        ("PostgreSQL gone", f"{seconds / 6:.0f} s"),
        ("worker ended by itself and restarted", f"{diary.worker_restarts} times"),
        ("  segments waiting at most", str(diary.most_sealed)),
        ("segments loaded", str(diary.segments)),
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
    parser.add_argument("--sync-ms", type=int, default=50, help="the gateway's fdatasync interval, 0 awaits each")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which processes die")
    parser.add_argument("--port", type=int, default=8140, help="of the gateway; upstream and Redis take the next ones")
    parser.add_argument("--postgres", default="postgresql://postgres@127.0.0.1:5432/postgres")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
