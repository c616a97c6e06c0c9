"""OpenAI's Python SDK against us: what it parses, what it raises."""

from __future__ import annotations

import json
import re
from typing import Any

import openai
import pytest
from llmock.pytest_plugin import LLMock
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.conformance.conftest import Gateway

GPT = "openai/gpt-5.4-mini"
CLAUDE = "anthropic/claude-sonnet-4-6"
GEMINI = "google/gemini-2.5-flash"
MODELS = (GPT, CLAUDE, GEMINI)
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello to the neighbours."}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Paris? get_weather"}]


class Person(BaseModel):
    name: str
    age: int
    languages: list[str]


@pytest.mark.parametrize("model", MODELS)
def test_a_completion_has_text_a_finish_reason_and_usage(client: OpenAI, llmock: LLMock, model: str) -> None:
    llmock.reply("Hello, neighbours!")

    answer = client.chat.completions.create(model=model, messages=HELLO)

    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == "Hello, neighbours!"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert isinstance(answer.system_fingerprint, str)
    llmock.assert_resilient(strict=True)


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_carries_its_receipt(gateway: Gateway, client: OpenAI, llmock: LLMock, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    answer: Any = raw.parse()
    receipt_id = answer.x_kairosroute["receipt_id"]

    assert raw.headers["x-kairosroute-receipt-id"] == receipt_id
    assert re.fullmatch(r"req_[0-9a-z]{26}", raw.headers["x-request-id"])
    assert answer.x_kairosroute["provider"] == model.partition("/")[0]
    assert answer.x_kairosroute["provider_cost_usd"] == answer.usage.cost > 0
    receipt = gateway.receipt(receipt_id)
    assert receipt["state"] == "settled"
    assert receipt["cost"]["provider_cost_usd"] == answer.usage.cost
    assert receipt["usage"]["input_tokens"] == answer.usage.prompt_tokens
    assert receipt["usage"]["output_tokens"] == answer.usage.completion_tokens


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_is_the_same_text_in_pieces_with_the_usage_last(client: OpenAI, llmock: LLMock, model: str) -> None:
    llmock.reply("One two three four five six seven.")

    stream = client.chat.completions.create(
        model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "One two three four five six seven."
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    finish = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert finish == ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    llmock.assert_resilient(strict=True)


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_without_the_usage_option_has_no_chunk_without_choices(
    client: OpenAI, llmock: LLMock, model: str
) -> None:
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))

    assert all(chunk.choices for chunk in chunks)


@pytest.mark.parametrize("model", MODELS)
def test_a_tool_call_goes_out_and_its_result_comes_back(client: OpenAI, llmock: LLMock, model: str) -> None:
    llmock.call_tool("get_weather", {"city": "Paris", "days": 2})
    asked = client.chat.completions.create(model=model, messages=ASK, tools=[WEATHER])
    message = asked.choices[0].message
    assert asked.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    (tool_call,) = message.tool_calls
    assert tool_call.type == "function"
    assert (tool_call.function.name, json.loads(tool_call.function.arguments)) == (
        "get_weather",
        {"city": "Paris", "days": 2},
    )

    llmock.reply("It is 21 degrees.")
    answer = client.chat.completions.create(
        model=model,
        messages=[
            *ASK,
            message.model_dump(exclude_none=True),  # type: ignore[list-item]
            {"role": "tool", "tool_call_id": tool_call.id, "content": "21C"},
        ],
        tools=[WEATHER],
    )

    assert answer.choices[0].message.content == "It is 21 degrees."


@pytest.mark.parametrize("model", MODELS)
def test_parallel_tool_calls_keep_their_order_and_ids(client: OpenAI, llmock: LLMock, model: str) -> None:
    from llmock.scenarios import Reply, ToolCall

    llmock.add(
        Reply(
            tool_calls=(ToolCall("get_weather", {"city": "Paris"}), ToolCall("get_weather", {"city": "Rome"})), times=2
        )
    )
    whole = client.chat.completions.create(model=model, messages=ASK, tools=[WEATHER])
    stream = client.chat.completions.create(model=model, messages=ASK, tools=[WEATHER], stream=True)
    streamed: dict[int, list[str]] = {}
    for chunk in stream:
        for delta in chunk.choices[0].delta.tool_calls or []:
            parts = streamed.setdefault(delta.index, ["", ""])
            assert delta.function is not None
            parts[0] += delta.id or ""
            parts[1] += delta.function.arguments or ""

    calls = whole.choices[0].message.tool_calls or []
    assert [json.loads(call.function.arguments)["city"] for call in calls if call.type == "function"] == [
        "Paris",
        "Rome",
    ]
    assert len({call.id for call in calls}) == 2
    assert [json.loads(parts[1])["city"] for _, parts in sorted(streamed.items())] == ["Paris", "Rome"]
    assert len({parts[0] for parts in streamed.values()}) == 2


@pytest.mark.parametrize("model", MODELS)
def test_a_streamed_tool_call_adds_up(client: OpenAI, llmock: LLMock, model: str) -> None:
    llmock.call_tool("get_weather", {"city": "Paris", "days": 3})
    with client.chat.completions.stream(model=model, messages=ASK, tools=[WEATHER]) as stream:
        answer = stream.get_final_completion()

    assert answer.choices[0].finish_reason == "tool_calls"
    (tool_call,) = answer.choices[0].message.tool_calls or []
    assert json.loads(tool_call.function.arguments) == {"city": "Paris", "days": 3}


@pytest.mark.parametrize("model", [GPT, GEMINI])
def test_structured_output_is_parsed(client: OpenAI, llmock: LLMock, model: str) -> None:
    answer = client.chat.completions.parse(model=model, messages=HELLO, response_format=Person)

    assert isinstance(answer.choices[0].message.parsed, Person)


def test_structured_output_through_anthropic_is_parsed(client: OpenAI, llmock: LLMock) -> None:
    # llmock has no structured output on its Anthropic path: it says what the model would say.
    llmock.reply('{"name": "Ada", "age": 36, "languages": ["en"]}')
    answer = client.chat.completions.parse(model=CLAUDE, messages=HELLO, response_format=Person)

    assert answer.choices[0].message.parsed == Person(name="Ada", age=36, languages=["en"])


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_a_provider_error_is_raised_by_its_type(
    client: OpenAI, llmock: LLMock, model: str, status: int, error: type[openai.APIStatusError]
) -> None:
    llmock.fail(status, retry_after=0.001)

    with pytest.raises(error) as caught:
        client.chat.completions.create(model=model, messages=HELLO)

    body: Any = caught.value.body
    assert body["metadata"]["provider_name"] == model.partition("/")[0]
    assert body["metadata"]["request_id"] == caught.value.request_id
    assert "upstream-canary" not in caught.value.message


@pytest.mark.parametrize("model", MODELS)
def test_a_rejected_upstream_key_is_not_the_clients_fault(client: OpenAI, llmock: LLMock, model: str) -> None:
    llmock.fail(401, message="Incorrect API key provided: upstream-canary-7f3a91")

    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model=model, messages=HELLO)

    assert "upstream-canary" not in str(caught.value.body)


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        ({"model": "openai/no-such-model"}, openai.NotFoundError, "model_not_found"),
        ({"messages": []}, openai.BadRequestError, None),
        ({"messages": "hello"}, openai.BadRequestError, None),
        ({"temperature": "warm"}, openai.BadRequestError, None),
    ],
)
def test_a_bad_request_is_refused_with_its_parameter(
    client: OpenAI, llmock: LLMock, arguments: dict[str, Any], error: type[openai.APIStatusError], code: str | None
) -> None:
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{"model": GPT, "messages": HELLO, **arguments})

    assert caught.value.code == code or code is None
    assert caught.value.type == "invalid_request_error"
    assert llmock.requests == []


@pytest.mark.parametrize("key", ["kr_live_doesnotexist00000000000000", "nonsense"])
def test_an_unknown_key_is_an_authentication_error(gateway: Gateway, key: str) -> None:
    with pytest.raises(openai.AuthenticationError):
        gateway.client(key=key).chat.completions.create(model=GPT, messages=HELLO)


def test_models_are_listed_and_found_by_name(client: OpenAI) -> None:
    listed = [model.id for model in client.models.list()]

    assert set(MODELS) <= set(listed)
    assert client.models.retrieve(GPT).id == GPT


@pytest.mark.parametrize("model", ["gpt-5.4-mini", "openai:gpt-5.4-mini", "@openai/gpt-5.4-mini", "auto"])
def test_other_ways_to_name_a_model(client: OpenAI, llmock: LLMock, model: str) -> None:
    answer: Any = client.chat.completions.create(model=model, messages=HELLO)

    assert answer.choices[0].message.content
    assert answer.x_kairosroute["routed_from"] == model


def test_the_simulator_answers_a_test_key_and_says_so(gateway: Gateway, simulator: OpenAI, llmock: LLMock) -> None:
    answer: Any = simulator.chat.completions.create(model=CLAUDE, messages=HELLO)

    assert answer.choices[0].message.content
    assert answer.x_kairosroute["is_simulated"] is True
    assert llmock.requests == []
    receipt = gateway.receipt(answer.x_kairosroute["receipt_id"], key=gateway.test_key)
    assert (receipt["is_simulated"], receipt["cost"]["billed_usd"]) == (True, 0)


def test_the_simulator_streams_calls_tools_and_keeps_to_a_schema(simulator: OpenAI) -> None:
    chunks = list(simulator.chat.completions.create(model=GPT, messages=HELLO, stream=True))
    tool = simulator.chat.completions.create(model=GPT, messages=ASK, tools=[WEATHER], tool_choice="required")
    parsed = simulator.chat.completions.parse(model=GPT, messages=HELLO, response_format=Person)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    (call,) = tool.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert "city" in json.loads(call.function.arguments)
    assert isinstance(parsed.choices[0].message.parsed, Person)


async def test_the_asynchronous_client_streams(gateway: Gateway, llmock: LLMock) -> None:
    llmock.reply("a b c d")
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.live_key, max_retries=0) as client:
        stream = await client.chat.completions.create(model=GPT, messages=HELLO, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    assert text == "a b c d"
