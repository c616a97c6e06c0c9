"""OpenAI's Python SDK and its Responses API against us: three protocols and the simulator behind it."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from llmock.pytest_plugin import LLMock
from openai import OpenAI
from pydantic import BaseModel

from tests.conformance.conftest import Gateway
from tests.conformance.test_openai_python import MODELS, WEATHER

TOOL: Any = {"type": "function", "strict": True, **WEATHER["function"]}
ASK = "What is the weather in Paris? get_weather"


class Greeting(BaseModel):
    text: str


@pytest.mark.parametrize("model", MODELS)
def test_a_response_has_text_usage_and_a_receipt(gateway: Gateway, client: OpenAI, llmock: LLMock, model: str) -> None:
    llmock.reply("Hello, neighbours!")

    answer: Any = client.responses.create(model=model, input="Say hello.", instructions="Be kind.", store=False)

    assert answer.output_text == "Hello, neighbours!"
    assert (answer.status, answer.model) == ("completed", model)
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    receipt = gateway.receipt(answer.x_kairosroute["receipt_id"])
    assert receipt["cost"]["provider_cost_usd"] == answer.usage.cost > 0


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_says_the_same(client: OpenAI, llmock: LLMock, model: str) -> None:
    llmock.reply("Hello, neighbours!")

    with client.responses.stream(model=model, input="Say hello.") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()

    assert text == final.output_text == "Hello, neighbours!"
    assert final.usage is not None
    assert final.usage.output_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_a_tool_is_called_and_its_result_is_taken(client: OpenAI, llmock: LLMock, model: str) -> None:
    with client.responses.stream(model=model, input=ASK, tools=[TOOL]) as stream:
        first = stream.until_done().get_final_response()
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert call.name == "get_weather"

    llmock.reply("It is sunny.")
    history: Any = [
        {"role": "user", "content": ASK},
        *[item.model_dump(exclude_none=True) for item in first.output],
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    second = client.responses.create(model=model, input=history, tools=[TOOL], store=False)
    assert second.output_text == "It is sunny."


@pytest.mark.parametrize("model", MODELS)
def test_the_simulator_answers_in_the_same_words(simulator: OpenAI, model: str) -> None:
    parsed = simulator.responses.parse(model=model, input="Greet.", text_format=Greeting)
    assert isinstance(parsed.output_parsed, Greeting)
    with simulator.responses.stream(model=model, input=ASK, tools=[TOOL]) as stream:
        final = stream.until_done().get_final_response()
    assert [item.type for item in final.output][-1] == "function_call"
    completed = simulator.completions.create(model=model, prompt="Say hello.")
    assert completed.choices[0].text


def test_what_is_stored_nowhere_is_refused_with_advice(client: OpenAI, llmock: LLMock) -> None:
    with pytest.raises(openai.BadRequestError, match="send the conversation so far in `input`"):
        client.responses.create(model=MODELS[0], input="hi", previous_response_id="resp_1")
