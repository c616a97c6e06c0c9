"""The form of keys: what is made can be recognised, and what was mistyped is not a key."""

from __future__ import annotations

import hashlib
import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import tokens

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


@pytest.mark.parametrize("mode", ["live", "test"])
def test_a_made_key_says_its_mode_and_parses(mode: tokens.Mode) -> None:
    key = tokens.make(mode)
    parsed = tokens.parse(key)
    assert key.startswith(f"kr_{mode}_")
    assert parsed.mode == mode
    assert parsed.is_test is (mode == "test")
    assert parsed.sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert parsed.hint == f"kr_{mode}_…{key[-4:]}"


def test_a_key_has_at_least_160_random_bits() -> None:
    random_characters = len(tokens.make("live")) - len("kr_live_") - 6
    assert random_characters * math.log2(62) >= 160


def test_keys_do_not_repeat_and_use_the_whole_alphabet() -> None:
    keys = [tokens.make("live") for _ in range(2000)]
    assert len(set(keys)) == len(keys)
    assert set("".join(key[8:40] for key in keys)) == set(_BASE62)


def test_the_checksum_is_crc_32_in_base_62() -> None:
    # CRC-32 of "123456789" is 0xCBF43926 (the check value of the catalogue of CRC algorithms).
    number = 0
    for character in tokens.checksum("123456789"):
        number = number * 62 + _BASE62.index(character)
    assert number == 0xCBF43926


@given(position=st.integers(min_value=8, max_value=45), replacement=st.sampled_from(_BASE62))
def test_one_wrong_character_is_noticed(position: int, replacement: str) -> None:
    key = "kr_live_" + "0aZ" * 10 + "Qq"
    key += tokens.checksum(key)
    mistyped = key[:position] + replacement + key[position + 1 :]
    if mistyped == key:
        assert tokens.parse(mistyped).mode == "live"
    else:
        with pytest.raises(tokens.MalformedKey):
            tokens.parse(mistyped)


def test_a_test_key_cannot_be_turned_into_a_live_key() -> None:
    key = tokens.make("test")
    with pytest.raises(tokens.MalformedKey):
        tokens.parse(key.replace("kr_test_", "kr_live_"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kr_live_",
        "sk-proj-123",
        "kr_prod_" + "a" * 38,
        "kr_live_" + "a" * 37,
        "kr_live_" + "ä" * 38,
        "\x00",
        "\ud800",
    ],
)
def test_what_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(tokens.MalformedKey) as refusal:
        tokens.parse(text)
    assert len(text) < 9 or text not in str(refusal.value)


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        tokens.parse(text)
    except tokens.MalformedKey:
        return
    assert tokens.PATTERN.fullmatch(text)


def test_a_trailing_newline_is_no_part_of_a_key() -> None:
    with pytest.raises(tokens.MalformedKey):
        tokens.parse(tokens.make("live") + "\n")


def test_the_pattern_finds_a_key_in_a_text() -> None:
    key = tokens.make("live")
    assert tokens.PATTERN.search(f"export KEY={key}; run")[0] == key  # type: ignore[index]


def test_a_one_time_token_is_long_and_safe_in_a_url() -> None:
    token = tokens.make_one_time()
    assert len(token) >= 43
    assert set(token) <= set(string.ascii_letters + string.digits + "-_")
