"""The real product in a process of its own, between clients and an upstream that nobody here wrote."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from llmock.testing import LLMockServer
from openai import OpenAI

ROOT = Path(__file__).resolve().parents[2]
MANAGE = (sys.executable, "manage.py")
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


@dataclass(frozen=True)
class Gateway:
    """A running KairosRoute. The live key reaches llmock, the test key the simulator."""

    url: str
    live_key: str
    test_key: str
    log: Path

    def speaking(self, protocol: str, client: str) -> tuple[str, str]:
        """Return a key and a model for a protocol that the provider behind us speaks; all answer as the prompt asks.

        Each client has a model of its own: where one drives it into its limit, the next does not find it waiting.
        """
        return {
            "openai_chat": (self.test_key, "openai/gpt-5.4-mini"),
            "anthropic_messages": (self.live_key, f"lookalike-claude/claude-sonnet-4-6-{client}"),
            "gemini": (self.live_key, f"lookalike-gemini/gemini-2.5-flash-{client}"),
        }[protocol]

    def client(self, *, key: str | None = None, max_retries: int = 0) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=key or self.live_key, max_retries=max_retries, timeout=20)

    def get(self, path: str, *, key: str | None = None) -> Any:
        request = urllib.request.Request(self.url + path, headers={"authorization": f"Bearer {key or self.live_key}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def receipt(self, receipt_id: str, *, key: str | None = None) -> Any:
        """Return a call's receipt, as soon as it can be had."""
        deadline = time.monotonic() + 15
        while True:
            try:
                return self.get(f"/v1/receipts/{receipt_id}", key=key)
            except urllib.error.HTTPError as error:
                if error.code != 404 or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.conformance)
            # These processes run on the embedded profile whatever the suite runs on: once is enough.
            if os.environ.get("KAIROS_PROFILE") == "full":
                item.add_marker(pytest.mark.skip(reason="runs with the embedded profile's suite"))


@pytest.fixture(scope="session")
def lookalike() -> Iterator[str]:
    """The simulator as a provider of its own, at a URL, in Anthropic's and Gemini's protocols."""
    from gateway.catalog import loader
    from gateway.management.simulator_server import SimulatorServer

    app = SimulatorServer(models=(model.upstream for model in loader.load_catalog()), scale=0)
    port = _free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="critical", access_log=False, lifespan="off", loop="asyncio")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def gateway(llmock_server: LLMockServer, lookalike: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = {}
    for name, provider in (("OPENAI", "openai"), ("ANTHROPIC", "anthropic"), ("GOOGLE", "gemini")):
        settings[f"KAIROS_PROVIDER_{name}_BASE_URL"] = llmock_server.base_url(provider)
        settings[f"KAIROS_PROVIDER_{name}_API_KEY"] = "upstream-canary-7f3a91"
    for name, provider, protocol in (
        ("OPENAI", "openai", "openai_chat"),
        ("CLAUDE", "anthropic", "anthropic_messages"),
        ("GEMINI", "gemini", "gemini"),
    ):
        settings[f"KAIROS_PROVIDER_MOCKED_{name}_BASE_URL"] = llmock_server.base_url(provider)
        settings[f"KAIROS_PROVIDER_MOCKED_{name}_PROTOCOL"] = protocol
    for name, protocol in (("CLAUDE", "anthropic_messages"), ("GEMINI", "gemini")):
        settings[f"KAIROS_PROVIDER_LOOKALIKE_{name}_BASE_URL"] = lookalike
        settings[f"KAIROS_PROVIDER_LOOKALIKE_{name}_PROTOCOL"] = protocol
    with serving(tmp_path_factory.mktemp("gateway"), settings) as running:
        yield running


@contextmanager
def serving(state: Path, settings: dict[str, str]) -> Iterator[Gateway]:
    """Run the product with these settings in a process of its own."""
    port = _free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(state),
        "PYTHONPATH": str(ROOT),
        "KAIROS_DATA_DIR": str(state / "var"),
        "KAIROS_LOG_FORMAT": "json",
        "KAIROS_SIMULATION_PACE_PERCENT": "0",
        "KAIROS_UPSTREAM_IDLE_TIMEOUT_S": "1",
        "KAIROS_UPSTREAM_FIRST_BYTE_TIMEOUT_S": "2",
        "PORT": str(port),
        **settings,
    }
    log = state / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*MANAGE, "up", "--demo", "none"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}", server, log)
            first = json.loads(
                subprocess.run(
                    [*MANAGE, "bootstrap", "--organization", "Acme", "--email", "alice@acme.test", "--json"],
                    cwd=ROOT,
                    env=environment,
                    capture_output=True,
                    check=True,
                    text=True,
                ).stdout
            )
            yield Gateway(f"http://127.0.0.1:{port}", first["live_api_key"], first["test_api_key"], log)
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()
                raise


@pytest.fixture
def client(gateway: Gateway) -> OpenAI:
    return gateway.client()


@pytest.fixture
def simulator(gateway: Gateway) -> OpenAI:
    """A client whose key reaches only the simulator."""
    return gateway.client(key=gateway.test_key)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"The server did not come up:\n{log.read_text(errors='replace')[-4000:]}")
