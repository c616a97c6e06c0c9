"""Log lines: JSON, a request id, and nothing that must stay secret."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from config import observability

CANARY = "kr_live_8f3kq2m9x7v4p1w6"


def line(
    message: str, *args: Any, formatter: logging.Formatter | None = None, exc_info: Any = None, **extra: Any
) -> str:
    record = logging.getLogger("gateway.pipeline").makeRecord(
        "gateway.pipeline", logging.WARNING, __file__, 1, message, args, exc_info, extra=extra
    )
    return (formatter or observability.JsonLines()).format(record)


def test_a_line_is_one_json_object_with_time_level_logger_and_message() -> None:
    found = json.loads(line("The spool is %s.", "full"))

    assert found["level"] == "WARNING"
    assert found["logger"] == "gateway.pipeline"
    assert found["message"] == "The spool is full."
    assert found["time"].endswith("+00:00")


def test_it_carries_the_request_id_given_with_the_record() -> None:
    assert json.loads(line("x", request_id="req_1"))["request_id"] == "req_1"


def test_it_carries_the_request_id_of_the_page_being_served() -> None:
    token = observability.request_id.set("page_1")
    try:
        assert json.loads(line("x"))["request_id"] == "page_1"
    finally:
        observability.request_id.reset(token)


def test_extra_fields_stand_beside_the_message() -> None:
    found = json.loads(line("page", status=200, ms=1.5, path="/o/acme/overview/"))

    assert (found["status"], found["ms"], found["path"]) == (200, 1.5, "/o/acme/overview/")


@pytest.mark.parametrize(
    "secret",
    [
        CANARY,
        "kr_test_0123456789abcdef",
        "sk-proj-abcdEFGH1234",
        "sk_live_abcdEFGH1234",
        "sk-ant-api03-abcdEFGH1234",
        "AIzaSyA1234567890abcdef",
        "Bearer abcdef1234567890",
        "postgresql://user:hunter2hunter2@db/kairos",
    ],
)
@pytest.mark.parametrize("formatter", [observability.JsonLines(), observability.Text()], ids=["json", "text"])
def test_a_credential_never_reaches_the_line(secret: str, formatter: logging.Formatter) -> None:
    secret_part = "hunter2hunter2" if "hunter2" in secret else secret[-8:]
    try:
        raise ValueError(f"cannot use {secret}")
    except ValueError:
        info = sys.exc_info()

    lines = [
        line("cannot use %s", secret, formatter=formatter),
        line("cannot connect", target=secret, formatter=formatter),
        line("it failed", exc_info=info, formatter=formatter),
    ]

    for text in lines:
        assert secret_part not in text
        assert observability.REDACTED in text


@pytest.mark.parametrize("name", ["messages", "prompt", "content", "Authorization", "api_key"])
def test_a_field_that_carries_content_is_dropped_by_name(name: str) -> None:
    fields: dict[str, Any] = {name: "the quick brown fox"}

    assert "the quick brown fox" not in line("x", **fields)


def test_ordinary_text_is_not_redacted() -> None:
    text = "The task-key of risk-averse users is basic; see https://example.test/a:b for more."

    assert observability.redact(text) == text


def test_an_unknown_style_is_refused_with_the_variable_to_mend() -> None:
    with pytest.raises(ValueError, match="KAIROS_LOG_FORMAT"):
        observability.logging_config(level="INFO", style="xml")
