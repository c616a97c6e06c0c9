"""What is measured: the provider itself, nginx in front of it, and our gateway as production runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.gateway import processes, scenarios
from benchmarks.gateway.processes import Program, Unusable

ANSWER_TEXT = "Three causes fit these figures."  # of upstream.c
_NGINX_PLACES = ("/usr/sbin/nginx", "/usr/local/sbin/nginx")
_NGINX = """\
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; client_body_buffer_size 64k;
  client_body_temp_path {directory}/nginx-body; proxy_temp_path {directory}/nginx-proxy;
  fastcgi_temp_path {directory}/nginx-a; uwsgi_temp_path {directory}/nginx-b; scgi_temp_path {directory}/nginx-c;
  upstream provider {{ server 127.0.0.1:{upstream_port}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that answers the calls. `whole` and `stream` are texts that must stand in every answer."""

    name: str
    port: int
    program: Program | None
    headers: Sequence[str] = ()
    whole: Sequence[str] = (ANSWER_TEXT, '"usage":{')
    stream: Sequence[str] = ('"usage":{',)
    keeps_records: bool = False


def upstream(path: str, stack: ExitStack, *, port: int, core: int, directory: Path, max_seconds: int) -> Program:
    """Return the mock provider, started; the stack ends it."""
    program = Program("upstream", [path, str(port), str(max_seconds)], core, directory / "upstream.log")
    stack.callback(program.stop)
    program.start(lambda: _listens(port))
    return program


def nginx(stack: ExitStack, *, port: int, upstream_port: int, core: int, directory: Path) -> Target | None:
    """Return nginx as a plain reverse proxy, started; None where it is not installed."""
    path = shutil.which("nginx") or next((place for place in _NGINX_PLACES if os.access(place, os.X_OK)), None)
    if path is None:
        return None
    configuration = directory / "nginx.conf"
    configuration.write_text(_NGINX.format(directory=directory, port=port, upstream_port=upstream_port))
    command = [path, "-p", str(directory), "-c", str(configuration)]
    program = Program("nginx", command, core, directory / "nginx.log")
    stack.callback(program.stop)
    program.start(lambda: _listens(port))
    return Target("nginx", port, program)


def gateway_environment(
    *, directory: Path, database_url: str, redis_url: str, port: int, upstream_port: int
) -> dict[str, str]:
    """Return the environment of a full profile whose OPENAI is the mock provider; nothing else of ours leaks in."""
    ours = ("KAIROS_", "CLICKHOUSE_", "DATABASE_", "REDIS_", "DJANGO_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "KAIROS_PROFILE": "full",
        "KAIROS_SECRET_KEY": "for-the-benchmark-only",
        "KAIROS_DATA_DIR": str(directory),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CLICKHOUSE_URL": "http://127.0.0.1:1/unused",  # the data plane never asks ClickHouse
        "PORT": str(port),
        "KAIROS_PROVIDER_OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
        "KAIROS_PROVIDER_OPENAI_API_KEY": "upstream-key",
    }


def prepare_database(environment: Mapping[str, str]) -> str:
    """Make the tables, an organization and its keys; return the live key."""
    _manage(environment, "migrate", "--verbosity=0")
    first = _manage(environment, "bootstrap", "--organization=Benchmark", "--email=bench@acme.test", "--json")
    return str(json.loads(first.splitlines()[-1])["live_api_key"])


def add_limits(environment: Mapping[str, str]) -> None:
    """Put the benchmark's calls under limits that none of them reaches: three budgets, requests and tokens a minute."""
    _manage(environment, "shell", "--verbosity=0", "-c", _LIMITS)


_LIMITS = """
from django.utils import timezone
from accounts import audit
from accounts.models import Organization
from gateway import limits
from gateway.limits import Terms, Whom
for organization in Organization.objects.all():
    for scope, kind, amount in (
        ("organization", "budget", 10**15),
        ("workspace", "budget", 10**15),
        ("api_key", "budget", 10**15),
        ("organization", "requests", 10**9),
        ("api_key", "tokens", 10**12),
    ):
        limits.create(
            organization=organization,
            whom=Whom(scope),
            terms=Terms("", kind, amount, alert_percents=(80, 100)),
            created_by=None,
            actor=audit.SYSTEM,
            now=timezone.now(),
        )
"""


def gateway(
    name: str,
    stack: ExitStack,
    *,
    python: str,
    environment: Mapping[str, str],
    key: str,
    sync_ms: int,
    core: int,
    directory: Path,
) -> Target:
    """Return our gateway, started, its first answer checked by a JSON parser."""
    port = int(environment["PORT"])
    program = Program(
        name,
        [python, "manage.py", "serve", "gateway"],
        core,
        directory / f"gateway-{port}.log",
        {**environment, "KAIROS_SPOOL_SYNC_INTERVAL_MS": str(sync_ms)},
    )
    stack.callback(program.stop)
    program.start(processes.answers(f"http://127.0.0.1:{port}/healthz"))
    cost = _check_one_answer(port, key)
    texts = ('"x_kairosroute":{', '"receipt_id":"rcpt_', cost)
    return Target(
        name,
        port,
        program,
        headers=(f"Authorization: Bearer {key}",),
        whole=(ANSWER_TEXT, '"usage":{', *texts),
        stream=('"usage":{', *texts),
        keeps_records=True,
    )


def _check_one_answer(port: int, key: str) -> str:
    """Make one call and return how its cost is written; every later answer must hold the same text."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=scenarios.SCENARIOS[0].body(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read().decode()
    except urllib.error.HTTPError as error:
        raise Unusable(f"The gateway answers {error.code}: {error.read()[:500]!r}") from error
    answer = json.loads(text)
    written = re.search(r'"cost":[-+.\deE]+', text)
    if not answer["usage"]["cost"] > 0 or written is None or answer["x_kairosroute"]["provider"] != "openai":
        raise Unusable(f"The gateway's first answer is not what it should be: {text[:1000]}")
    return written[0]


def _manage(environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=processes.ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Unusable(f"manage.py {arguments[0]} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def require_free(port: int) -> None:
    """Raise Unusable where another program listens on the port."""
    if _listens(port):
        raise Unusable(f"Port {port} is taken. Name the first of four free ones: --port {port + 100}")


def _listens(port: int) -> bool:
    """Return whether a TCP port of loopback is being listened on, without connecting to it."""
    wanted = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(fields[1] == wanted and fields[3] == "0A" for fields in map(str.split, lines))


def database_named(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()
