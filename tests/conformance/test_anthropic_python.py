"""Anthropic's Python SDK against us: providers of three protocols and the simulator behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic
from anthropic.types import MessageParam, ToolParam
from llmock.pytest_plugin import LLMock

from tests.conformance.conftest import Gateway
from tests.conformance.test_openai_python import CLAUDE, GPT, MODELS

HELLO: list[MessageParam] = [{"role": "user", "content": "Say hello to the neighbours."}]
ASK: list[MessageParam] = [{"role": "user", "content": "What is the weather in Paris? get_weather"}]
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="


def connect(gateway: Gateway, key: str) -> Anthropic:
    return Anthropic(base_url=gateway.url, api_key=key, max_retries=0, timeout=20)


@pytest.fixture
def claude(gateway: Gateway) -> Iterator[Anthropic]:
    with connect(gateway, gateway.live_key) as client:
        yield client


@pytest.fixture
def simulated(gateway: Gateway) -> Iterator[Anthropic]:
    """A client whose key reaches only the simulator."""
    with connect(gateway, gateway.test_key) as client:
        yield client


@pytest.mark.parametrize("model", MODELS)
def test_a_message_has_text_a_stop_reason_usage_and_a_receipt(
    gateway: Gateway, claude: Anthropic, llmock: LLMock, model: str
) -> None:
    llmock.reply("Hello, neighbours!")

    message: Any = claude.messages.create(model=model, max_tokens=100, messages=HELLO, system="Be kind.")

    assert [block.text for block in message.content] == ["Hello, neighbours!"]
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert message.model == model
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message._request_id.startswith("req_")
    receipt = gateway.receipt(message.x_kairosroute["receipt_id"])
    assert receipt["cost"]["provider_cost_usd"] == message.x_kairosroute["provider_cost_usd"] > 0
    assert receipt["usage"]["input_tokens"] == message.usage.input_tokens
    assert receipt["usage"]["output_tokens"] == message.usage.output_tokens


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_says_the_same(claude: Anthropic, llmock: LLMock, model: str) -> None:
    llmock.reply("Hello, neighbours!")

    with claude.messages.stream(model=model, max_tokens=100, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()

    assert text == "Hello, neighbours!"
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0
    assert message.usage.input_tokens > 0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_tool_is_called_and_its_result_is_taken(
    claude: Anthropic, llmock: LLMock, model: str, is_stream: bool
) -> None:
    if is_stream:
        with claude.messages.stream(model=model, max_tokens=100, messages=ASK, tools=[WEATHER]) as stream:
            first = stream.get_final_message()
    else:
        first = claude.messages.create(model=model, max_tokens=100, messages=ASK, tools=[WEATHER])
    (call,) = [block for block in first.content if block.type == "tool_use"]
    assert first.stop_reason == "tool_use"
    assert (call.name, call.input.keys()) == ("get_weather", {"city"})

    llmock.reply("It is sunny.")
    result: MessageParam = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}],
    }
    history: list[MessageParam] = [*ASK, {"role": "assistant", "content": first.content}, result]
    second: Any = claude.messages.create(model=model, max_tokens=100, messages=history, tools=[WEATHER])
    assert second.content[0].text == "It is sunny."


@pytest.mark.parametrize("model", MODELS)
def test_a_picture_is_taken(claude: Anthropic, llmock: LLMock, model: str) -> None:
    picture: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}

    message = claude.messages.create(
        model=model,
        max_tokens=100,
        messages=[{"role": "user", "content": [picture, {"type": "text", "text": "What is this?"}]}],
    )

    assert message.stop_reason == "end_turn"


def test_errors_are_raised_as_anthropics_own(gateway: Gateway, claude: Anthropic, llmock: LLMock) -> None:
    with pytest.raises(anthropic.NotFoundError, match="Did you mean"):
        claude.messages.create(model="claude-sonnet-4-9", max_tokens=9, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        claude.post("/v1/messages", body={"model": CLAUDE, "messages": HELLO}, cast_to=object)
    with connect(gateway, "kr_live_nobody") as stranger, pytest.raises(anthropic.AuthenticationError) as caught:
        stranger.messages.create(model=CLAUDE, max_tokens=9, messages=HELLO)
    assert caught.value.body["error"]["type"] == "authentication_error"  # type: ignore[index,call-overload]


@pytest.mark.parametrize("model", [CLAUDE, GPT, "auto"])
def test_the_simulator_answers_in_the_same_words(simulated: Anthropic, model: str) -> None:
    message: Any = simulated.messages.create(model=model, max_tokens=300, messages=ASK, tools=[WEATHER])
    assert message.stop_reason == "tool_use"
    assert message.x_kairosroute["is_simulated"] is True
    with simulated.messages.stream(model=model, max_tokens=300, messages=HELLO) as stream:
        assert "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens > 0
    counted: Any = simulated.messages.count_tokens(model=model, messages=HELLO)
    assert counted.input_tokens > 4
    assert counted.x_kairosroute["is_estimate"] is True
