from __future__ import annotations

from typing import Any

from benchmarks.gateway import report


def make_run(target: str = "gateway", *, scenario: str = "whole-64", number: int = 1, **given: Any) -> dict[str, Any]:
    has_process = target != "direct"
    return {
        "round": number,
        "target": target,
        "scenario": scenario,
        "title": scenario,
        "is_stream": scenario.startswith(("stream", "paced")),
        "rps": 12_000.0,
        "chunks_per_s": 0.0,
        "cpu_us": 80.0 if has_process else None,
        "rss_mib": 100.0 if has_process else None,
        "total_us": {"p50": 5000.0, "p99": 9000.0},
        "transit_us": {"p50": 100.0, "p99": 500.0},
        "errors": {"status": 0, "content": 0},
        "missing_records": 0,
        "records_twice": 0,
        "first_error": "",
        "others_cores": 0.0,
        "stolen_cores": 0.0,
    } | given


def test_a_run_that_keeps_every_bound_is_met() -> None:
    runs = [make_run("nginx", rps=40_000.0, cpu_us=20.0), make_run()]

    assert report.is_met(runs)
    assert "MISSED" not in report.table(runs)
    assert "12,000 (0.30)" in report.table(runs)


def test_a_gateway_below_a_fifth_of_nginx_misses() -> None:
    runs = [make_run("nginx", rps=70_000.0), make_run()]

    assert not report.is_met(runs)
    assert "≥ 0.2 of nginx **MISSED**" in report.table(runs)


def test_ratios_are_taken_within_a_round() -> None:
    runs = [
        make_run("nginx", number=1, rps=10_000.0),
        make_run(number=1, rps=5_000.0),
        make_run("nginx", number=2, rps=40_000.0),
        make_run(number=2, rps=20_000.0),
        make_run("nginx", number=3, rps=1_000.0),
        make_run(number=3, rps=500.0),
    ]

    assert report.Results(runs).ratio("whole-64", "gateway", report.rps) == 0.5


def test_added_latency_is_what_is_above_the_direct_call() -> None:
    runs = [
        make_run("direct", scenario="rate-25", total_us={"p50": 200.0, "p99": 900.0}),
        make_run(scenario="rate-25", total_us={"p50": 1300.0, "p99": 2900.0}),
    ]

    assert "| +1.10 / +2.00 |" in report.table(runs)
    assert "added p50 < 1 ms **MISSED**" in report.table(runs)


def test_a_lost_record_is_an_error_though_every_answer_was_right() -> None:
    runs = [make_run(missing_records=1)]

    assert report.errors(runs[0]) == 1
    assert not report.is_met(runs)
    assert any("RECORDS DO NOT MATCH" in warning for warning in report.warnings(runs))


def test_the_awaited_gateway_is_reported_and_does_not_decide() -> None:
    runs = [make_run(), make_run("gateway awaited", rps=3_000.0)]

    assert report.is_met(runs)
    assert "MISSED" in report.table(runs)


def test_without_nginx_the_table_says_so() -> None:
    assert "(no nginx)" in report.table([make_run()])


def test_busy_neighbours_are_named() -> None:
    assert any("Other processes" in warning for warning in report.warnings([make_run(others_cores=0.5)]))
    assert report.warnings([make_run(others_cores=0.05)]) == []
