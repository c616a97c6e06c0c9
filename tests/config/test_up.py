"""`manage.py up` as a person meets it: it starts from nothing, serves, refuses a twin, and ends in order."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60

pytestmark = pytest.mark.skipif(
    os.environ.get("KAIROS_PROFILE") == "full", reason="`up` is the embedded profile's; it is tested with that"
)


@dataclass
class Running:
    """A started `up`, and what it has printed."""

    process: subprocess.Popen[bytes]
    port: int
    environment: dict[str, str]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def key(self) -> str:
        found = re.search(r"kr_test_\w+", self.output)
        assert found, self.output
        return found[0]

    def stop(self) -> float:
        """Send SIGTERM and return the seconds until the end."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - started


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(state: Path, port: int, *arguments: str, **settings: str) -> Running:
    environment = {
        "PATH": os.environ["PATH"],
        "KAIROS_DATA_DIR": str(state),
        "KAIROS_LOG_FORMAT": "json",
        "PORT": str(port),
        "PYTHONUNBUFFERED": "1",
        **settings,
    }
    log = state.with_name(f"{state.name}-{port}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", *(arguments or ("--demo", "none"))],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Running(process, port, environment, log)


def wait_until_served(running: Running) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while "KairosRoute serves on" not in running.output or "Base URL" not in running.output:
        assert running.process.poll() is None, running.output
        assert time.monotonic() < deadline, running.output
        time.sleep(0.05)


def post(running: Running, body: dict[str, object], key: str) -> urllib.request.Request:
    return urllib.request.Request(
        f"{running.url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key}"},
    )


HELLO: list[dict[str, str]] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up")


@pytest.fixture(scope="module")
def running(state: Path) -> Iterator[Running]:
    found = start(state, free_port())
    try:
        wait_until_served(found)
        yield found
    finally:
        if found.process.poll() is None:
            found.stop()


def test_the_key_that_it_prints_works_now(running: Running) -> None:
    with urllib.request.urlopen(
        post(running, {"model": "auto", "messages": HELLO}, running.key()), timeout=10
    ) as answer:
        body = json.load(answer)

    assert body["choices"][0]["message"]["content"]
    assert body["x_kairosroute"]["is_simulated"] is True


def test_the_link_that_it_prints_leads_to_a_sign_in(running: Running) -> None:
    (link,) = re.findall(r"http://\S+/accounts/link/\S+", running.output)

    with urllib.request.urlopen(link, timeout=10) as answer:
        assert answer.status == 200
        assert "onboarding" in answer.url or "/o/" in answer.url or "/accounts/" in answer.url


def test_it_is_ready_and_counts(running: Running) -> None:
    with urllib.request.urlopen(f"{running.url}/readyz", timeout=5) as answer:
        assert json.load(answer)["status"] == "ready"
    with urllib.request.urlopen(post(running, {"model": "auto", "messages": HELLO}, running.key()), timeout=10):
        pass
    with urllib.request.urlopen(f"{running.url}/metrics", timeout=5) as answer:
        text = answer.read().decode()

    assert re.search(r'^kairosroute_requests_total\{status="2xx",.*\} [1-9]', text, re.MULTILINE)


def test_bootstrap_works_beside_it(running: Running) -> None:
    run = subprocess.run(
        [sys.executable, "manage.py", "bootstrap", "--organization", "Acme", "--email", "alice@acme.test", "--json"],
        cwd=ROOT,
        env=running.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    key = json.loads(run.stdout)["api_key"]

    with urllib.request.urlopen(post(running, {"model": "auto", "messages": HELLO}, key), timeout=10) as answer:
        assert answer.status == 200


def test_a_second_one_on_the_same_state_is_refused(running: Running, state: Path) -> None:
    twin = start(state, free_port())

    assert twin.process.wait(DEADLINE_S) == 1
    assert f"process {running.process.pid}" in twin.output
    assert "KAIROS_DATA_DIR" in twin.output


def test_a_taken_port_is_said_before_anything_is_prepared(running: Running, tmp_path: Path) -> None:
    other = start(tmp_path / "other", running.port)

    assert other.process.wait(DEADLINE_S) == 1
    assert f"make up PORT={running.port + 1}" in other.output
    assert not (tmp_path / "other" / "control.sqlite3").exists()


def test_a_broken_provider_setting_stops_the_start_and_names_itself(tmp_path: Path) -> None:
    found = start(tmp_path, free_port(), KAIROS_PROVIDER_OPENAI_BASE_URL="not-an-address")

    assert found.process.wait(DEADLINE_S) == 1
    assert "KAIROS_PROVIDER_OPENAI_BASE_URL" in found.output
    assert "Traceback" not in found.output


def test_the_full_profile_is_told_where_to_look(tmp_path: Path) -> None:
    found = start(
        tmp_path,
        free_port(),
        KAIROS_PROFILE="full",
        KAIROS_SECRET_KEY="x" * 50,
        DATABASE_URL="postgresql://nobody@127.0.0.1:1/none",
        REDIS_URL="redis://127.0.0.1:1/0",
        CLICKHOUSE_URL="http://127.0.0.1:1/none",
    )

    assert found.process.wait(DEADLINE_S) == 1
    assert "deploy/compose.yaml" in found.output


def test_sigterm_lets_a_stream_end_seals_the_spool_and_the_next_start_is_quick(tmp_path: Path) -> None:
    found = start(tmp_path, free_port())
    wait_until_served(found)
    body: dict[str, object] = {"model": "anthropic/claude-haiku-4-5", "messages": HELLO, "stream": True}
    with urllib.request.urlopen(post(found, body, found.key()), timeout=30) as stream:
        first = stream.read1(64)
        took: list[float] = []
        stopping = threading.Thread(target=lambda: took.append(found.stop()))
        stopping.start()
        rest = stream.read()
    stopping.join()

    assert first.startswith(b"data: ")
    assert rest.endswith(b"data: [DONE]\n\n")
    assert found.process.returncode == 0
    assert took[0] < 30
    assert list((tmp_path / "spool").glob("*.open")) == []

    started = time.monotonic()
    again = start(tmp_path, free_port())
    wait_until_served(again)
    assert time.monotonic() - started < 20
    assert "shown at the first start" in again.output
    again.stop()


def test_a_wrong_setting_is_one_line_not_a_traceback(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env={**os.environ, "PORT": "eighty", "KAIROS_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert answer.returncode == 1
    assert answer.stderr == "A setting is wrong: PORT must be a whole number; it is 'eighty'.\n"
