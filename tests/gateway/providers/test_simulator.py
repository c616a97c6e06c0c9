"""The simulator is deterministic, consistent in its numbers, obedient to tools and schemas, and plainly labelled."""

from __future__ import annotations

from random import Random
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.providers import simulator
from gateway.providers.openai_chat import ADAPTER
from gateway.providers.simulator import SimulatedDisconnect, json_values, prose, strength, tokens
from tests.fixtures.providers import endpoint
from tests.gateway.providers import answers

ENDPOINT = endpoint("openai_chat", provider="simulator", upstream_model="gpt-5.4-mini")
_MAGIC = {
    "type": "function",
    "function": {
        "name": "magic_function",
        "parameters": {"type": "object", "properties": {"input": {"type": "integer"}}, "required": ["input"]},
    },
}
_ROOMS = {"type": "function", "function": {"name": "list_rooms"}}


def _ask(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def _whole(body: dict[str, Any], *, model: str = "gpt-5.4-mini") -> Any:
    answer = simulator.send(body, model=model, is_stream=False)
    assert answer.status == 200
    return ADAPTER.completion(answer.body(), endpoint=ENDPOINT)


def _message(body: dict[str, Any], *, model: str = "gpt-5.4-mini") -> dict[str, Any]:
    message: dict[str, Any] = _whole(body, model=model).body["choices"][0]["message"]
    return message


def _calls(body: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        (call["function"]["name"], orjson.loads(call["function"]["arguments"]))
        for call in _message(body).get("tool_calls", ())
    ]


_BODIES = [
    _ask("Why is the sky blue?"),
    _ask("Think about it", reasoning_effort="high"),
    _ask("magic_function(3) then list_rooms", tools=[_MAGIC, _ROOMS]),
    _ask("Hello", max_tokens=5),
    _ask("Hello [[fault:refuse]]"),
    _ask("Give it", response_format={"type": "json_object"}),
    _ask("Hello", stop=["[simulated]"]),
    _ask("[[fault:empty]]"),
]


@pytest.mark.parametrize("body", _BODIES)
def test_streamed_and_whole_answers_are_the_same_answer(body: dict[str, Any]) -> None:
    answer = simulator.send(
        {**body, "stream": True, "stream_options": {"include_usage": True}}, model="gpt-5.4-mini", is_stream=True
    )
    reader = ADAPTER.stream(endpoint=ENDPOINT, chunk_id=answers.CHUNK_ID, created=1)
    streamed = answers.said(answers.read(reader, [data for _, data in answer.schedule(scale=0)]))
    whole = _whole(body)
    message = whole.body["choices"][0]["message"]
    assert streamed["content"] == (message["content"] or "")
    assert streamed["refusal"] == (message["refusal"] or "")
    assert streamed["reasoning"] == message.get("reasoning_content", "")
    assert [call[1:] for call in streamed["tool_calls"]] == [
        [call["function"]["name"], call["function"]["arguments"]] for call in message.get("tool_calls", ())
    ]
    assert (reader.usage, reader.finish_reason) == (whole.usage, whole.finish_reason)


def test_the_same_input_gives_the_same_bytes_and_another_seed_another_answer() -> None:
    body = _ask("Why is the sky blue?")
    first = simulator.send(body, model="gpt-5.4", is_stream=True, created=1)
    assert first == simulator.send(body, model="gpt-5.4", is_stream=True, created=1)
    others = {
        simulator.send({**body, "seed": 1}, model="gpt-5.4", is_stream=True, created=1).body(),
        simulator.send(body, model="gpt-5.4-nano", is_stream=True, created=1).body(),
        first.body(),
    }
    assert len(others) == 3


def test_everything_is_labelled_as_simulated() -> None:
    answer = simulator.send(_ask("Hi"), model="gpt-5.4", is_stream=False)
    body = orjson.loads(answer.body())
    assert ("x-simulated", "true") in answer.headers
    assert (body["provider"], body["system_fingerprint"]) == ("simulator", "fp_simulated")
    assert body["choices"][0]["message"]["content"].startswith("[simulated]")
    assert _message(_ask("[[fault:refuse]]"))["refusal"].startswith("[simulated]")
    assert _message(_ask("Hi", response_format={"type": "json_object"}))["content"].startswith('{"simulated":true')
    refused = simulator.send(_ask("[[fault:500]]"), model="m", is_stream=False)
    assert orjson.loads(refused.body())["error"]["message"].startswith("[simulated]")


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(max_size=200),
    limit=st.one_of(st.none(), st.integers(1, 120)),
    effort=st.sampled_from([None, "low", "max"]),
)
def test_usage_counts_what_was_said(text: str, limit: int | None, effort: str | None) -> None:
    text = text.encode("utf-8", "ignore").decode().replace("[[fault", "")
    completion = _whole(_ask(text, max_completion_tokens=limit, reasoning_effort=effort), model="gpt-5.4-astra")
    message, usage = completion.body["choices"][0]["message"], completion.usage
    visible = tokens.count(message["content"] or "")
    assert usage.output_tokens == visible + usage.reasoning_tokens
    assert limit is None or usage.output_tokens <= limit
    assert (completion.finish_reason == "length") == (limit is not None and not _fits(text, limit, effort))
    if message.get("reasoning_content"):
        assert usage.reasoning_tokens == tokens.count(message["reasoning_content"])


def _fits(text: str, limit: int, effort: str | None) -> bool:
    unlimited = _whole(_ask(text, max_completion_tokens=limit, reasoning_effort=effort), model="gpt-5.4-astra")
    return bool(unlimited.finish_reason == "stop")


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60), limit=st.integers(0, 20))
def test_a_cut_text_fits_and_is_a_beginning(text: str, limit: int) -> None:
    text = text.encode("utf-8", "ignore").decode()
    cut = tokens.cut(text, limit)
    assert text.startswith(cut)
    assert tokens.count(cut) <= limit
    assert tokens.count(text) > limit or cut == text


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=80), seed=st.integers())
def test_pieces_put_together_are_the_text(text: str, seed: int) -> None:
    assert "".join(prose.pieces(text, rng=Random(seed))) == text


def test_a_cached_prefix_is_said_by_the_prompt_itself() -> None:
    long = "word " * 400
    messages = [{"role": "system", "content": f"[[cached]] {long}"}, {"role": "user", "content": "Hi"}]
    usage = _whole({"messages": messages}).usage
    assert usage.cached_read_tokens > 256
    assert usage.cached_read_tokens % 64 == 0
    assert usage.cached_read_tokens < usage.input_tokens
    parts = [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}]
    written = _whole({"messages": [{"role": "user", "content": parts}]}).usage
    assert written.cache_write_tokens > 256
    assert written.cached_read_tokens == 0


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (_ask("What is magic_function(3)? Use the tool.", tools=[_MAGIC]), [("magic_function", {"input": 3})]),
        (_ask("magic_function(input=-4)", tools=[_MAGIC]), [("magic_function", {"input": -4})]),
        (
            _ask("magic_function(3) and magic_function(5)", tools=[_MAGIC]),
            [("magic_function", {"input": 3}), ("magic_function", {"input": 5})],
        ),
        (
            _ask("list_rooms, then magic_function(1)", tools=[_MAGIC, _ROOMS]),
            [("list_rooms", {}), ("magic_function", {"input": 1})],
        ),
        (
            _ask("list_rooms, then magic_function(1)", tools=[_MAGIC, _ROOMS], parallel_tool_calls=False),
            [("list_rooms", {})],
        ),
        (_ask("Do something with 7", tools=[_MAGIC], tool_choice="required"), [("magic_function", {"input": 7})]),
        (
            _ask("Do", tools=[_MAGIC, _ROOMS], tool_choice={"type": "function", "function": {"name": "list_rooms"}}),
            [("list_rooms", {})],
        ),
        (_ask("magic_function(3)", tools=[_MAGIC], tool_choice="none"), []),
        (_ask("Good morning", tools=[_MAGIC]), []),
        (_ask("magic_function(3)"), []),
    ],
)
def test_tools_are_called_as_asked(body: dict[str, Any], expected: list[tuple[str, Any]]) -> None:
    assert _calls(body) == expected


def test_a_quoted_value_is_copied_letter_by_letter() -> None:
    schema = {"type": "object", "properties": {"customer_name": {"type": "string"}}, "required": ["customer_name"]}
    tool = {"type": "function", "function": {"name": "create_customer", "parameters": schema}}
    assert _calls(_ask("Use create_customer for '你好啊集团'.", tools=[tool])) == [
        ("create_customer", {"customer_name": "你好啊集团"})
    ]


def test_tool_results_are_answered_in_words() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "magic_function", "arguments": '{"input":3}'}}]
    messages = [
        {"role": "user", "content": "magic_function(3)?"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "5"},
    ]
    assert _message({"messages": messages, "tools": [_MAGIC]})["content"] == "[simulated] The tool returned: 5."


def test_an_asked_for_text_is_said() -> None:
    assert _message(_ask('Reply with exactly "pong".'))["content"] == "[simulated] pong"


def test_stop_sequences_end_the_text_before_them() -> None:
    content = _message(_ask("Why is the sky blue?"))["content"]
    word = content.split()[4]
    stopped = _whole(_ask("Why is the sky blue?", stop=[word])).body["choices"][0]
    assert word not in stopped["message"]["content"]
    assert stopped["finish_reason"] == "stop"


_SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 3, "maximum": 5},
            "x": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        },
        "required": ["n", "x"],
    },
    {
        "type": "array",
        "items": {"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}}, "required": ["id"]},
        "minItems": 3,
    },
    {
        "type": ["object", "null"],
        "properties": {
            "tags": {
                "type": "array",
                "items": {"type": "string", "minLength": 30, "maxLength": 40},
                "uniqueItems": True,
                "minItems": 2,
            }
        },
        "required": ["tags"],
    },
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "v": {"type": "integer"},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
                "required": ["v", "next"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    },
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"const": 7}}, "required": ["a"]},
            {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
        ]
    },
    {
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": "x"}},
                "required": ["kind"],
                "additionalProperties": False,
            },
            {"type": "string"},
        ]
    },
    {
        "type": "object",
        "properties": {
            "even": {"type": "integer", "multipleOf": 4, "minimum": 10},
            "when": {"type": "string", "format": "date-time"},
        },
        "required": ["even", "when"],
    },
    {"type": "object", "required": ["free"], "additionalProperties": {"type": "integer"}},
    {"type": "string", "pattern": "^[A-Z]\\d$"},
    {},
]


@pytest.mark.parametrize("schema", _SCHEMAS)
@pytest.mark.parametrize("prompt", ["", "In Oslo with 12 and 4 and 0.5 please, unit F, true", '"quoted" n=99 x is -3'])
def test_json_output_fits_its_schema(schema: dict[str, Any], prompt: str) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    value = orjson.loads(_message(_ask(prompt, response_format=wanted))["content"])
    jsonschema.validate(value, schema)


_scalars = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer", "minimum": 2},
        {"type": "boolean"},
        {"enum": ["a", "b"]},
        {"type": ["string", "null"]},
    ]
)
_schemas = st.recursive(
    _scalars,
    lambda inner: (
        st.builds(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            },
            st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
        )
        | st.builds(lambda items: {"type": "array", "items": items, "minItems": 2}, inner)
    ),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(schema=_schemas, prompt=st.text(max_size=60))
def test_any_ordinary_schema_is_satisfied(schema: dict[str, Any], prompt: str) -> None:
    value = json_values.generate(schema, hints=json_values.Hints(prompt), rng=Random(1))
    jsonschema.validate(orjson.loads(orjson.dumps(value)), schema)


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_a_status_can_be_asked_for_by_field_and_by_mark(status: int) -> None:
    for body in (
        _ask(f"Hi [[fault:{status} retry_after=7]]"),
        _ask("Hi", kairosroute_fault={"kind": str(status), "retry_after": 7}),
    ):
        answer = simulator.send(body, model="m", is_stream=True)
        assert answer.status == status
        error = ADAPTER.error(answer.status, dict(answer.headers), answer.body(), endpoint=ENDPOINT)
        if status == 429:
            assert error.retry_after_s == 7


def test_faults_can_be_forbidden() -> None:
    answer = simulator.send(
        _ask("[[fault:500]]", kairosroute_fault="429"), model="m", is_stream=False, has_faults=False
    )
    assert (answer.status, answer.outcome) == (200, "ok")
    assert simulator.send(_ask("[[fault:nonsense]] [[fault:777]]"), model="m", is_stream=False).outcome == "ok"


def _faulty(kind: str) -> tuple[Any, bool, float]:
    """Return the reader after a streamed fault, whether the connection broke, and the longest wait."""
    body = _ask(f"Tell me more [[fault:{kind} after_chunks=3 seconds=30]]", stream_options={"include_usage": True})
    answer = simulator.send(body, model="gpt-5.4", is_stream=True)
    reader = ADAPTER.stream(endpoint=ENDPOINT, chunk_id="gen_x", created=1)
    longest, is_broken = 0.0, False
    try:
        for seconds, data in answer.schedule(scale=0):
            longest = max(longest, seconds)
            list(reader.feed(data))
    except SimulatedDisconnect:
        is_broken = True
    list(reader.finish())
    return reader, is_broken, longest


@pytest.mark.parametrize(
    ("kind", "finish", "is_broken", "longest", "garbage", "has_usage"),
    [
        ("timeout", "", False, 30, 0, False),
        ("slow_first_token", "stop", False, 30, 0, True),
        ("stall", "stop", False, 30, 0, True),
        ("truncate", "", False, 0, 0, False),
        ("disconnect", "", True, 0, 0, False),
        ("malformed", "stop", False, 0, 1, True),
        ("error_event", "", False, 0, 0, False),
        ("no_usage", "stop", False, 0, 0, False),
        ("empty", "stop", False, 0, 0, True),
    ],
)
def test_every_fault_of_a_stream(
    kind: str, finish: str, is_broken: bool, longest: float, garbage: int, has_usage: bool
) -> None:
    reader, broke, waited = _faulty(kind)
    assert (reader.finish_reason, broke, waited, reader.garbage_lines) == (finish, is_broken, longest, garbage)
    assert (reader.usage is not None) is has_usage
    assert (reader.error is not None) is (kind == "error_event")
    assert reader.has_output is (kind not in ("timeout", "empty"))


def test_waits_follow_the_model_and_the_scale() -> None:
    body = _ask("Why is the sky blue?", stream_options={"include_usage": True})

    def seconds(model: str, scale: float) -> float:
        return sum(wait for wait, _ in simulator.send(body, model=model, is_stream=True).schedule(scale=scale))

    assert seconds("gpt-6-astra", 1.0) > seconds("gpt-5.4-nano", 1.0) > 0.1
    assert seconds("gpt-5.4-nano", 0.5) == pytest.approx(seconds("gpt-5.4-nano", 1.0) / 2)
    assert seconds("gpt-6-astra", 0) == 0
    assert len(list(simulator.send(body, model="m", is_stream=True).schedule(scale=0))) == 1


def _flawed_share(model: str) -> float:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    broken = 0
    for number in range(400):
        body = _ask(f"City {number}", response_format=wanted, kairosroute_fault="flaws")
        content = _message(body, model=model)["content"]
        try:
            orjson.loads(content or "")
        except orjson.JSONDecodeError:
            broken += 1
    return broken / 400


def test_weak_models_make_more_mistakes_and_only_where_flaws_are_wanted() -> None:
    weak, strong = _flawed_share("gpt-5.4-nano"), _flawed_share("gpt-6-astra")
    assert 0.03 < weak < 0.15
    assert strong < 0.02


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        ("anthropic/claude-opus-5-5", "claude-haiku-5-5"),
        ("google/gemini-4-argon", "google/gemini-3.8-flash"),
        ("gemini-3.8-flash", "gemini-2.5-flash-lite"),
        ("gpt-5.4", "gpt-5.4-mini"),
        ("gpt-5.4-mini", "gpt-5.4-nano"),
        ("minimax/minimax-m3", "openai/gpt-4o-mini"),
        ("global.anthropic.claude-sonnet-5-5", "amazon.nova-2-lite-v1:0"),
    ],
)
def test_strength_follows_the_name(stronger: str, weaker: str) -> None:
    assert strength.of(stronger).value > strength.of(weaker).value


def test_several_choices_are_given_and_counted() -> None:
    completion = _whole(_ask("Hi", n=3))
    assert [choice["index"] for choice in completion.body["choices"]] == [0, 1, 2]
    said = [tokens.count(choice["message"]["content"]) for choice in completion.body["choices"]]
    assert completion.usage.output_tokens == sum(said)


@settings(max_examples=40, deadline=None)
@given(
    body=st.fixed_dictionaries(
        {},
        optional={
            "messages": st.lists(
                st.none()
                | st.text(max_size=3)
                | st.fixed_dictionaries(
                    {},
                    optional={
                        "role": st.sampled_from(["user", "tool", "system", 7]),
                        "content": st.none()
                        | st.integers(-9, 9)
                        | st.text(max_size=5)
                        | st.lists(st.none() | st.just({"type": "text", "text": None}), max_size=2),
                    },
                ),
                max_size=3,
            ),
            "tools": st.lists(
                st.just({})
                | st.just(
                    {
                        "type": "function",
                        "function": {"name": "f", "parameters": {"type": "object", "properties": None}},
                    }
                ),
                max_size=2,
            ),
            "tool_choice": st.sampled_from(["auto", "required", {}, {"type": "function"}]),
            "stop": st.sampled_from([None, "", [""], 7]),
            "max_tokens": st.sampled_from([None, -1, 0, 1, "x"]),
            "n": st.sampled_from([None, 0, 99, "x"]),
            "response_format": st.sampled_from(
                [
                    None,
                    {},
                    {"type": "json_schema"},
                    {"type": "json_schema", "json_schema": {"schema": {"type": "alien"}}},
                ]
            ),
        },
    )
)
def test_strange_bodies_are_answered_all_the_same(body: dict[str, Any]) -> None:
    for is_stream in (False, True):
        assert simulator.send(body, model="m", is_stream=is_stream).status == 200
