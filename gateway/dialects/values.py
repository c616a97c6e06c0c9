"""Read one value of a gateway's field or header, JSON or text, or say what it must be. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

from gateway.providers import quirks

LONGEST_TEXT = 256
_MOST_NAMES = 32
_MOST_USD = 1_000_000.0
_LONGEST_WAIT_S = 86_400.0
_LONGEST_AGE_S = 366 * 86_400
_SHORTEST_KEY = 16
_TRUE = frozenset({"true", "1", "yes", "on", "enabled"})
_FALSE = frozenset({"false", "0", "no", "off", "disabled"})
# Spellings of OpenRouter's, Vercel's and Portkey's beside those that `quirks` knows.
_PROVIDERS = {
    "amazon-bedrock": "bedrock",
    "azure-openai": "azure",
    "google-ai-studio": "google",
    "google-vertex": "google",
    "vertex": "google",
    "vertex-ai": "google",
    "xai": "x-ai",
    "zai": "z-ai",
}


class Malformed(ValueError):
    """A value that cannot be read. `expected` completes "must be …"; the value itself is never repeated."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def flag(value: Any) -> bool:
    """Return true or false. Raises `Malformed`."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise Malformed("true or false")


def number(value: Any, *, least: float = 0.0, most: float = 1e12, expected: str = "a number") -> float:
    """Return a number in the range. Raises `Malformed`."""
    found: float = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found = float(value)
    elif isinstance(value, str):
        with suppress(ValueError):
            found = float(value)
    if not least <= found <= most:  # not a number is in no range
        raise Malformed(expected)
    return found


def whole(value: Any, *, least: int = 0, most: int = 1_000_000_000, expected: str = "a whole number") -> int:
    """Return a whole number in the range. Raises `Malformed`."""
    found = number(value, least=least, most=most, expected=expected)
    if found != int(found):
        raise Malformed(expected)
    return int(found)


def attempts(value: Any) -> int:
    """Return how often a call may be tried again. Raises `Malformed`."""
    return whole(value, most=10, expected="a whole number from 0 to 10")


def seconds(value: Any, *, per_second: int = 1) -> float:
    """Return a wait in seconds, given in units of which `per_second` make one. Raises `Malformed`."""
    unit = "seconds" if per_second == 1 else "milliseconds"
    found = number(value, most=_LONGEST_WAIT_S * per_second, expected=f"a number of {unit}, more than 0")
    if found <= 0:
        raise Malformed(f"a number of {unit}, more than 0")
    return found / per_second


def age_s(value: Any) -> int:
    """Return how long an answer may be kept, in seconds. Raises `Malformed`."""
    return whole(value, least=1, most=_LONGEST_AGE_S, expected="a whole number of seconds, more than 0")


def nanousd(value: Any) -> int:
    """Return US dollars as nano-USD. Raises `Malformed`."""
    return round(number(value, most=_MOST_USD, expected="a number of US dollars") * 1_000_000_000)


def share(value: Any) -> float:
    """Return a number from 0 to 1. Raises `Malformed`."""
    return number(value, most=1.0, expected="a number from 0 to 1")


def text(value: Any, *, longest: int = LONGEST_TEXT) -> str:
    """Return a text, cut at `longest` characters. Raises `Malformed`."""
    if not isinstance(value, str):
        raise Malformed("a string")
    return value.strip()[:longest]


def word_of(words: Mapping[str, str], value: Any, *, expected: str) -> str:
    """Return what a word means here. Raises `Malformed`."""
    if not isinstance(value, str) or value not in words:
        raise Malformed(expected)
    return words[value]


def names(value: Any) -> tuple[str, ...]:
    """Return the texts of a list. Raises `Malformed`."""
    if not isinstance(value, list) or len(value) > _MOST_NAMES or not all(isinstance(one, str) for one in value):
        raise Malformed(f"a list of at most {_MOST_NAMES} strings")
    return tuple(one.strip()[:LONGEST_TEXT] for one in value if one.strip())


def providers(value: Any) -> tuple[str, ...]:
    """Return the names of a list of providers as we write them. Raises `Malformed`."""
    return tuple(provider(name) for name in names(value))


def provider(name: str) -> str:
    """Return a provider's name as we write it; one that we do not know stays as it is, in lower case.

    OpenRouter's names may carry a variant of the endpoint (`deepinfra/turbo`), Portkey's an at sign.
    """
    plain = name.strip().lstrip("@").partition("/")[0].lower().replace(" ", "-")
    row = quirks.known(_PROVIDERS.get(plain, plain))
    return row.provider if row is not None else plain


def json_object(value: Any) -> dict[str, Any]:
    """Return an object, or the object that a header's text spells. Raises `Malformed`."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            value = None
    if not isinstance(value, dict):
        raise Malformed("a JSON object")
    return value


def pairs(value: str) -> dict[str, Any]:
    """Return the tags of a header: a JSON object, or `name=value` plain names too. Raises `Malformed`."""
    if value.lstrip().startswith("{"):
        return json_object(value)
    found: dict[str, Any] = {}
    for part in value.split(","):
        if part.strip():
            name, sign, rest = part.partition("=")
            if not sign:
                name, sign, rest = part.partition(":")
            found[name.strip()] = rest.strip() if sign else "true"
    return found


def foreign_key(headers: Mapping[bytes, bytes]) -> str:
    """Return the provider's key that `Authorization` holds beside ours in another header; empty where it holds none.

    SDKs ask for a key even where a header has it: what is as short as a placeholder is none.
    """
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    key = (key if scheme.lower() == "bearer" else "").strip()
    return "" if key.startswith("kr_") or len(key) < _SHORTEST_KEY else key
