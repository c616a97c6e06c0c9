"""LangChain's own standard tests of a chat model, run by the pytest of its environment against us."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conformance.catalog import HERE, INSTALLED, is_installed
from tests.conformance.conftest import Gateway

# The rest needs a model that knows what was asked (JSON mode without a schema), pictures from the internet, PDF and
# audio, Anthropic's own message parts, recorded cassettes.
RUNNABLE, SKIPPED = 42, 8


# LangChain's suite lives in an environment of its own; `make conformance` installs it.
@pytest.mark.skipif(
    not is_installed("langchain"), reason="langchain-tests in its pinned version: make conformance installs it"
)
@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages", "gemini"])
def test_its_standard_tests_pass(gateway: Gateway, tmp_path: Path, upstream: str) -> None:
    key, model = gateway.speaking(upstream, "langchain")
    report = tmp_path / "report.xml"
    run = subprocess.run(
        [
            str(INSTALLED / "langchain" / "bin" / "python"),
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", "-c", os.devnull, f"--junitxml={report}"),
            *("-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session"),
            *("-o", "asyncio_default_fixture_loop_scope=session"),
            str(HERE / "clients" / "langchain_suite.py"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "KAIROSROUTE_URL": gateway.url,
            "KAIROSROUTE_KEY": key,
            "KAIROSROUTE_MODEL": model,
        },
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-1000:]
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    assert (int(suite.attrib["tests"]) - int(suite.attrib["skipped"]), int(suite.attrib["skipped"])) == (
        RUNNABLE,
        SKIPPED,
    )
