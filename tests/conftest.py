"""What holds for every test: state in a directory of its own, no socket off this machine, stores only where marked."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

pytest_plugins = ("tests.stores",)


def pytest_configure(config: pytest.Config) -> None:
    """Move all state to a temporary directory; each xdist worker has its own, because chDB has one owner."""
    state = Path(tempfile.mkdtemp(prefix=f"kairosroute-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-"))
    config.add_cleanup(lambda: shutil.rmtree(state, ignore_errors=True))
    settings.DATA_DIR = state
    settings.SPOOL_DIR = state / "spool"
    if settings.CLICKHOUSE_IS_EMBEDDED:
        settings.CLICKHOUSE_DSN = f"chdb://{state / 'clickhouse'}"
    test_database = settings.DATABASES["default"].setdefault("TEST", {})
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        test_database["NAME"] = str(state / "control.sqlite3")


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to connect anywhere but to this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_local(address[0]):
            raise AssertionError(f"A test tried to reach {address[0]}.")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _no_log_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse the log store to a test that is not marked `clickhouse`."""
    if request.node.get_closest_marker("clickhouse") is None:
        from analytics.clickhouse import client

        def refuse(*_: Any) -> None:
            raise AssertionError("Mark the test with @pytest.mark.clickhouse to use the log store.")

        monkeypatch.setattr(client._Connection, "open", refuse)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
