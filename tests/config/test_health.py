"""Liveness, readiness and metrics as an orchestrator sees them."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from config import health
from gateway.health.board import Board
from gateway.metrics import Metrics
from tests.config.asgi_client import Answer, call

pytestmark = pytest.mark.django_db(transaction=True)


class Process:
    """`Health` behind an ASGI call, with a data plane that has started or not."""

    def __init__(self, spool_dir: Path, *, has_data_plane: bool = True, is_started: bool = True) -> None:
        self.metrics = Metrics()
        self.health = health.Health(spool_dir=spool_dir, has_data_plane=has_data_plane)
        self.data_plane = (
            SimpleNamespace(
                state=SimpleNamespace(
                    metrics=self.metrics,
                    providers=SimpleNamespace(health=Board()),
                    admission=SimpleNamespace(meters=list),
                )
            )
            if is_started
            else None
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.health.answer(scope, receive, send, data_plane=self.data_plane)

    async def readyz(self) -> tuple[int, dict[str, Any]]:
        answer = await call(self, "/readyz")
        return answer.status, json.loads(answer.body)


async def test_healthz_answers_while_the_database_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_probe_database", lambda: "OperationalError")

    answer = await call(Process(tmp_path), "/healthz")

    assert (answer.status, json.loads(answer.body)) == (200, {"status": "alive"})


async def test_readyz_is_ready_when_the_spool_can_be_written_and_the_database_answers(tmp_path: Path) -> None:
    status, report = await Process(tmp_path).readyz()

    assert (status, report["status"], report["checks"]["database"]) == (200, "ready", "ok")
    assert report["checks"]["spool"]["writable"] is True


async def test_readyz_reports_the_backlog(tmp_path: Path) -> None:
    (tmp_path / "a-00000001.sealed").write_bytes(b"x" * 10)
    (tmp_path / "a-00000002.sealed").write_bytes(b"x" * 5)
    (tmp_path / "a-00000003.open").write_bytes(b"x" * 7)

    _, report = await Process(tmp_path).readyz()

    assert report["checks"]["spool"]["backlog_segments"] == 2
    assert report["checks"]["spool"]["backlog_bytes"] == 15


async def test_readyz_is_degraded_but_served_when_the_database_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_probe_database", lambda: OperationalError.__name__)

    status, report = await Process(tmp_path).readyz()

    assert (status, report["status"]) == (200, "degraded")


async def test_a_process_of_pages_is_unready_without_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_probe_database", lambda: OperationalError.__name__)

    status, _ = await Process(tmp_path, has_data_plane=False).readyz()

    assert status == 503


async def test_a_database_that_hangs_is_reported_within_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    probes: list[int] = []

    def hang() -> str:
        probes.append(1)
        release.wait(10)
        return "ok"

    monkeypatch.setattr(health, "_probe_database", hang)
    monkeypatch.setattr(health, "DATABASE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(health, "CACHE_S", 0.0)
    process = Process(tmp_path)
    try:
        reports = [(await process.readyz())[1] for _ in range(3)]
    finally:
        release.set()

    assert {report["checks"]["database"] for report in reports} == {"no answer"}
    assert len(probes) == 1


async def test_readyz_is_unready_without_a_spool(tmp_path: Path) -> None:
    status, report = await Process(tmp_path / "missing").readyz()

    assert (status, report["status"]) == (503, "unready")


async def test_readyz_is_unready_when_the_disk_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MIN_FREE_BYTES", 1 << 62)

    status, _ = await Process(tmp_path).readyz()

    assert status == 503


async def test_readyz_is_unready_until_the_data_plane_has_started(tmp_path: Path) -> None:
    status, _ = await Process(tmp_path, is_started=False).readyz()

    assert status == 503


async def test_metrics_carry_the_counters_of_the_data_plane_and_the_spool(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.metrics.observe(200, "openai/gpt-5.4", "openai", 812_000, 80)
    (tmp_path / "a-00000001.sealed").write_bytes(b"x" * 10)

    answer: Answer = await call(process, "/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    assert 'kairosroute_requests_total{status="2xx",model="openai/gpt-5.4",provider="openai"} 1' in lines
    assert "kairosroute_spool_backlog_segments 1" in lines


@pytest.mark.parametrize("path", sorted(health.PATHS))
async def test_another_method_is_refused_with_the_one_that_works(tmp_path: Path, path: str) -> None:
    answer = await call(Process(tmp_path), path, method="POST")

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_a_segment_that_is_deleted_while_we_look_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "gone.sealed").symlink_to(tmp_path / "nowhere")

    spool = await asyncio.to_thread(health.look, tmp_path)

    assert (spool.is_writable, spool.backlog_segments) == (True, 0)
