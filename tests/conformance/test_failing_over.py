"""Two upstreams that nobody here wrote serve one model, and one of them fails the way providers fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer
from openai import OpenAI

from tests.conformance.conftest import serving
from tests.conformance.test_openai_python import HELLO

# Two endpoints of one model in the plan's order: the cheaper first.
MODEL = "gpt-oss-120b"
TEXT = "One two three four five six seven eight nine ten."


@pytest.fixture(scope="module")
def second_server() -> Iterator[LLMockServer]:
    with LLMockServer() as server:
        yield server


@pytest.fixture
def second(second_server: LLMockServer) -> LLMock:
    return LLMock(second_server).reset()


@pytest.fixture(scope="module")
def client(
    llmock_server: LLMockServer, second_server: LLMockServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenAI]:
    """A client of a gateway that reaches both."""
    settings = {
        "KAIROS_PROVIDER_GROQ_BASE_URL": llmock_server.base_url("openai"),
        "KAIROS_PROVIDER_GROQ_API_KEY": "upstream-canary-7f3a91",
        "KAIROS_PROVIDER_CEREBRAS_BASE_URL": second_server.base_url("openai"),
        "KAIROS_PROVIDER_CEREBRAS_API_KEY": "upstream-canary-7f3a91",
    }
    with serving(tmp_path_factory.mktemp("pair"), settings) as running:
        yield running.client()


FAULTS: dict[str, Callable[[LLMock], object]] = {
    "outage": lambda mock: mock.outage(),
    "a limit with its wait": lambda mock: mock.rate_limit(times=None, retry_after=30),
    "a brown-out": lambda mock: mock.slow_first_token(4, times=None),
    "a stall before the first token": lambda mock: mock.stall(after_chunks=0, seconds=4, times=None),
    "a cut before the first token": lambda mock: mock.truncate(after_chunks=0, times=None),
    "a disconnect before the first token": lambda mock: mock.disconnect(after_chunks=0, times=None),
    "nonsense": lambda mock: mock.corrupt(after_chunks=0, times=None),
}


def ask(client: OpenAI) -> tuple[str, str]:
    """Stream one answer; return its text and who gave it."""
    raw = client.chat.completions.with_streaming_response.create(model=MODEL, messages=HELLO, stream=True)
    with raw as answer:
        provider = answer.headers["x-kairosroute-provider"]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer.parse())
    return text, provider


def test_an_endpoint_that_is_down_is_left_alone_and_taken_back(client: OpenAI, llmock: LLMock, second: LLMock) -> None:
    llmock.outage()  # a 503 that asks to wait for a second
    second.reply(TEXT, times=None)
    assert {ask(client) for _ in range(12)} == {(TEXT, "cerebras")}
    assert 1 <= len(llmock.requests) <= 3
    llmock.assert_resilient()
    llmock.reset().reply(TEXT, times=None)
    deadline = time.monotonic() + 20
    while ask(client) != (TEXT, "groq"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    llmock.assert_resilient()


def test_whatever_fails_at_one_the_other_answers_and_no_fault_is_mishandled(
    client: OpenAI, llmock: LLMock, second: LLMock, subtests: pytest.Subtests
) -> None:
    second.reply(TEXT, times=None)
    for name, fault in FAULTS.items():
        with subtests.test(name):
            llmock.reset()
            second.reset().reply(TEXT, times=None)
            fault(llmock)
            assert ask(client) == (TEXT, "cerebras")
            assert len(llmock.requests) <= 1  # none, where the breaker or an earlier wait leaves it out
            llmock.assert_resilient()
            second.assert_resilient(strict=True)
