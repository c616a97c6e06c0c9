"""OpenAI's Node client against us. `make conformance` installs it; without it these tests say so and are skipped."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import Gateway
from tests.conformance.test_openai_python import GPT

HERE = Path(__file__).parent / "node"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (HERE / "node_modules" / "openai").is_dir(), reason="the Node client is not installed: make conformance"
    ),
]


@pytest.fixture(scope="module")
def seen(gateway: Gateway) -> dict[str, Any]:
    """What the client understood of the simulator's answers."""
    run = subprocess.run(
        ["node", "drive.mjs", f"{gateway.url}/v1", gateway.test_key, GPT],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_a_completion_is_understood(seen: dict[str, Any]) -> None:
    assert seen["whole"]["content"]
    assert seen["whole"]["finish"] == "stop"
    assert seen["whole"]["usage"]["total_tokens"] > 0
    assert seen["whole"]["receipt"] == seen["whole"]["receiptHeader"]


def test_a_stream_is_read_to_its_usage(seen: dict[str, Any]) -> None:
    assert seen["stream"]["text"]
    assert seen["stream"]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("name", ["tool", "streamedTool"])
def test_a_tool_call_is_understood(seen: dict[str, Any], name: str) -> None:
    (call,) = seen[name]
    assert call["function"]["name"] == "get_weather"
    assert "city" in json.loads(call["function"]["arguments"])


def test_structured_output_keeps_to_its_schema(seen: dict[str, Any]) -> None:
    assert set(seen["person"]) == {"name", "age"}


def test_models_are_listed(seen: dict[str, Any]) -> None:
    assert GPT in seen["models"]


def test_errors_are_typed_and_carry_the_request_id(seen: dict[str, Any]) -> None:
    assert (seen["unknownModel"]["type"], seen["unknownModel"]["code"]) == ("NotFoundError", "model_not_found")
    assert seen["badBody"]["type"] == "BadRequestError"
    assert seen["badBody"]["requestId"].startswith("req_")
