"""The keywords of JSON Schema that look at one value only: type, enum, limits, patterns. Pure.

Keywords that hold other schemas are `gateway.json_schema.compiler`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, DecimalException
from typing import Any, Final

_STEPS: Final = 50_000

Verdict = bool | None


class OutOfSteps(Exception):
    """The evaluation costs more than it may."""


class Budget:
    """The steps that one evaluation may still take."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps = _STEPS

    def spend(self, steps: int = 1) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise OutOfSteps


Check = Callable[[Any, Budget], Verdict]


def always(_value: Any, _budget: Budget) -> Verdict:
    """Accept everything."""
    return True


def non_empty_list(argument: Any) -> list[Any]:
    if not isinstance(argument, list) or not argument:
        raise TypeError
    return argument


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
}


def _type(argument: Any) -> Check:
    names = argument if isinstance(argument, list) else [argument]
    if not names or any(name not in _TYPES for name in names):
        raise ValueError
    tests = [_TYPES[name] for name in names]
    if len(tests) == 1:
        test = tests[0]
        return lambda value, _budget: test(value)
    return lambda value, _budget: any(test(value) for test in tests)


def _equal(left: Any, right: Any) -> bool:
    """Return whether two JSON values are equal: 1 equals 1.0, true does not equal 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(item, right[key]) for key, item in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)


def _enum(argument: Any) -> Check:
    options = non_empty_list(argument)

    def run(value: Any, budget: Budget) -> Verdict:
        budget.spend(len(options))
        return any(_equal(value, option) for option in options)

    return run


def _const(argument: Any) -> Check:
    return lambda value, _budget: _equal(value, argument)


def _required(argument: Any) -> Check:
    if not isinstance(argument, list) or any(not isinstance(name, str) for name in argument):
        raise TypeError
    names = frozenset(argument)
    return lambda value, _budget: not isinstance(value, dict) or names <= value.keys()


def _limit(applies: Callable[[Any], bool], holds: Callable[[Any, Any], bool]) -> Callable[..., Check]:
    """Return a builder for a keyword that compares something of the value with a number."""

    def build(argument: Any) -> Check:
        if not _is_number(argument):
            raise TypeError
        return lambda value, _budget: not applies(value) or holds(value, argument)

    return build


def _multiple_of(argument: Any) -> Check:
    if not _is_number(argument) or argument <= 0:
        raise ValueError
    step = Decimal(str(argument))

    def run(value: Any, _budget: Budget) -> Verdict:
        if not _is_number(value):
            return True
        try:
            return Decimal(str(value)) % step == 0
        except DecimalException:  # more digits than the context holds
            return None

    return run


def _unique_items(argument: Any) -> Check:
    if argument is not True:
        return always

    def run(value: Any, budget: Budget) -> Verdict:
        if not isinstance(value, list):
            return True
        budget.spend(len(value) * len(value) // 2)
        return not any(_equal(item, other) for at, item in enumerate(value) for other in value[:at])

    return run


def _pattern(argument: Any) -> Check:
    limit = _longest_text(argument)
    # As ECMAScript has it, which JSON Schema refers to: \d and \w are ASCII, and `$` is the very end.
    ends = argument.endswith("$") and not argument.endswith("\\$")
    search = re.compile(argument[:-1] + r"\Z" if ends else argument, re.ASCII).search

    def run(value: Any, budget: Budget) -> Verdict:
        if not isinstance(value, str):
            return True
        if len(value) > limit:
            return None
        budget.spend(1 + len(value))
        return search(value) is not None

    return run


def _longest_text(pattern: str) -> int:
    """Return how long a text may be for the pattern to run in some 200,000 steps; -1 when that cannot be bounded.

    Python's engine has no time limit. Without groups, alternatives and backreferences, each quantifier that can vary
    multiplies the work by the length of the text at most, and so does a pattern that can begin anywhere.
    """
    bare = re.sub(r"\\[^0-9bBAZzGpPkux]", "x", pattern)  # escapes that mean the same in ECMAScript and Python
    bare = re.sub(r"\[\^?\]?[^\[\]]*\]", "x", bare)
    bare = re.sub(r"\{\d{1,3}\}", "", bare)
    bare = re.sub(r"\{\d{0,3},\d{0,3}\}", "*", bare)
    if set(bare) & set("()|\\[]{}") or bare.count("?") > 4:
        return -1
    exponent = bare.count("*") + bare.count("+") + (not bare.startswith("^"))
    return min(int(200_000 ** (1 / exponent)), 4096) if exponent else 4096


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


# A builder takes the keyword's argument; a malformed one raises TypeError, ValueError or re.error.
BUILDERS: Final[dict[str, Callable[[Any], Check]]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "required": _required,
    "pattern": _pattern,
    "uniqueItems": _unique_items,
    "multipleOf": _multiple_of,
    "minimum": _limit(_is_number, lambda value, limit: value >= limit),
    "maximum": _limit(_is_number, lambda value, limit: value <= limit),
    "exclusiveMinimum": _limit(_is_number, lambda value, limit: value > limit),
    "exclusiveMaximum": _limit(_is_number, lambda value, limit: value < limit),
    "minLength": _limit(_is(str), lambda value, limit: len(value) >= limit),
    "maxLength": _limit(_is(str), lambda value, limit: len(value) <= limit),
    "minItems": _limit(_is(list), lambda value, limit: len(value) >= limit),
    "maxItems": _limit(_is(list), lambda value, limit: len(value) <= limit),
    "minProperties": _limit(_is(dict), lambda value, limit: len(value) >= limit),
    "maxProperties": _limit(_is(dict), lambda value, limit: len(value) <= limit),
}
