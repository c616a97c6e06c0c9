"""What is asked of every target: the 1 KB body, the loads, and how one load is run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gateway import processes

MODEL = "gpt-4o-mini"
CHUNKS = 64
PACE_US = 5000
_SYSTEM = "You review incidents of a web shop."
_USER = (
    "On Tuesday at 14:05 the checkout began to answer slowly. The median went from 80 ms to 310 ms and the slowest "
    "percent from 400 ms to 4.2 s, at the same rate of orders. Release 4.12 went out at 13:50; its notes name a new "
    "audit table and a change of how tax is rounded. The database shows four transactions older than a minute, "
    "the hit ratio of the cache fell from 96 to 71 percent, and one of three application nodes spends twice as much "
    "time in garbage collection as the others. The nodes were restarted once and the feature flags are as they were on "
    "Monday. Name the likely causes, the most likely one first; for each of them say by which single query or command "
    "it can be told apart from the others, and which smallest change is safe to ship today. The reader is on call and "
    "does not know this service; use fewer than two hundred words and no headings."
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load. `rate` 0 is a closed loop; `pace_us` is the provider's pause before each piece of an answer."""

    name: str
    title: str
    connections: int
    is_stream: bool = False
    rate: int = 0
    pace_us: int = 0

    def body(self) -> bytes:
        """Return the request's body, about 1 KB."""
        marker = f" (pace: {self.pace_us} us)" if self.pace_us else ""
        body: dict[str, Any] = {
            "model": MODEL,
            "messages": [{"role": "system", "content": _SYSTEM + marker}, {"role": "user", "content": _USER}],
            "temperature": 0.2,
            "max_tokens": 256,
        }
        if self.is_stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(body, separators=(",", ":")).encode()


SCENARIOS = (
    Scenario("whole-1", "not streamed, 1 connection", 1),
    Scenario("whole-16", "not streamed, 16 connections", 16),
    Scenario("whole-64", "not streamed, 64 connections", 64),
    Scenario("whole-128", "not streamed, 128 connections", 128),
    Scenario("stream-64", f"streams of {CHUNKS} chunks, 64 connections", 64, is_stream=True),
    Scenario("paced-8", f"8 streams, a chunk each {PACE_US // 1000} ms", 8, is_stream=True, pace_us=PACE_US),
    Scenario("rate-25", "not streamed, 25 requests/s (open loop)", 64, rate=25),
)


def run(
    scenario: Scenario,
    *,
    loadgen: str,
    directory: Path,
    port: int,
    headers: Sequence[str],
    expected: Sequence[str],
    core: int,
    seconds: float,
    warmup_s: float,
) -> dict[str, Any]:
    """Run one load against a port of this machine and return the load generator's figures.

    Raises:
        processes.Unusable: the load generator failed; answers that are wrong are counted instead.
    """
    body = directory / f"{scenario.name}.json"
    body.write_bytes(scenario.body())
    command = [loadgen, "-p", str(port), "-b", str(body), "-c", str(scenario.connections)]
    command += ["-d", str(seconds), "-w", str(warmup_s)]
    command += [part for header in headers for part in ("-H", header)]
    command += [part for text in expected for part in ("-e", text)]
    if scenario.is_stream:
        command += ["-s", str(CHUNKS)]
    if scenario.rate:
        command += ["-r", str(scenario.rate)]
    done = subprocess.run(processes.bound(command, core), capture_output=True, text=True)
    if done.returncode:
        raise processes.Unusable(f"The load generator failed: {done.stderr.strip()}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
