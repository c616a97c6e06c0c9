"""The validator agrees with an independent one wherever it gives a verdict, and gives none where it cannot know."""

from __future__ import annotations

import time
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import json_schema

_PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3, "uniqueItems": True},
        "boss": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        "address": {"$ref": "#/$defs/address"},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
    "$defs": {"address": {"type": "object", "properties": {"zip": {"type": "string", "pattern": r"^\d{5}$"}}}},
}


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        ({"name": "Ann", "age": 3}, True),
        ({"name": "Ann", "age": 3.0}, True),
        ({"name": "Ann", "age": 3.5}, False),
        ({"name": "Ann", "age": True}, False),
        ({"name": "", "age": 3}, False),
        ({"name": "Ann"}, False),
        ({"name": "Ann", "age": 3, "extra": 1}, False),
        ({"name": "Ann", "age": 3, "tags": ["a", "b"]}, True),
        ({"name": "Ann", "age": 3, "tags": ["a", "a"]}, False),
        ({"name": "Ann", "age": 3, "tags": ["c"]}, False),
        ({"name": "Ann", "age": 3, "boss": {"name": "Bob", "age": 4, "boss": None}}, True),
        ({"name": "Ann", "age": 3, "boss": {"name": "Bob"}}, False),
        ({"name": "Ann", "age": 3, "address": {"zip": "12345"}}, True),
        ({"name": "Ann", "age": 3, "address": {"zip": "1234x"}}, False),
        ([], False),
        (None, False),
    ],
)
def test_it_checks_what_structured_outputs_use(value: Any, verdict: bool) -> None:
    assert json_schema.check(value, _PERSON) is verdict
    assert jsonschema.Draft202012Validator(_PERSON).is_valid(value) is verdict


_GRID_SCHEMAS: list[Any] = [
    *(
        {keyword: limit}
        for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        for limit in (0, 1, 2.5)
    ),
    *({keyword: 1} for keyword in ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")),
    *({"type": name} for name in ("object", "array", "string", "boolean", "null", "number", "integer")),
    *({"multipleOf": step} for step in (1, 0.25, 0.5, 2)),
    *({"const": value} for value in (1, True, [1, [0]], {"a": 1}, None, "a")),
    {"enum": [0, False, "a", {"a": [1]}]},
    {"uniqueItems": True},
    {"prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
    {"prefixItems": [{"const": 1}, {"const": 2}]},
    {"items": {"type": "integer"}},
    {"items": False},
    {"properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}},
    {"additionalProperties": False},
    {"required": ["a", "b"]},
    {"required": []},
    {"oneOf": [{"type": "integer"}, {"minimum": 1}]},
    {"anyOf": [{"type": "integer"}, {"minLength": 1}]},
    {"allOf": [{"type": "integer"}, {"maximum": 1}]},
    {"not": {"type": ["integer", "string"]}},
]
_GRID_VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 0.0, 1.0, 0.3, 2.5, 0.5, "", "a", "ab", [], {}),
    *(
        [1],
        [1, 1],
        [1, True],
        [1, 1.0],
        ["a"],
        ["a", 1],
        ["a", "b"],
        ["a", 1, 2],
        [1, 2],
        [2, 1],
        [1, [0]],
        [1, [False]],
    ),
    *({"a": 1}, {"a": True}, {"a": "x"}, {"a": 1, "b": "x"}, {"a": 1, "b": 2}, {"b": "x"}, {"a": [1]}, {"a": [1.0]}),
    [{"a": 1}, {"a": 1.0}],
]


@pytest.mark.parametrize("schema", _GRID_SCHEMAS, ids=str)
def test_it_agrees_on_every_keyword_at_its_edges(schema: Any) -> None:
    oracle = jsonschema.Draft202012Validator(schema)
    disagreeing = [value for value in _GRID_VALUES if json_schema.check(value, schema) is not oracle.is_valid(value)]
    assert disagreeing == []


def test_a_multiple_is_one_in_decimal() -> None:
    """Binary fractions would say that 0.3 is no multiple of 0.1, and the independent validator does."""
    assert json_schema.check(0.3, {"multipleOf": 0.1}) is True
    assert json_schema.check(0.35, {"multipleOf": 0.1}) is False
    assert json_schema.check(1e300, {"multipleOf": 0.1}) is None


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([-1.5, 0.0, 0.3, 1.0, 2.5]),
    st.sampled_from(["", "a", "b", "ab", "é", "abc"]),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["a", "b", "c", "a/b~"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_TYPE_NAMES = ["object", "array", "string", "boolean", "null", "number", "integer"]
_LEAF_SCHEMAS = st.one_of(
    st.booleans(),
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.one_of(
                st.sampled_from(_TYPE_NAMES),
                st.lists(st.sampled_from(_TYPE_NAMES), min_size=1, max_size=3, unique=True),
            ),
            "enum": st.lists(_VALUES, min_size=1, max_size=3),
            "const": _VALUES,
            "minimum": st.integers(-3, 3),
            "maximum": st.sampled_from([-1, 0.5, 2]),
            "exclusiveMinimum": st.integers(-3, 3),
            "exclusiveMaximum": st.integers(-3, 3),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "minLength": st.integers(0, 2),
            "maxLength": st.integers(0, 2),
            "pattern": st.sampled_from(["^a", "b$", "^a.?$", "[ab]+", "^$", "^a{2}$", "a*b"]),
            "minItems": st.integers(0, 2),
            "maxItems": st.integers(0, 2),
            "uniqueItems": st.booleans(),
            "required": st.lists(st.sampled_from(["a", "b"]), unique=True),
            "minProperties": st.integers(0, 2),
            "maxProperties": st.integers(0, 2),
            "format": st.just("email"),
            "description": st.just("an annotation"),
        },
    ),
)
_SCHEMAS = st.recursive(
    _LEAF_SCHEMAS,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(_TYPE_NAMES),
            "properties": st.dictionaries(st.sampled_from(["a", "b", "a/b~"]), inner, max_size=2),
            "additionalProperties": inner,
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=3),
            "not": inner,
            "$ref": st.sampled_from(["#/$defs/one", "#/$defs/a~1b~0"]),
        },
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(schema=_SCHEMAS, one=_LEAF_SCHEMAS, two=_LEAF_SCHEMAS, value=_VALUES)
def test_it_agrees_with_an_independent_validator(schema: Any, one: Any, two: Any, value: Any) -> None:
    if isinstance(schema, dict):
        schema = {**schema, "$defs": {"one": one, "a/b~": two}}
    assert json_schema.check(value, schema) is jsonschema.Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "#anchor"},
        {"$ref": "#/$defs/missing"},
        {"if": {"type": "string"}, "then": {"minLength": 3}},
        {"patternProperties": {"^a": {"type": "string"}}},
        {"properties": {"a": {"contains": {"const": 1}}}},
        {"properties": {"a": {"$id": "https://example.com/x", "type": "string"}}},
        {"properties": {"a": {"pattern": "(a+)+$"}}},
        {"properties": {"a": {"pattern": "a+b+c+d+e+"}}, "title": "three lengths of a run of 200 are too many steps"},
        {"properties": {"a": {"pattern": "["}}},
        {"type": "nonsense"},
        {"required": True},
        {"enum": []},
        {"minimum": "3"},
        "not a schema",
        None,
    ],
)
def test_it_gives_no_verdict_on_what_it_does_not_evaluate(schema: Any) -> None:
    assert json_schema.check({"a": "x" * 200}, schema) is None


def test_what_is_certain_is_said_even_beside_what_is_not_evaluated() -> None:
    unknown = {"if": {"type": "string"}}
    assert json_schema.check(3, {"type": "string", **unknown}) is False
    assert json_schema.check(3, {"anyOf": [unknown, {"type": "integer"}]}) is True
    assert json_schema.check(3, {"anyOf": [unknown, {"type": "string"}]}) is None
    assert json_schema.check(3, {"oneOf": [unknown, {"type": "integer"}, {"minimum": 1}]}) is False
    assert json_schema.check(3, {"oneOf": [unknown, {"type": "integer"}]}) is None
    assert json_schema.check(3, {"not": unknown}) is None


def test_patterns_mean_what_they_mean_in_ecmascript() -> None:
    assert json_schema.check("é", {"pattern": r"\w"}) is False
    assert json_schema.check("٣", {"pattern": r"^\d$"}) is False
    assert json_schema.check("a\n", {"pattern": "^a$"}) is False
    assert json_schema.check("a$", {"pattern": r"^a\$"}) is True


def test_a_pattern_is_not_run_on_long_text() -> None:
    schema = {"pattern": "^[^@]+@[^@]+$"}
    assert json_schema.check("a@b", schema) is True
    assert json_schema.check("ab", schema) is False
    assert json_schema.check("a@" + "b" * 5_000, schema) is None


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#"}, 1),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, 1),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, 1),
        # two ways at each level: 2^30 evaluations without a budget
        (
            {"anyOf": [{"type": "array", "items": {"$ref": "#"}, "minItems": n} for n in (1, 0)] + [{"const": 1}]},
            None,
        ),
        ({"uniqueItems": True}, list(range(5_000))),
        ({"items": {"enum": list(range(100))}}, [99] * 5_000),
    ],
)
def test_a_costly_evaluation_ends_without_a_verdict(schema: Any, value: Any) -> None:
    if value is None:
        value = 0
        for _ in range(30):
            value = [value]
    started = time.perf_counter()
    assert json_schema.check(value, schema) is None
    assert time.perf_counter() - started < 1


def test_a_schema_too_large_or_not_json_has_no_verdict() -> None:
    assert json_schema.check(1, {"enum": ["x" * 300_000]}) is None
    assert json_schema.check(1, {"const": object()}) is None


def test_a_schema_is_compiled_once() -> None:
    from gateway.json_schema import compiler

    schema = {"type": "object", "properties": {"only": {"const": "here"}}}
    json_schema.check({}, schema)
    before = compiler.compiled.cache_info()
    json_schema.check({"only": "there"}, dict(schema))
    after = compiler.compiled.cache_info()
    assert (after.hits - before.hits, after.misses - before.misses) == (1, 0)


def test_a_long_schema_is_checked_and_not_kept() -> None:
    def long(number: int) -> dict[str, object]:
        return {"anyOf": [{"type": "object", "required": [f"p{number}_{n}"]} for n in range(600)]}

    from gateway.json_schema import compiler

    kept = compiler.compiled.cache_info().currsize
    assert all(json_schema.check({f"p{number}_7": 1}, long(number)) is True for number in range(5))
    assert json_schema.check({"q": 1}, long(1)) is False
    assert compiler.compiled.cache_info().currsize == kept
