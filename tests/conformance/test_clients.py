"""Every foreign client understands what we send, whatever protocol the provider behind us speaks."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.catalog import CLIENTS, Client
from tests.conformance.conftest import Gateway

# Asked of the catalog's models only.
UNPRICED = {"cost", "models", "embeddings"}


def _is_text(found: Any) -> None:
    assert found["text"].strip()
    assert found.get("input_tokens", 1) > 0
    assert found.get("output_tokens", 1) > 0


def _is_stream(found: Any) -> None:
    _is_text(found)
    assert found["pieces"] > 1, "it came in one piece"


def _has_usage(found: Any) -> None:
    assert found["input_tokens"] > 0
    assert found["output_tokens"] > 0


def _calls(*expected: tuple[str, dict[str, Any]]) -> Callable[[Any], None]:
    def check(found: Any) -> None:
        assert [(call["name"], call["arguments"]) for call in found] == list(expected)
        ids = [call["id"] for call in found]
        assert all(ids)
        assert len(set(ids)) == len(ids)

    return check


def _is_person(found: Any) -> None:
    assert set(found) == {"name", "age"}
    assert isinstance(found["name"], str)
    assert isinstance(found["age"], int)


def _is_cost(found: Any) -> None:
    assert found > 0


def _lists_models(found: Any) -> None:
    assert "openai/gpt-5.4-mini" in found


def _has_vectors(found: Any) -> None:
    assert len(found["sizes"]) == 2
    assert min(found["sizes"]) == max(found["sizes"]) > 1
    assert found["input_tokens"] > 0


def _is_there(found: Any) -> None:
    assert found is not None


def _is_marked(found: Any) -> None:
    assert found["finish"] == "error"
    assert "ended before the answer was complete" in found["message"]


_PARIS = ("get_weather", {"city": "Paris"})
_ROME = ("get_weather", {"city": "Rome"})
_EXPECTED: dict[str, Callable[[Any], None]] = {
    "plain": _is_text,
    "completed": _is_text,
    "command_line": _is_text,
    "stream": _is_stream,
    "streamed_usage": _has_usage,
    "tool": _calls(_PARIS),
    "streamed_tool": _calls(_PARIS),
    "parallel_tools": _calls(_PARIS, _ROME),
    "streamed_parallel_tools": _calls(_PARIS, _ROME),
    "tool_without_arguments": _calls(("list_cities", {})),
    "streamed_tool_without_arguments": _calls(("list_cities", {})),
    "structured": _is_person,
    "structured_by_schema": _is_person,
    "streamed_structured": _is_person,
    "responses": _is_text,
    "streamed_responses": _is_stream,
    "responses_structured": _is_person,
    "responses_tools": _calls(_PARIS, _ROME),
    "messages": _is_text,
    "completion": _is_text,
    "counted": _has_usage,
    "embeddings": _has_vectors,
    "generation": _has_usage,
    "credits_used": _is_there,
    "current_key": _is_there,
    "cost": _is_cost,
    "models": _lists_models,
    "cut_stream_is_marked": _is_marked,
}


def _problems(client: Client, found: dict[str, Any], *, is_priced: bool) -> list[str]:
    problems = []
    for name in client.checks:
        if name in UNPRICED and not is_priced:
            continue
        value = found.get(name)
        if isinstance(value, dict) and "raised" in value:
            problems.append(f"{name}: the client raised {value['raised']} at {value['where'][-4:]}")
            continue
        try:
            _EXPECTED[name](value)
        except (AssertionError, TypeError, KeyError, AttributeError) as error:
            problems.append(f"{name}: {value!r:.600} ({type(error).__name__}: {error!s:.200})")
    for name, expected in client.errors.items():
        if found[name].get("type") != expected:
            problems.append(f"{name}: raised {found[name]!r:.400}, not {expected}")
    return problems


@pytest.mark.parametrize(
    ("client", "upstream"),
    [
        pytest.param(
            client,
            upstream,
            id=f"{client}-{upstream}",
            marks=pytest.mark.skipif(bool(client.missing), reason=client.missing),
        )
        for client in CLIENTS
        for upstream in client.upstreams
    ],
)
def test_the_client_understands_us(gateway: Gateway, client: Client, upstream: str) -> None:
    key, model = gateway.speaking(upstream, client.name)
    run = subprocess.run(
        [*client.command, gateway.url, key, model],
        capture_output=True,
        text=True,
        timeout=100,
        env={"PATH": os.environ["PATH"], "HOME": str(gateway.log.parent)},
    )
    assert run.returncode == 0, run.stderr[-3000:]

    problems = _problems(client, json.loads(run.stdout.splitlines()[-1]), is_priced=upstream == "openai_chat")

    assert problems == []
