"""The form of API keys and one-time tokens: how they are made, recognised and hashed. Pure.

An API key is `kr_live_` or `kr_test_`, 32 random characters of base 62 (190 bits) and 6 characters
of checksum: the CRC-32 of everything before it, in base 62. With the checksum a secret scanner can
tell a key from a look-alike, and a mistyped key is refused without a look-up. It is no proof of
anything: what counts is that the SHA-256 of the whole key is on record.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass
from typing import Literal

Mode = Literal["live", "test"]

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_CHARACTERS = 32
_CHECKSUM_CHARACTERS = 6  # 62**6 > 2**32
_PREFIXES: dict[Mode, str] = {"live": "kr_live_", "test": "kr_test_"}

# For secret scanners; `parse` also verifies the checksum.
PATTERN = re.compile(rf"kr_(live|test)_([0-9A-Za-z]{{{_RANDOM_CHARACTERS}}})([0-9A-Za-z]{{{_CHECKSUM_CHARACTERS}}})")


class MalformedKey(ValueError):
    """Not a KairosRoute key, or a mistyped one. The message never repeats what was given."""


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """What a well-formed key says of itself. `sha256` is what the database knows it by."""

    mode: Mode
    sha256: str
    hint: str

    @property
    def is_test(self) -> bool:
        return self.mode == "test"


def make(mode: Mode) -> str:
    """Return a new API key of `mode`."""
    body = _PREFIXES[mode] + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
    return body + checksum(body)


def parse(key: str) -> ParsedKey:
    """Return what `key` says of itself.

    Raises:
        MalformedKey: wrong prefix, wrong length or alphabet, or a checksum that does not match.
    """
    match = PATTERN.fullmatch(key)
    if match is None:
        raise MalformedKey("An API key looks like kr_live_… or kr_test_… and has 46 characters.")
    if checksum(key[:-_CHECKSUM_CHARACTERS]) != match[3]:
        raise MalformedKey("The API key has a typing error: its checksum does not match. Copy it again.")
    return ParsedKey(mode="live" if match[1] == "live" else "test", sha256=sha256(key), hint=hint(key))


def checksum(text: str) -> str:
    """Return the CRC-32 of `text` as 6 characters of base 62, most significant first."""
    number = zlib.crc32(text.encode())
    digits = []
    for _ in range(_CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def sha256(token: str) -> str:
    """Return the hex SHA-256 of a token.

    Enough for tokens, unlike passwords: with 160 random bits there is nothing to guess, so a slow
    hash would only slow the data plane down.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def hint(key: str) -> str:
    """Return how lists show `key`: prefix, ellipsis and last four characters."""
    return f"{key[:8]}…{key[-4:]}"


def redact(text: str) -> str:
    """Return `text` with every key in it cut down to its hint."""
    return PATTERN.sub(lambda match: hint(match[0]), text)


def make_one_time() -> str:
    """Return a token for one link (invitation, sign-in): 256 random bits, safe in a URL."""
    return secrets.token_urlsafe(32)
