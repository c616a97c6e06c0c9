"""The reference pages say what the code does: every setting, every error, every field, every link."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics.request_log import COLUMNS
from gateway import errors

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGES = ("config", "gateway", "billing", "analytics", "accounts")
READERS = {"text", "integer", "flag", "with_prefix"}
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def settings_read() -> set[str]:
    """Return every name that the code reads through `config.env`."""
    found: set[str] = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and (node.func.value.id, node.func.attr in READERS) == ("env", True)
                and node.args
            ):
                assert isinstance(node.args[0], ast.Constant), f"{path}: write a setting's name out where it is read"
                found.add(str(node.args[0].value))
    return found


def documented(page: str) -> set[str]:
    """Return every name in back quotes in the first column of the page's tables."""
    text = (DOCS / "reference" / page).read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_setting_that_the_code_reads_is_documented() -> None:
    names = documented("configuration.md")
    read = settings_read() - {"KAIROS_PROVIDER_"}

    assert len(read) > 30
    assert read - names == set()


def test_every_documented_setting_is_read() -> None:
    of_make = {"PYTHON", "PYTEST_ARGS"}
    of_providers = {name for name in documented("configuration.md") if name.startswith("KAIROS_PROVIDER_<NAME>_")}

    assert len(of_providers) == 3
    assert documented("configuration.md") - settings_read() - of_make - of_providers == set()


def test_the_example_environment_names_real_settings() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    names = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    of_compose = {"POSTGRES_PASSWORD", "CLICKHOUSE_PASSWORD"}

    assert {name for name in names - of_compose if not name.startswith("KAIROS_PROVIDER_")} <= settings_read()


def error_classes(root: type[errors.GatewayError] = errors.GatewayError) -> Iterator[type[errors.GatewayError]]:
    for found in root.__subclasses__():
        if found.__module__ == errors.__name__:
            yield found
            yield from error_classes(found)


def test_every_error_is_documented_as_it_is() -> None:
    rows: dict[str, list[str]] = {}
    for line in (DOCS / "reference" / "errors.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
            rows[cells[0]] = cells[1:5]
    # UpstreamFailed is the root of its branch and never raised itself.
    expected = {
        error.__name__: [str(error.status), error.type, str(error.default_code), error.error_type]
        for error in error_classes()
        if error is not errors.UpstreamFailed
    }

    assert rows == expected


def test_every_field_of_the_record_is_documented_in_order() -> None:
    text = (DOCS / "reference" / "record.md").read_text(encoding="utf-8")

    assert tuple(re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.MULTILINE)) == COLUMNS


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    # A picture that is not taken yet is the one exception.
    targets = [target for target in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]

    assert [target for target in targets if not (page.parent / target).exists() and not target.endswith(".png")] == []


def test_decisions_have_numbers_of_their_own_and_the_four_parts() -> None:
    records = sorted((DOCS / "decisions").glob("*.md"))
    numbers = [record.name[:4] for record in records]

    assert len(numbers) == len(set(numbers))
    for record in records:
        text = record.read_text(encoding="utf-8").lower()
        assert re.match(r"\d{4}-[a-z0-9-]+\.md", record.name)
        assert all(part in text for part in ("context", "decision", "consequences", "alternatives")), record.name
