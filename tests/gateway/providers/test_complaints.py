"""Errors under status 200 are found wherever a provider puts them, and numbered ones mean what their list says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import UpstreamGarbage
from gateway.providers import failures
from gateway.providers.openai_chat import ADAPTER, complaints
from tests.fixtures.providers import endpoint


@pytest.mark.parametrize(
    ("provider", "answer", "error_class"),
    [
        (
            "minimax",
            {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "limit"}},
            "UpstreamRateLimited",
        ),
        ("minimax", {"base_resp": {"status_code": 1001, "status_msg": "too late"}}, "UpstreamTimeout"),
        ("minimax", {"base_resp": {"status_code": 1008, "status_msg": "no money"}}, "UpstreamError"),
        ("minimax", {"base_resp": {"status_code": 2013, "status_msg": "bad input"}}, "UpstreamRejected"),
        ("minimax", {"base_resp": {"status_code": 1013, "status_msg": "broken"}}, "UpstreamError"),
        ("z-ai", {"error": {"code": "1302", "message": "too many at once"}}, "UpstreamRateLimited"),
        ("z-ai", {"error": {"code": "1305", "message": "overloaded"}}, "UpstreamOverloaded"),
        ("z-ai", {"error": {"code": "1214", "message": "bad input"}}, "UpstreamRejected"),
        ("mistralai", {"object": "error", "message": "full", "code": "3505"}, "UpstreamRateLimited"),
        ("vllm", {"object": "error", "message": "died", "type": "InternalServerError", "code": 500}, "UpstreamError"),
        ("vllm", {"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}, "UpstreamRejected"),
        ("x-ai", {"code": "The service is currently unavailable", "error": "later"}, "UpstreamOverloaded"),
        ("groq", {"choices": [], "x_groq": {"id": "1", "error": "over_capacity"}}, "UpstreamOverloaded"),
        ("openai", {"error": {"message": "had an error", "type": "server_error"}}, "UpstreamError"),
        ("openai", {"error": "a bare text"}, "UpstreamError"),
    ],
)
def test_it_is_found_and_classified(provider: str, answer: dict[str, Any], error_class: str) -> None:
    at = endpoint("openai_chat", provider=provider, upstream_model="m")
    found = complaints.found(answer, provider=provider)
    assert found is not None
    assert failures.in_stream(found, endpoint=at).error_class == error_class
    reader = ADAPTER.stream(endpoint=at, chunk_id="gen_1", created=1)
    list(reader.feed(b"data: " + orjson.dumps(answer) + b"\n\n"))
    assert reader.error is not None
    assert reader.error.error_class == error_class
    with pytest.raises(UpstreamGarbage):
        ADAPTER.completion(orjson.dumps({**answer, "choices": []}), endpoint=at)


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": []},
        {"error": None},
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {"base_resp": None},
        {"x_groq": {"id": "1"}},
        {"x_groq": None},
        {"object": "chat.completion.chunk"},
    ],
)
def test_what_is_no_error_is_none(answer: dict[str, Any]) -> None:
    assert complaints.found(answer, provider="minimax") is None
