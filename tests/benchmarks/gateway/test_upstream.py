"""The mock provider answers as OpenAI does, so that a gateway has all its work with it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks.gateway import processes, scenarios, targets
from benchmarks.gateway.scenarios import CHUNKS, Scenario

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc)")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("programs")
    with socket.create_server(("127.0.0.1", 0)) as found:
        number = int(found.getsockname()[1])
    path = processes.compile_programs(directory)["upstream"]
    with ExitStack() as stack:
        core = min(os.sched_getaffinity(0))
        targets.upstream(path, stack, port=number, core=core, directory=directory, max_seconds=60)
        yield number


def ask(port: int, scenario: Scenario) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", data=scenario.body())
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: bytes = response.read()
    return answer


def test_it_answers_with_a_whole_completion(port: int) -> None:
    answer = json.loads(ask(port, Scenario("whole", "", 1)))

    assert answer["choices"][0]["message"]["content"].partition(" ")[2].startswith(targets.ANSWER_TEXT)
    assert answer["usage"]["total_tokens"] == 283


def test_it_streams_every_chunk_and_the_usage(port: int) -> None:
    events = ask(port, Scenario("stream", "", 1, is_stream=True)).decode().split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]

    assert events[-2:] == ["data: [DONE]", ""]
    assert sum("content" in choice["delta"] for chunk in chunks for choice in chunk["choices"]) == CHUNKS
    assert [choice["finish_reason"] for chunk in chunks[-2:] for choice in chunk["choices"]] == ["stop"]
    assert chunks[-1]["usage"]["completion_tokens"] == 64


def test_it_keeps_the_pace_that_a_message_asks_for(port: int) -> None:
    answer = ask(port, Scenario("paced", "", 1, is_stream=True, pace_us=1000)).decode()
    stamps = [int(part[:18]) for part in answer.split("~")[1:]]

    assert len(stamps) == CHUNKS
    assert all(later - earlier >= 1_000_000 for earlier, later in itertools.pairwise(stamps))


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_body_is_about_one_kilobyte(scenario: Scenario) -> None:
    assert 950 <= len(scenario.body()) <= 1150
