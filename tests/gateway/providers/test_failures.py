"""A provider's refusal is classified, and its message shows no secret."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import UPSTREAM_ERRORS
from gateway.providers import failures
from gateway.providers.protocol import Endpoint, ProviderError

_KEY = "sk-proj-THEREALKEY0123456789"
_ENDPOINT = Endpoint("acme/m", "acme", "m", "openai_chat", "https://acme.example/v1", _KEY)


def _classified(status: int, body: object = None, headers: dict[str, str] | None = None) -> ProviderError:
    written = body if isinstance(body, bytes) else orjson.dumps(body)
    return failures.classify(status=status, headers=headers or {}, body=written, endpoint=_ENDPOINT)


@pytest.mark.parametrize(
    ("status", "error_class", "ours", "is_retryable"),
    [
        (400, "UpstreamRejected", 400, False),
        (401, "UpstreamError", 502, True),
        (402, "UpstreamError", 502, True),
        (403, "UpstreamError", 502, True),
        (404, "UpstreamRejected", 404, False),
        (408, "UpstreamTimeout", 504, True),
        (409, "UpstreamError", 502, True),
        (413, "UpstreamRejected", 413, False),
        (422, "UpstreamRejected", 422, False),
        (429, "UpstreamRateLimited", 429, True),
        (302, "UpstreamError", 502, True),
        (500, "UpstreamError", 502, True),
        (502, "UpstreamError", 502, True),
        (503, "UpstreamOverloaded", 503, True),
        (504, "UpstreamTimeout", 504, True),
        (529, "UpstreamOverloaded", 503, True),
    ],
)
def test_every_status_has_a_class(status: int, error_class: str, ours: int, is_retryable: bool) -> None:
    error = _classified(status, {"error": {"message": "No.", "code": "because"}})
    assert (error.error_class, error.status, error.is_retryable) == (error_class, ours, is_retryable)
    assert error.error_class in UPSTREAM_ERRORS


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (
            {"error": {"message": "Bad seed.", "type": "invalid_request_error", "code": "bad_seed"}},
            "Bad seed.",
            "bad_seed",
        ),
        (
            {"type": "error", "error": {"type": "invalid_request_error", "message": "Bad."}},
            "Bad.",
            "invalid_request_error",
        ),
        ([{"error": {"code": 400, "message": "Bad.", "status": "INVALID_ARGUMENT"}}], "Bad.", "invalid_argument"),
        ({"object": "error", "message": "Bad.", "type": "invalid_request_message"}, "Bad.", "invalid_request_message"),
        ({"detail": [{"loc": ["body"], "msg": "extra"}]}, '[{"loc":["body"],"msg":"extra"}]', None),
        ({"error": "plain"}, "plain", None),
        (b"<html>nginx</html>", "acme answered with status 400.", None),
        (b"", "acme answered with status 400.", None),
        (7, "acme answered with status 400.", None),
    ],
)
def test_the_reason_is_found_in_every_providers_body(body: object, message: str, code: str | None) -> None:
    error = _classified(400, body)
    assert (error.message, error.code) == (message, code)


def test_a_prompt_that_is_too_long_has_one_code_everywhere() -> None:
    for text in (
        "This model's maximum context length is 8192 tokens.",
        "prompt is too long: 210000 tokens > 200000 maximum",
    ):
        assert _classified(400, {"error": {"message": text}}).code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:30 GMT", "Date": "Sun, 22 Nov 2026 12:00:00 GMT"}, 30.0),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:30 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
    ],
)
def test_the_wait_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert _classified(429, {}, headers).retry_after_s == seconds


def test_the_gateways_own_account_is_not_the_clients_business() -> None:
    error = _classified(401, {"error": {"message": f"Incorrect API key provided: {_KEY}"}})
    assert error.message.startswith("acme refused the gateway's credentials. Only the operator")


@settings(max_examples=60, deadline=None)
@given(before=st.text(max_size=40), after=st.text(max_size=900))
def test_no_message_holds_the_key_or_a_line_break_or_is_long(before: str, after: str) -> None:
    error = _classified(400, {"error": {"message": f"{before}{_KEY}{after}"}} if _encodable(before + after) else {})
    assert _KEY not in error.message
    assert "\n" not in error.message
    assert "\r" not in error.message
    assert len(error.message) <= failures.MESSAGE_LIMIT


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(letter) < 0xE000 for letter in text)


def test_keys_of_other_providers_are_hidden_too() -> None:
    for key in (
        "sk-ant-api03-abcdefghijklmnop",
        "AIzaSyA1234567890abcdefghij",
        "gsk_abcdefghijklmnop1234",
        "xai-abcdefghijklmnop",
        "sk-...****wxyz",
    ):
        assert key not in _classified(400, {"error": {"message": f"key {key} is bad"}}).message
    assert "secret1" not in _classified(400, {"error": {"message": "got api_key=secret1"}}).message
    assert "Bearer abc" not in _classified(400, {"error": {"message": "got Bearer abcdef"}}).message


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        ({"code": 503, "status": "UNAVAILABLE"}, "UpstreamOverloaded"),
        ({"type": "overloaded_error"}, "UpstreamOverloaded"),
        ({"type": "rate_limit_error"}, "UpstreamRateLimited"),
        ({"code": "429"}, "UpstreamRateLimited"),
        ({"type": "invalid_request_error", "message": "x"}, "UpstreamRejected"),
        ({"message": "?"}, "UpstreamError"),
        ("just words", "UpstreamError"),
        (None, "UpstreamError"),
    ],
)
def test_an_error_inside_a_stream_gets_its_status_from_its_words(error: object, error_class: str) -> None:
    assert failures.in_stream(error, endpoint=_ENDPOINT).error_class == error_class


def test_ordinary_words_are_left_alone() -> None:
    text = "Unknown parameter: 'api_version_of_request'; keyword_arguments_given, risk-adjusted, skills_for_writing"
    assert _classified(400, {"error": {"message": text}}).message == text


@pytest.mark.parametrize(
    ("status", "label", "message"),
    [
        (401, "Production", "acme refused your provider key “Production”."),
        (402, "Production", "acme reports that the account of your provider key “Production” is unpaid."),
        (403, "Production", "acme does not let your provider key “Production” use the model."),
        (401, "", "acme refused the provider key that came with the request."),
    ],
)
def test_a_refused_key_of_the_customers_is_named_and_theirs_to_mend(status: int, label: str, message: str) -> None:
    endpoint = replace(_ENDPOINT, key_source="byok", credential_id="cred_1", credential_label=label)

    found = failures.classify(status=status, headers={}, body=b'{"error":"no"}', endpoint=endpoint)

    assert (found.status, found.error_class, found.message) == (401, "UpstreamKeyRefused", message)
    assert found.is_retryable


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "content_policy_violation", "message": "x"}),
        (400, {"code": "content_filter", "message": "The response was filtered"}),
        (400, {"message": "Output blocked by content filtering policy"}),
        (400, {"message": "Content Exists Risk"}),
        (403, {"code": "permission-denied", "message": "Content violates usage guidelines."}),
    ],
)
def test_refused_content_has_one_code_everywhere(status: int, error: dict[str, str]) -> None:
    found = _classified(status, {"error": error})
    assert (found.error_class, found.code) == ("UpstreamRejected", "content_policy_violation")


@pytest.mark.parametrize(
    ("status", "code"), [(401, "upstream_account"), (402, "upstream_account"), (403, "upstream_access")]
)
def test_a_refused_credential_is_told_from_a_refused_model(status: int, code: str) -> None:
    assert _classified(status, {"error": {"message": "no"}}).code == code
