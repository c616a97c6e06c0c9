"""What the built-in detectors find, and what they leave alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors, guardrails
from gateway.guardrails import redaction

ALL = guardrails.chosen(guardrails.DETECTORS)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("write to ann.lee+x@acme-corp.co.uk, please", "write to [email], please"),
        ("a@b is no address, nor is @home", "a@b is no address, nor is @home"),
        ("card 4111 1111 1111 1111 exp 12/29", "card [card] exp 12/29"),
        ("card 4111-1111-1111-1111.", "card [card]."),
        ("order 4111 1111 1111 1112 shipped", "order 4111 1111 1111 1112 shipped"),
        ("pay DE89 3704 0044 0532 0130 00 today", "pay [iban] today"),
        ("GB82WEST12345698765432", "[iban]"),
        ("GB82WEST12345698765433", "GB82WEST12345698765433"),
        ("ssn 078-05-1120", "ssn [ssn]"),
        ("ssn 000-05-1120 and 912-05-1120", "ssn 000-05-1120 and 912-05-1120"),
        ("call +49 30 901820 or (212) 555-0123", "call [phone] or [phone]"),
        (
            "on 2026-11-22 at 10:15, version 3.11.7, 12,500 calls",
            "on 2026-11-22 at 10:15, version 3.11.7, 12,500 calls",
        ),
        ("key sk-proj-abcdefghijklmnopqrstuv0123", "key [secret]"),
        ("AKIAIOSFODNN7EXAMPLE", "[secret]"),
        ("kr_live_0123456789abcdef0123", "[secret]"),
        ("1e10 and 0.1234567890123456", "1e10 and 0.1234567890123456"),
    ],
)
def test_findings_are_replaced_by_their_category(text: str, redacted: str) -> None:
    assert redaction.text(text, ALL) == redacted


def test_a_json_value_keeps_its_form() -> None:
    value = {
        "role": "user",
        "n": 4111111111111111,
        "content": [
            {"type": "text", "text": "I am ann@acme.com"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,ann@acme.com"}},
        ],
        "tool_calls": [{"function": {"arguments": '{"to": "ann@acme.com"}'}}],
    }
    found = redaction.value(value, ALL)
    assert found["n"] == 4111111111111111
    assert found["content"][0]["text"] == "I am [email]"
    assert found["content"][1] == value["content"][1]  # type: ignore[index]
    assert found["tool_calls"][0]["function"]["arguments"] == '{"to": "[email]"}'


@given(st.text(alphabet="0123456789 -+()@.abcDEABCXYZ", max_size=400))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redaction.text(text, ALL)
    assert redaction.text(once, ALL) == once


@pytest.mark.parametrize(
    "piece", ["a@", "1-", "+1 ", "A1", "(1) ", "aa.", "-----BEGIN PRIVATE KEY-----", "sk-", "DE89 "]
)
def test_a_hostile_text_of_a_megabyte_is_searched_to_its_end(piece: str) -> None:
    # A search that is quadratic in the text would need hours: the suite's time limit ends it.
    redaction.text(piece * (1_000_000 // len(piece)), ALL)


@pytest.mark.parametrize("before", [0, 32_000, 32_760, 32_768, 42_750, 42_766, 99_990])
@pytest.mark.parametrize("secret", ["ann.lee@acme.test", "4111 1111 1111 1111", "sk-proj-abcdefghijklmnopqrstuv0123"])
def test_a_long_text_is_looked_through_in_parts_that_miss_nothing(before: int, secret: str) -> None:
    text = "a" * before + " " + secret + " " + "b " * 60_000
    searching = guardrails.searching([{"content": text}], set(guardrails.DETECTORS))
    for _ in range(3):
        next(searching)
    with pytest.raises(errors.PermissionDenied):
        list(searching)


@pytest.mark.parametrize("digits", ["1" * 200_000, "4111-1111-1111-1111-" * 10_000, "a" * 200_000 + "@b"])
def test_the_edge_of_a_part_makes_no_finding(digits: str) -> None:
    assert sum(1 for _ in guardrails.searching(digits, set(guardrails.DETECTORS))) >= 3


def test_only_the_beginning_of_what_is_said_is_gone_through_for_what_is_kept() -> None:
    said = [{"content": "abc"}, {"content": ["defg", 7, "hi"]}, {"content": "jk"}]
    assert redaction.beginning(said, 5) == ([{"content": "abc"}, {"content": ["de", 7, ""]}, {"content": ""}], True)
    assert redaction.beginning(said, 11) == (said, False)
