"""What a call is estimated to use and cost before it goes out."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import estimation, settlement
from gateway.catalog import loader
from gateway.catalog.prices import PriceBook
from gateway.context import ChatCall
from gateway.dialects import chat_body
from gateway.providers.protocol import Usage


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> PriceBook:
    return loader.load(tmp_path_factory.mktemp("prices"))[1]


def call(content: Any = "hi", **body: Any) -> ChatCall:
    asked = {"model": "gpt-5.4", "messages": [{"role": "user", "content": content}], **body}
    return chat_body.parse_chat(orjson.dumps(asked), {}, is_test=False)


def test_the_prompt_is_a_third_of_its_bytes() -> None:
    prompt = call("word " * 3000)
    assert estimation.input_tokens(prompt) == len(prompt.raw) // 3 + 1


def test_a_picture_counts_as_a_picture_and_not_as_its_base64() -> None:
    picture = base64.b64encode(b"\0" * 900_000).decode()
    seen = call(
        [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/" + "x" * 600}},
        ]
    )
    assert 2 * estimation.TOKENS_A_PICTURE < estimation.input_tokens(seen) < 2 * estimation.TOKENS_A_PICTURE + 500


@pytest.mark.parametrize(
    ("body", "most", "expected"),
    [
        ({}, None, 4096),
        ({}, 2048, 2048),
        ({"max_tokens": 100}, 2048, 100),
        ({"max_completion_tokens": 100, "max_tokens": 7}, None, 100),
        ({"max_tokens": 100, "n": 3}, None, 300),
        ({"max_tokens": 10**12}, 128_000, 128_000),
        ({"max_tokens": 10**12}, None, 10_000_000),
        ({"max_tokens": -5}, None, 4096),
        ({"max_tokens": 10, "n": -5}, None, 10),
    ],
)
def test_the_answer_is_as_long_as_the_call_allows(body: dict[str, Any], most: int | None, expected: int) -> None:
    assert estimation.output_tokens(call(**body), most) == expected
    asked = call(**body)
    unread = ChatCall(raw=asked.raw, requested_model="x")
    assert estimation.output_tokens(unread, most) == expected


def test_an_unpriced_model_is_never_free_and_dearer_than_every_priced_one(book: PriceBook) -> None:
    ceiling = estimation.reservation(1000, 1000, None)
    assert ceiling > 0
    for row in book.rows:
        assert estimation.reservation(1000, 1000, row) <= ceiling or row.per_million_requests


@given(input_tokens=st.integers(0, 10**6), output_tokens=st.integers(0, 10**5), share=st.floats(0, 1))
def test_what_stays_within_the_estimate_costs_no_more_than_the_reservation(
    book: PriceBook, input_tokens: int, output_tokens: int, share: float
) -> None:
    for model in ("openai/gpt-4o-mini", "anthropic/claude-haiku-5-5", "openai/gpt-6.1-sol"):
        row = book.row(model, 1.795e9)
        assert row is not None
        used = Usage(
            input_tokens=input_tokens, cached_read_tokens=int(input_tokens * share), output_tokens=output_tokens
        )
        cost = settlement.settle(used, row).provider_cost_nanousd
        assert cost <= estimation.reservation(input_tokens, output_tokens, row) + 1


def test_nothing_said_and_nothing_known_is_no_estimate() -> None:
    assert estimation.used(call(), 0, None) is None


@given(prompt=st.text(max_size=400), said=st.integers(1, 10**6))
def test_what_was_used_is_read_lower_than_what_was_reserved(prompt: str, said: int) -> None:
    asked = call(prompt)
    used = estimation.used(asked, said, None)
    assert used is not None
    assert 1 <= used.input_tokens <= estimation.input_tokens(asked)
    assert used.output_tokens * 4 >= said > (used.output_tokens - 1) * 4
    assert not used.is_reported


@given(
    reported=st.integers(0, 10**5),
    reasoning=st.integers(0, 10**4),
    cached=st.integers(0, 900),
    said=st.integers(0, 10**5),
)
def test_what_a_provider_reported_by_then_is_never_taken_back(
    reported: int, reasoning: int, cached: int, said: int
) -> None:
    known = Usage(input_tokens=1000, cached_read_tokens=cached, output_tokens=reported, reasoning_tokens=reasoning)
    used = estimation.used(call(), said, known)
    assert used is not None
    assert (used.input_tokens, used.cached_read_tokens, used.reasoning_tokens) == (1000, cached, reasoning)
    assert used.output_tokens >= max(reported, -(-said // 4))
