"""Compile a JSON Schema into closures, the keywords that hold other schemas included.

What single values are tested for is `gateway.json_schema.assertions`' business. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import orjson

from gateway.json_schema import assertions
from gateway.json_schema.assertions import Budget, Check, Verdict, always, non_empty_list

# Keywords that assert something which is not evaluated here.
_UNEVALUATED: Final = frozenset(
    {
        "if",
        "contains",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "patternProperties",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
        "$dynamicRef",
        "$recursiveRef",
    }
)


@lru_cache(maxsize=256)
def compiled(source: bytes) -> Check:
    """Return the check of a schema given as JSON."""
    root = orjson.loads(source)
    return _Compiler(root).compile(root)


class _Compiler:
    """Turns one schema document into closures; references are compiled when first met, so they may be cyclic."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._references: dict[str, Check] = {}

    def compile(self, schema: Any) -> Check:
        if schema is True:
            return always
        if schema is False:
            return _never
        # A part with an id of its own changes what its references mean.
        if not isinstance(schema, dict) or ("$id" in schema and schema is not self._root):
            return _unknown
        checks = [found for keyword, argument in schema.items() if (found := self._keyword(keyword, argument, schema))]
        if not checks:
            return always
        return checks[0] if len(checks) == 1 else _all(checks)

    def _keyword(self, keyword: str, argument: Any, schema: Mapping[str, Any]) -> Check | None:
        """Return the check of a keyword, None for annotations and for keywords that another one takes along."""
        if keyword in _UNEVALUATED:
            return _unknown
        try:
            if keyword in assertions.BUILDERS:
                return assertions.BUILDERS[keyword](argument)
            build = _APPLICATORS.get(keyword)
            return build(self, argument, schema) if build else None
        except (TypeError, ValueError, AttributeError, re.error):
            return _unknown  # a malformed keyword, in a schema that the provider accepted all the same

    def reference(self, pointer: str, _schema: Mapping[str, Any]) -> Check:
        if not pointer.startswith("#") or (len(pointer) > 1 and pointer[1] != "/"):
            return _unknown
        known = self._references.get(pointer)
        if known is not None:
            return known
        target: Check | None = None

        def follow(value: Any, budget: Budget) -> Verdict:
            nonlocal target
            if target is None:
                target = self.compile(self._find(pointer))
            budget.spend()
            return target(value, budget)

        self._references[pointer] = follow
        return follow

    def _find(self, pointer: str) -> Any:
        found = self._root
        for part in pointer[2:].split("/") if len(pointer) > 1 else ():
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                return None  # a dangling reference: compiles to unknown
        return found

    def all_of(self, schemas: list[Any], _schema: Mapping[str, Any]) -> Check:
        return _all([self.compile(schema) for schema in non_empty_list(schemas)])

    def any_of(self, schemas: list[Any], _schema: Mapping[str, Any]) -> Check:
        checks = [self.compile(schema) for schema in non_empty_list(schemas)]

        def run(value: Any, budget: Budget) -> Verdict:
            verdict: Verdict = False
            for one in checks:
                found = one(value, budget)
                if found:
                    return True
                if found is None:
                    verdict = None
            return verdict

        return run

    def one_of(self, schemas: list[Any], _schema: Mapping[str, Any]) -> Check:
        checks = [self.compile(schema) for schema in non_empty_list(schemas)]

        def run(value: Any, budget: Budget) -> Verdict:
            verdicts = [one(value, budget) for one in checks]
            matches = verdicts.count(True)
            if matches > 1:
                return False
            return None if None in verdicts else matches == 1

        return run

    def negation(self, schema: Any, _schema: Mapping[str, Any]) -> Check:
        inner = self.compile(schema)

        def run(value: Any, budget: Budget) -> Verdict:
            verdict = inner(value, budget)
            return None if verdict is None else not verdict

        return run

    def properties(self, schemas: Mapping[str, Any], _schema: Mapping[str, Any]) -> Check:
        checks = [(name, self.compile(schema)) for name, schema in schemas.items()]

        def run(value: Any, budget: Budget) -> Verdict:
            if not isinstance(value, dict):
                return True
            budget.spend(1 + len(value))
            return _conjunction(one(value[name], budget) for name, one in checks if name in value)

        return run

    def additional_properties(self, argument: Any, schema: Mapping[str, Any]) -> Check:
        named = frozenset(schema.get("properties", ()))
        inner = self.compile(argument)
        # With patternProperties it is not known which names are additional.
        if "patternProperties" in schema and inner is not always:
            return _unknown

        def run(value: Any, budget: Budget) -> Verdict:
            if not isinstance(value, dict):
                return True
            budget.spend(1 + len(value))
            return _conjunction(inner(item, budget) for name, item in value.items() if name not in named)

        return run

    def items(self, argument: Any, schema: Mapping[str, Any]) -> Check:
        if isinstance(argument, list):  # drafts before 2020-12
            return self.prefix_items(argument, schema)
        inner = self.compile(argument)
        start = len(schema.get("prefixItems", ()))

        def run(value: Any, budget: Budget) -> Verdict:
            if not isinstance(value, list):
                return True
            budget.spend(1 + len(value))
            return _conjunction(inner(item, budget) for item in (value[start:] if start else value))

        return run

    def prefix_items(self, schemas: list[Any], _schema: Mapping[str, Any]) -> Check:
        checks = [self.compile(schema) for schema in non_empty_list(schemas)]

        def run(value: Any, budget: Budget) -> Verdict:
            if not isinstance(value, list):
                return True
            return _conjunction(one(item, budget) for one, item in zip(checks, value, strict=False))

        return run


def _never(_value: Any, _budget: Budget) -> Verdict:
    return False


def _unknown(_value: Any, _budget: Budget) -> Verdict:
    return None


def _conjunction(verdicts: Iterable[Verdict]) -> Verdict:
    result: Verdict = True
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is None:
            result = None
    return result


def _all(checks: list[Check]) -> Check:
    def run(value: Any, budget: Budget) -> Verdict:
        budget.spend()
        result: Verdict = True
        for one in checks:
            verdict = one(value, budget)
            if verdict is False:
                return False
            if verdict is None:
                result = None
        return result

    return run


_APPLICATORS: Final[dict[str, Callable[[_Compiler, Any, Mapping[str, Any]], Check]]] = {
    "$ref": _Compiler.reference,
    "allOf": _Compiler.all_of,
    "anyOf": _Compiler.any_of,
    "oneOf": _Compiler.one_of,
    "not": _Compiler.negation,
    "properties": _Compiler.properties,
    "additionalProperties": _Compiler.additional_properties,
    "items": _Compiler.items,
    "prefixItems": _Compiler.prefix_items,
}
