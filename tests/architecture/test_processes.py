"""What a process of each kind loads: the data plane stays small, and nothing opens a store by being imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a gateway process must never pay for: engines, numerics, SDKs, the price library.
HEAVY = (
    "chdb",
    "numpy",
    "scipy",
    "pandas",
    "clickhouse_connect",
    "genai_prices",
    "openai",
    "anthropic",
    "google.genai",
)

_REPORT = """
import asyncio, json, sys
from config import asgi
application = getattr(asgi, sys.argv[1])
async def live():
    await application.startup()
    with open("/proc/self/status") as status:
        rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    print(json.dumps({"modules": sorted(sys.modules), "rss_kib": rss}))
    await application.shutdown()
asyncio.run(live())
"""


def report(name: str, state: Path) -> tuple[set[str], int]:
    """Start and stop an application in a process of its own; return its modules and its resident memory in MiB."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "KAIROS_DATA_DIR": str(state),
        "KAIROS_LOG_LEVEL": "WARNING",
    }
    migrated = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env=environment, capture_output=True
    )
    assert migrated.returncode == 0, migrated.stderr.decode()
    run = subprocess.run(
        [sys.executable, "-c", _REPORT, name], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    return set(found["modules"]), found["rss_kib"] // 1024


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], int]:
    return report("data_plane", tmp_path_factory.mktemp("gateway"))


@pytest.mark.parametrize("name", HEAVY)
def test_a_gateway_process_does_not_load(gateway: tuple[set[str], int], name: str) -> None:
    modules, _ = gateway

    assert name not in modules


def test_a_gateway_process_does_not_build_pages(gateway: tuple[set[str], int]) -> None:
    modules, _ = gateway

    assert "config.urls" not in modules


def test_a_gateway_process_stays_below_150_mib(gateway: tuple[set[str], int]) -> None:
    _, mib = gateway

    assert mib < 150


def test_a_process_of_pages_does_not_load_the_data_plane(tmp_path: Path) -> None:
    modules, _ = report("control_plane", tmp_path)

    assert "gateway.asgi" not in modules
    assert "chdb" not in modules
