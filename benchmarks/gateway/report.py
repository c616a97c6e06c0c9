"""From the raw runs to one Markdown table: medians, ratios to nginx of the same round, targets with their verdicts."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

Run = Mapping[str, Any]  # one line of the raw file: a target under a scenario in a round
Read = Callable[[Run], float | None]

OURS, AWAITED, DIRECT, NGINX = "gateway", "gateway awaited", "direct", "nginx"
BUSY_OTHERS_CORES = 0.1
_NONE = "-"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound that our gateway has to keep under one scenario. `is_ratio` compares it with nginx."""

    scenario: str
    text: str
    read: Read
    bound: float
    is_floor: bool = False
    is_ratio: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.is_floor else value <= self.bound


def rps(run: Run) -> float | None:
    return float(run["rps"])


def cpu_us(run: Run) -> float | None:
    return None if run["cpu_us"] is None else float(run["cpu_us"])


def p50_ms(run: Run) -> float | None:
    return _ms(run, "total_us", "p50")


def p99_ms(run: Run) -> float | None:
    return _ms(run, "total_us", "p99")


def transit_p50_ms(run: Run) -> float | None:
    return _ms(run, "transit_us", "p50") if run["is_stream"] else None


def transit_p99_ms(run: Run) -> float | None:
    return _ms(run, "transit_us", "p99") if run["is_stream"] else None


def chunks(run: Run) -> float | None:
    return float(run["chunks_per_s"]) if run["is_stream"] else None


def rss_mib(run: Run) -> float | None:
    return None if run["rss_mib"] is None else float(run["rss_mib"])


def errors(run: Run) -> int:
    """Return how many calls failed, got a wrong answer, or left no record, or more than one."""
    failed: int = sum(run["errors"].values())
    unrecorded: int = abs(run["missing_records"]) + run["records_twice"]
    return failed + unrecorded


GOALS = (
    Goal("whole-64", "≥ 10,000 rps", rps, 10_000, is_floor=True),
    Goal("whole-64", "≤ 100 µs", cpu_us, 100),
    Goal("whole-64", "≥ 0.2 of nginx", rps, 0.2, is_floor=True, is_ratio=True),
    Goal("stream-64", "≥ 2,000/s", rps, 2_000, is_floor=True),
    Goal("stream-64", "≤ 450 µs", cpu_us, 450),
    Goal("paced-8", "transit p99 < 1 ms", transit_p99_ms, 1.0),
)
ADDED_MS = 1.0  # at p50 of the open loop
RSS_MIB = 150.0


class Results:
    """All runs of one benchmark."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._by_place: dict[tuple[str, str], list[Run]] = {}
        for run in runs:
            self._by_place.setdefault((run["scenario"], run["target"]), []).append(run)

    def places(self) -> Iterable[tuple[str, str]]:
        return self._by_place

    def runs(self, scenario: str, target: str) -> list[Run]:
        return self._by_place.get((scenario, target), [])

    def middle(self, scenario: str, target: str, read: Read) -> float | None:
        """Return the median over the rounds."""
        return _middle(read(run) for run in self.runs(scenario, target))

    def ratio(self, scenario: str, target: str, read: Read) -> float | None:
        """Return the median over the rounds of this target's figure divided by nginx's of the same round."""
        return _middle(
            mine / base if mine is not None and base else None
            for mine, base in self._pairs(scenario, target, NGINX, read)
        )

    def added(self, scenario: str, target: str, read: Read) -> float | None:
        """Return the median over the rounds of what this target's figure is above the direct call's."""
        return _middle(
            mine - base if mine is not None and base is not None else None
            for mine, base in self._pairs(scenario, target, DIRECT, read)
        )

    def _pairs(self, scenario: str, target: str, other: str, read: Read) -> Iterable[tuple[float | None, float | None]]:
        base = {run["round"]: read(run) for run in self.runs(scenario, other)}
        for run in self.runs(scenario, target):
            yield read(run), base.get(run["round"])

    def verdicts(self, scenario: str, target: str) -> list[tuple[str, bool]]:
        """Return every target that applies here, in words, and whether it is met."""
        if target not in {OURS, AWAITED}:
            return []
        found = []
        for goal in GOALS:
            value = (self.ratio if goal.is_ratio else self.middle)(scenario, target, goal.read)
            if goal.scenario == scenario and value is not None:
                found.append((goal.text, goal.is_met(value)))
        added = self.added(scenario, target, p50_ms)
        if scenario == "rate-25" and added is not None:
            found.append(("added p50 < 1 ms", added < ADDED_MS))
        memory = self.middle(scenario, target, rss_mib)
        if memory is not None:
            found.append(("RSS < 150 MiB", memory < RSS_MIB))
        found.append(("no errors", not sum(map(errors, self.runs(scenario, target)))))
        return found


def is_met(runs: Sequence[Run]) -> bool:
    """Return whether our gateway, as it is configured by default, keeps every bound, and no run has an error."""
    results = Results(runs)
    kept = all(
        met for scenario, target in results.places() if target == OURS for _, met in results.verdicts(scenario, target)
    )
    return kept and not sum(map(errors, runs))


def table(runs: Sequence[Run]) -> str:
    """Return the Markdown table; a figure in brackets is the ratio to nginx in the same round."""
    results = Results(runs)
    lines = [
        "| load | target | requests/s | CPU µs a request | p50 ms | p99 ms | added p50 / p99 ms | chunks/s "
        "| chunk transit p50 / p99 ms | RSS MiB | errors | goals |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for scenario, target in results.places():
        read = _Row(results, scenario, target)
        wrong = sum(map(errors, results.runs(scenario, target)))
        goals = "; ".join(
            f"{text} {'**met**' if met else '**MISSED**'}" for text, met in results.verdicts(scenario, target)
        )
        cells = [
            results.runs(scenario, target)[0]["title"],
            target,
            read.cell(rps, ",.0f"),
            read.cell(cpu_us, ",.1f"),
            read.cell(p50_ms, ".2f"),
            read.cell(p99_ms, ".2f"),
            read.added(),
            read.cell(chunks, ",.0f"),
            f"{read.cell(transit_p50_ms, '.3f')} / {read.cell(transit_p99_ms, '.3f')}",
            read.cell(rss_mib, ",.0f"),
            f"{wrong:,}",
            goals or _NONE,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


class _Row:
    def __init__(self, results: Results, scenario: str, target: str) -> None:
        self._results, self._scenario, self._target = results, scenario, target

    def cell(self, read: Read, form: str) -> str:
        value = self._results.middle(self._scenario, self._target, read)
        if value is None:
            return _NONE
        if self._target in {NGINX, DIRECT}:
            return f"{value:{form}}"
        ratio = self._results.ratio(self._scenario, self._target, read)
        return f"{value:{form}} ({'no nginx' if ratio is None else f'{ratio:.2f}'})"

    def added(self) -> str:
        if self._target == DIRECT:
            return _NONE
        values = [self._results.added(self._scenario, self._target, read) for read in (p50_ms, p99_ms)]
        return " / ".join(_NONE if value is None else f"{value:+.2f}" for value in values)


def preface(*, python: str, cores: tuple[int, int], seconds: float, rounds: int, spool_directory: Path) -> str:
    """Return what the figures depend on: machine, versions, where the spool lies."""
    return "\n".join(
        [
            f"Machine: {_processor()}, {os.cpu_count()} processors, Linux {platform.release()}; "
            f"gateway on processor {cores[0]}, provider and load generator on processor {cores[1]}.",
            f"{_interpreter(python)}, uvicorn {version('uvicorn')}, uvloop {version('uvloop')}; "
            "full profile, one process (`manage.py serve gateway`), pinned model, every feature on, body of 1 KB.",
            f"Spool on {_filesystem(spool_directory)}. `{OURS}`: fdatasync each 50 ms; `{AWAITED}`: fdatasync before "
            "each answer ends (KAIROS_SPOOL_SYNC_INTERVAL_MS=0).",
            f"{rounds} rounds of {seconds:g} s, targets interleaved, medians; in brackets the ratio to nginx in the "
            "same round.",
        ]
    )


def warnings(runs: Sequence[Run]) -> list[str]:
    """Return what makes the figures doubtful."""
    found = []
    others = [run["others_cores"] for run in runs]
    if others and max(others) > BUSY_OTHERS_CORES:
        found.append(
            f"Other processes used up to {max(others):.2f} processors during a run (median {median(others):.2f}): "
            "throughput and latency are understated; CPU per request holds better."
        )
    stolen = max((run["stolen_cores"] for run in runs), default=0.0)
    if stolen > 0.02:
        found.append(f"The host took up to {stolen:.2f} processors away from this virtual machine.")
    first = next((run["first_error"] for run in runs if run["first_error"]), "")
    if first:
        found.append(f"The first thing that went wrong: {first}")
    lost = [run for run in runs if run["missing_records"] or run["records_twice"]]
    if lost:
        found.append(f"RECORDS DO NOT MATCH ANSWERS in {len(lost)} runs; see missing_records in the raw file.")
    return found


def _ms(run: Run, what: str, quantile: str) -> float | None:
    value = run[what].get(quantile)
    return None if value is None else float(value) / 1000


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _interpreter(python: str) -> str:
    """Return version and build of an interpreter: one built without profile-guided optimization is a third slower."""
    program = (
        "import platform, sysconfig; options = sysconfig.get_config_var('CONFIG_ARGS') or '';"
        "print(platform.python_version(), '--enable-optimizations' in options, '--with-lto' in options)"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    number, is_profiled, is_linked = done.stdout.split()
    with_or_without = {"True": "with", "False": "without"}
    return f"Python {number} built {with_or_without[is_profiled]} PGO, {with_or_without[is_linked]} LTO"


def _filesystem(path: Path) -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True)
    return done.stdout.strip() or "an unknown file system"
