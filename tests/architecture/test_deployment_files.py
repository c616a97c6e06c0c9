"""What `deploy/` starts exists: every command, module, setting, file and port."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from config.celery import app
from config.management.commands import serve
from tests.architecture.test_documentation import ROOT, settings_read

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "kairosroute"}
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def check_command(words: list[str]) -> None:
    """Assert that a command line runs something that is there."""
    program = Path(words[0]).name
    if program == "sh":
        for part in words[2].split("&&"):
            check_command(shlex.split(part))
    elif program == "python":
        assert words[1] == "manage.py"
        assert words[2] in get_commands()
        if words[2] == "serve":
            assert words[3] in serve._APPLICATIONS
    elif program == "celery":
        assert words[1:4][:2] == ["-A", "config.celery"]
        assert words[3] in {"worker", "beat", "inspect"}
        if "--queues" in words:
            queues = set(words[words.index("--queues") + 1].split(","))
            routed = {route["queue"] for route in app.conf.task_routes.values()}
            assert queues == routed | {app.conf.task_default_queue}
    else:
        raise AssertionError(f"unknown program {program}")


def test_the_full_profile_has_every_process_and_store() -> None:
    assert set(OURS) == {"migrate", "gateway", "web", "worker", "beat"}
    assert set(COMPOSE["services"]) - set(OURS) == {"postgres", "redis", "clickhouse"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    check_command(OURS[name]["command"])


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_service_is_given_settings_that_are_read(name: str) -> None:
    names = set(OURS[name]["environment"])

    assert {found for found in names if not found.startswith("KAIROS_PROVIDER_")} <= settings_read()
    assert OURS[name]["environment"]["KAIROS_PROFILE"] == "full"


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_service_mounts_volumes_that_are_declared(name: str) -> None:
    volumes = [volume.split(":")[0] for volume in COMPOSE["services"][name].get("volumes", [])]

    assert set(volumes) <= set(COMPOSE["volumes"])


def test_a_long_running_service_waits_for_the_tables_and_has_a_health_check() -> None:
    for name in set(OURS) - {"migrate"}:
        assert OURS[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    for name in ("postgres", "redis", "clickhouse"):
        assert COMPOSE["services"][name]["healthcheck"]["test"]


def test_services_have_ports_of_their_own_on_the_loopback_interface() -> None:
    taken: set[int] = set()
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", []):
            address, published, _ = port.split(":")
            assert address == "127.0.0.1", name
            first, _, last = published.partition("-")
            wanted = set(range(int(first), int(last or first) + 1))
            assert not wanted & taken, name
            taken |= wanted


def test_no_secret_has_a_default() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")

    for secret in ("POSTGRES_PASSWORD", "CLICKHOUSE_PASSWORD", "KAIROS_SECRET_KEY"):
        assert re.search(rf"\${{{secret}:\?", text)
        assert not re.search(rf"\${{{secret}:-", text)


def test_the_image_copies_what_the_product_is_made_of_and_runs_as_nobody_special() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line]

    assert {"accounts", "analytics", "billing", "config", "gateway", "static", "templates"} <= set(copied)
    assert all(
        (ROOT / source).exists()
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    )
    assert lines.index("USER kairos") < next(i for i, line in enumerate(lines) if line.startswith("CMD"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_that_exists_with_settings_that_are_read(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    check_command(shlex.split(command))
    names = {
        name for line in re.findall(r"^Environment=(.+)$", text, re.MULTILINE) for name in re.findall(r"(\w+)=", line)
    }

    assert names - {"PYTHONUNBUFFERED"} <= settings_read()


def test_the_makefiles_targets_are_there() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))

    assert {"up", "demo", "test", "test-full", "check", "lock", "clean", "conformance"} <= targets
    for command in re.findall(r"manage\.py ([a-z_]+)", text):
        assert command in get_commands()
