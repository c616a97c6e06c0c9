"""An upstream that fails the way providers fail, and its own verdict on how we took it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from llmock.pytest_plugin import LLMock
from openai import OpenAI

from tests.conformance.conftest import Gateway
from tests.conformance.test_openai_python import HELLO, MODELS

TEXT = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen."


# Where a program that is told of the failure does not ask again, that is `gave_up`, and its own choice.
ACCEPTED_WARNINGS = {"gave_up"}


@pytest.fixture(autouse=True)
def verdict(llmock: LLMock) -> Iterator[None]:
    """Hold every scenario against the upstream's own verdict on us."""
    yield
    llmock.assert_resilient()
    assert {found.code for found in llmock.verdict().warnings} <= ACCEPTED_WARNINGS


def read(client: OpenAI, model: str) -> tuple[str, Exception | None, Any]:
    """Stream one answer; return its text, what the SDK raised, and the receipt's id."""
    text, receipt_id = "", None
    try:
        raw = client.chat.completions.with_streaming_response.create(model=model, messages=HELLO, stream=True)
        with raw as answer:
            receipt_id = answer.headers["x-kairosroute-receipt-id"]
            for chunk in answer.parse():
                text += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        body: Any = error.body
        return text, error, receipt_id or body["metadata"]["receipt_id"]
    return text, None, receipt_id


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fault", ["truncate", "disconnect", "corrupt", "stall"])
def test_a_broken_stream_ends_in_an_error_and_never_as_success(
    gateway: Gateway, client: OpenAI, llmock: LLMock, model: str, fault: str
) -> None:
    llmock.reply(TEXT, times=None)
    if fault == "stall":
        llmock.stall(after_chunks=6, seconds=4)
    else:
        getattr(llmock, fault)(after_chunks=6)

    started = time.monotonic()
    text, error, receipt_id = read(client, model)

    assert error is not None
    assert text != TEXT
    if (
        fault == "corrupt"
    ):  # what the provider sent after the unreadable chunk goes out; that it is not all is said then
        remaining = iter(TEXT.split())
        assert all(word in remaining for word in text.split())
    else:
        assert TEXT.startswith(text)
    assert time.monotonic() - started < 3.8
    receipt = gateway.receipt(receipt_id)
    assert receipt["error_class"] in {"UpstreamCut", "UpstreamError", "UpstreamGarbage", "UpstreamTimeout"}
    assert receipt["state"] == "settled"

    # A client that obeys the error asks again and gets everything.
    assert read(client, model)[:2] == (TEXT, None)
    llmock.assert_resilient()


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_that_breaks_before_its_first_token_is_an_ordinary_error(
    client: OpenAI, llmock: LLMock, model: str
) -> None:
    llmock.truncate(after_chunks=0)

    with pytest.raises(openai.InternalServerError) as caught:
        list(client.chat.completions.create(model=model, messages=HELLO, stream=True))

    assert caught.value.status_code == 502
    assert read(client, model)[1] is None  # a client that obeys the error asks again


# Models that no other test calls: the gateway remembers what a provider asked for.
@pytest.mark.parametrize("model", ["openai/gpt-5.4-nano", "anthropic/claude-opus-4-8", "google/gemini-2.5-flash-lite"])
def test_the_wait_that_a_provider_asks_for_reaches_the_client_and_is_kept(
    client: OpenAI, llmock: LLMock, model: str
) -> None:
    llmock.rate_limit(retry_after=7)

    for _ in range(3):
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model=model, messages=HELLO)
        assert float(caught.value.response.headers["retry-after"]) == pytest.approx(7, abs=1)

    assert len(llmock.requests) == 1  # the provider is not asked again before its time
    llmock.assert_resilient()


@pytest.mark.parametrize("model", MODELS)
def test_an_outage_makes_no_retry_storm(gateway: Gateway, llmock: LLMock, model: str) -> None:
    llmock.outage()

    with pytest.raises(openai.InternalServerError):
        gateway.client(max_retries=2).chat.completions.create(model=model, messages=HELLO)

    assert 1 <= len(llmock.requests) <= 3
    llmock.assert_resilient()


@pytest.mark.parametrize("model", MODELS)
def test_a_prompt_that_is_too_long_is_the_clients_error_and_is_not_retried(
    gateway: Gateway, llmock: LLMock, model: str
) -> None:
    llmock.context_overflow(times=None)

    with pytest.raises(openai.BadRequestError):
        gateway.client(max_retries=2).chat.completions.create(model=model, messages=HELLO)

    assert len(llmock.requests) == 1
    llmock.assert_resilient(strict=True)


@pytest.mark.parametrize("model", MODELS)
def test_a_provider_that_says_nothing_is_a_timeout(client: OpenAI, llmock: LLMock, model: str) -> None:
    llmock.delay(5)
    started = time.monotonic()

    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model=model, messages=HELLO)

    assert caught.value.status_code == 504
    assert time.monotonic() - started < 4.5


@pytest.mark.parametrize("provider", ["mocked-openai", "mocked-claude", "mocked-gemini"])
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529])
def test_every_refusal_is_told_and_not_repeated_in_vain(
    gateway: Gateway, llmock: LLMock, provider: str, status: int, is_stream: bool
) -> None:
    # A model for each scenario: the gateway leaves one alone that failed just now.
    model = f"{provider}/m-{status}-{is_stream}"
    llmock.fail(status, times=None)

    with pytest.raises(openai.APIStatusError) as caught:
        gateway.client(max_retries=2).chat.completions.create(model=model, messages=HELLO, stream=is_stream)

    body: Any = caught.value.body
    assert body["metadata"]["request_id"].startswith("req_")
    assert 1 <= len(llmock.requests) <= 3
    if 400 <= status < 500 and status not in {408, 429}:
        assert len(llmock.requests) == 1


@pytest.mark.parametrize("model", MODELS)
def test_a_slow_first_token_is_waited_for(client: OpenAI, llmock: LLMock, model: str) -> None:
    llmock.reply(TEXT).slow_first_token(0.8)

    assert read(client, model)[:2] == (TEXT, None)


@pytest.mark.parametrize("model", MODELS)
def test_a_client_that_leaves_ends_the_upstream_call(
    gateway: Gateway, client: OpenAI, llmock: LLMock, model: str
) -> None:
    llmock.reply(TEXT).pace(200)
    with client.chat.completions.with_streaming_response.create(model=model, messages=HELLO, stream=True) as answer:
        receipt_id = answer.headers["x-kairosroute-receipt-id"]
        next(iter(answer.parse()))

    receipt = gateway.receipt(receipt_id)
    assert receipt["state"] == "settled"
    assert receipt["timing_ms"]["total"] < 2500


def test_no_log_line_holds_a_key_or_a_prompt(gateway: Gateway, client: OpenAI, llmock: LLMock) -> None:
    llmock.fail(500, message="upstream-canary-7f3a91")
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=MODELS[0], messages=[{"role": "user", "content": "prompt-canary-51bd"}])

    log = gateway.log.read_text(errors="replace")
    for secret in ("upstream-canary", "prompt-canary", gateway.live_key, gateway.test_key):
        assert secret not in log
