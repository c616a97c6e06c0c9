"""The page about conformance says what is driven, and what is driven is pinned."""

from __future__ import annotations

import re

import pytest

from tests.conformance import page
from tests.conformance.catalog import CLIENTS, ENVIRONMENTS, HERE
from tests.conformance.test_langchain import RUNNABLE


def test_the_page_shows_the_clients_that_are_driven() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.written(text) == text, "python -m tests.conformance.page writes it"
    assert f"{RUNNABLE} of its {RUNNABLE}" in text


@pytest.mark.parametrize("path", sorted(ENVIRONMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_requirement_is_pinned_by_hash(path: object) -> None:
    text = (ENVIRONMENTS / f"{path.stem}.txt").read_text(encoding="utf-8")  # type: ignore[attr-defined]
    requirements = re.findall(r"^\S.*(?:\n[ \t]+.*)*", text, re.MULTILINE)
    assert requirements
    assert all("==" in requirement and "--hash=sha256:" in requirement for requirement in requirements)
    assert "http" not in re.sub(r"http[\w-]*==", "", text)


def test_every_environment_has_its_driver_and_its_pins() -> None:
    own = {client.name for client in CLIENTS if client.runtime == "own"} | {"langchain"}
    assert {path.stem for path in ENVIRONMENTS.glob("*.in")} == own
    assert {path.stem for path in ENVIRONMENTS.glob("*.txt")} == own
    for client in CLIENTS:
        folder, ending = ("node", "mjs") if client.runtime == "node" else ("clients", "py")
        assert (HERE / folder / f"drive_{client.name.removesuffix('_node')}.{ending}").exists()
