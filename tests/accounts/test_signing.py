"""Signatures of webhooks, checked the way receivers do."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import signing

AT_S = 1_794_744_000


def test_the_header_is_time_and_hmac_of_time_and_body() -> None:
    expected = hmac.new(b"whsec_a", b'1794744000.{"id":1}', hashlib.sha256).hexdigest()
    assert signing.sign(b'{"id":1}', secrets=["whsec_a"], at_s=AT_S) == f"t=1794744000,v1={expected}"


@given(st.binary(max_size=200), st.text(min_size=1, max_size=40))
def test_what_was_signed_is_genuine_and_any_other_body_is_not(body: bytes, secret: str) -> None:
    header = signing.sign(body, secrets=[secret], at_s=AT_S)
    assert signing.is_genuine(body, header, secret=secret, now_s=AT_S)
    assert not signing.is_genuine(body + b" ", header, secret=secret, now_s=AT_S)
    assert not signing.is_genuine(body, header, secret=secret + "x", now_s=AT_S)


@pytest.mark.parametrize(("seconds", "is_genuine"), [(0, True), (300, True), (301, False), (-301, False)])
def test_a_signature_holds_for_five_minutes(seconds: int, is_genuine: bool) -> None:
    header = signing.sign(b"{}", secrets=["s"], at_s=AT_S)
    assert signing.is_genuine(b"{}", header, secret="s", now_s=AT_S + seconds) == is_genuine


def test_while_a_secret_is_rotated_both_are_good() -> None:
    header = signing.sign(b"{}", secrets=["new", "old"], at_s=AT_S)
    assert signing.is_genuine(b"{}", header, secret="new", now_s=AT_S)
    assert signing.is_genuine(b"{}", header, secret="old", now_s=AT_S)


@pytest.mark.parametrize("header", ["", "t=1", "v1=00", "t=x,v1=00", "t=1,t=2,v1=00", "nonsense"])
def test_a_header_that_is_none_is_not_genuine(header: str) -> None:
    assert not signing.is_genuine(b"{}", header, secret="s", now_s=1)
