"""Make a JSON value that satisfies a JSON schema, with values taken from the prompt where they fit. Pure.

Covers what tool parameters and structured outputs use: types, required, enum, const, default, anyOf/oneOf/allOf,
local $ref, arrays, bounds, the common string formats. `pattern` is honoured for simple classes only.
Keywords: JSON Schema 2020-12.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

MAX_DEPTH = 8

_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "PT1H",
    "email": "simulated@example.com",
    "uri": "https://example.com/simulated",
    "url": "https://example.com/simulated",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_QUOTED = re.compile(r"[\"“'‘`]([^\"“”'‘’`\n]{1,200})[\"”'’`]")  # noqa: RUF001 - typographic quotes are meant
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")
_PLACE = re.compile(r"\b(?:in|for|to|at|of|from|named|called)\s+([A-Z][\w\-]*(?:\s+[A-Z][\w\-]*)*)")
_LITERALS = {"true": True, "false": False, "null": None, "none": None}


@dataclass(frozen=True, slots=True)
class Hints:
    """What the prompt offers: its text, and arguments written as a call, by position and by name."""

    text: str
    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] | None = None

    def quoted(self) -> list[str]:
        """Return the texts in quotation marks."""
        return _QUOTED.findall(self.text)

    def numbers(self) -> list[float]:
        """Return the numbers in the text."""
        return [float(number) for number in _NUMBER.findall(self.text)]


def literal(text: str) -> Any:
    """Return the value that an argument in a written call means: number, true/false/null, or text without quotes."""
    text = text.strip()
    if text.lower() in _LITERALS:
        return _LITERALS[text.lower()]
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text.strip("\"'`")


def generate(schema: Any, *, hints: Hints, rng: Random) -> Any:
    """Return a value that fits the schema."""
    return _Maker(schema, hints, rng).value(schema, name="", depth=0)


class _Maker:
    def __init__(self, root: Any, hints: Hints, rng: Random) -> None:
        self._root = root
        self._hints = hints
        self._rng = rng
        self._numbers = hints.numbers()
        self._quoted = hints.quoted()

    def value(self, schema: Any, *, name: str, depth: int) -> Any:
        if not isinstance(schema, dict):
            return "simulated" if schema is not False else None
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._member(schema["enum"], name)
        for word in ("anyOf", "oneOf"):
            if schema.get(word):
                return self.value(self._branch(schema, schema[word], depth), name=name, depth=depth)
        kind = self._kind(schema, depth)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in ("integer", "number"):
            return self._number(schema, name, is_integer=kind == "integer")
        if kind == "boolean":
            named = self._named(name)
            return named if isinstance(named, bool) else not re.search(rf"\bno\s+{re.escape(name)}\b", self._hints.text)
        return None if kind == "null" else self._string(schema, name)

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        for _ in range(MAX_DEPTH):
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#"):
                break
            found: Any = self._root
            for step in reference[1:].strip("/").split("/"):
                if step:
                    found = found.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
            schema = {**(found if isinstance(found, dict) else {}), **{k: v for k, v in schema.items() if k != "$ref"}}
        if schema.get("allOf"):
            merged = {key: item for key, item in schema.items() if key != "allOf"}
            for part in schema["allOf"]:
                part = self._resolved(part) if isinstance(part, dict) else {}
                merged = {
                    **part,
                    **merged,
                    "properties": {**part.get("properties", {}), **merged.get("properties", {})},
                    "required": [*part.get("required", []), *merged.get("required", [])],
                }
            if not merged["properties"]:
                del merged["properties"]
            schema = merged
        return schema

    def _branch(self, schema: dict[str, Any], branches: list[Any], depth: int) -> dict[str, Any]:
        shared = {key: item for key, item in schema.items() if key not in ("anyOf", "oneOf")}
        options = [self._resolved(branch) for branch in branches if isinstance(branch, dict)]
        if depth >= MAX_DEPTH:  # a recursive schema ends at its plainest branch
            options.sort(key=lambda option: (option.get("type") not in ("null", "string"), "properties" in option))
        else:
            options.sort(key=lambda option: option.get("type") == "null")
        return {**shared, **(options[0] if options else {})}

    def _kind(self, schema: dict[str, Any], depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            if depth >= MAX_DEPTH and "null" in kind:
                return "null"
            kind = next((word for word in kind if word != "null"), "null")
        if isinstance(kind, str):
            return kind
        if "properties" in schema or "additionalProperties" in schema:
            return "object"
        return "array" if "items" in schema else "string"

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        required = [word for word in required if isinstance(word, str)] if isinstance(required, list) else []
        made: dict[str, Any] = {}
        for position, (name, part) in enumerate(properties.items()):
            if depth == 0 and position < len(self._hints.positional):
                given = self._fitting(part, self._hints.positional[position])
                if given is not _MISSING:
                    made[name] = given
                    continue
            if depth == 0 and self._hints.named and name in self._hints.named:
                given = self._fitting(part, self._hints.named[name])
                if given is not _MISSING:
                    made[name] = given
                    continue
            if name in required or (not required and depth < 2):
                made[name] = self.value(part, name=name, depth=depth + 1)
        for name in required:
            if name not in made:
                made[name] = self.value(
                    properties.get(name, schema.get("additionalProperties", {})), name=name, depth=depth + 1
                )
        return made

    def _fitting(self, schema: Any, given: Any) -> Any:
        kind = self._kind(self._resolved(schema), 0) if isinstance(schema, dict) else "string"
        is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
        if kind == "integer":
            return int(given) if is_number and float(given).is_integer() else _MISSING
        if kind == "number":
            return given if is_number else _MISSING
        if kind == "boolean":
            return given if isinstance(given, bool) else _MISSING
        return str(given) if kind == "string" and given is not None else _MISSING

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        least = schema.get("minItems", 0 if depth >= MAX_DEPTH else 1)
        items = schema.get("items", {})
        prefix = schema.get("prefixItems") or []
        count = max(least, len(prefix), 0 if depth >= MAX_DEPTH else 1)
        count = min(count, schema.get("maxItems", count))
        made: list[Any] = []
        for index in range(count):
            item = self.value(prefix[index] if index < len(prefix) else items, name=name, depth=depth + 1)
            if schema.get("uniqueItems") and item in made:
                item = (
                    f"{item} {index + 1}" if isinstance(item, str) else item + index if isinstance(item, int) else item
                )
            made.append(item)
        return made

    def _member(self, members: list[Any], name: str) -> Any:
        text = self._hints.text.lower()
        named = self._named(name)
        if named in members:
            return named
        spoken = [
            member
            for member in members
            if isinstance(member, str) and re.search(rf"\b{re.escape(member.lower())}\b", text)
        ]
        return spoken[0] if spoken else self._rng.choice(members)

    def _named(self, name: str) -> Any:
        """Return the value that the prompt gives to a name, as in `city: Oslo`, `city=Oslo`, `the city is Oslo`."""
        if not name:
            return None
        words = re.escape(name).replace("_", "[_ ]")
        match = re.search(
            rf"\b{words}\b\s*(?:is|=|:|should be|of)\s*(\"[^\"]*\"|'[^']*'|[^\s,;.)]+)", self._hints.text, re.IGNORECASE
        )
        return literal(match[1]) if match else None

    def _number(self, schema: dict[str, Any], name: str, *, is_integer: bool) -> float:
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        named = self._named(name)
        candidates = (
            [named, *self._numbers]
            if isinstance(named, (int, float)) and not isinstance(named, bool)
            else [*self._numbers]
        )
        for number in candidates:
            if self._is_allowed(number, schema) and (not is_integer or float(number).is_integer()):
                return int(number) if is_integer or float(number).is_integer() else float(number)
        step = schema.get("multipleOf", 1)
        start = low if low is not None else min(0, high) if high is not None else 0
        number = math.ceil(start / step) * step
        span = 1 if high is None and low is not None else 0
        number = number if self._is_allowed(number, schema) else number + step * max(span, 1)
        if not self._is_allowed(number, schema) and low is not None and high is not None and not is_integer:
            number = (low + high) / 2
        return int(number) if is_integer else number

    def _is_allowed(self, number: float, schema: dict[str, Any]) -> bool:
        step = schema.get("multipleOf")
        return (
            number >= schema.get("minimum", -math.inf)
            and number <= schema.get("maximum", math.inf)
            and number > schema.get("exclusiveMinimum", -math.inf)
            and number < schema.get("exclusiveMaximum", math.inf)
            and (not step or math.isclose(number / step, round(number / step)))
        )

    def _string(self, schema: dict[str, Any], name: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        pattern = schema.get("pattern")
        named = self._named(name)
        place = _PLACE.search(self._hints.text)
        candidates = [
            *([str(named)] if named is not None else []),
            *self._quoted,
            *([place[1]] if place else []),
            f"simulated {name}".strip().replace("_", " "),
            *(("A1", "abc", "123", "2026-01-15", "00000") if pattern else ()),
        ]
        for candidate in candidates:
            fitted = self._sized(candidate, schema)
            if not isinstance(pattern, str) or _matches(pattern, fitted):
                return fitted
        return self._sized(candidates[-1], schema)

    def _sized(self, text: str, schema: dict[str, Any]) -> str:
        text = text.ljust(schema.get("minLength", 0), "x")
        return text[: schema["maxLength"]] if "maxLength" in schema else text


_MISSING = object()


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True
