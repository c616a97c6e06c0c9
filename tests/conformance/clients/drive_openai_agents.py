"""OpenAI's Agents SDK over chat completions and, where it is served, over responses."""

from __future__ import annotations

import os

os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"

import driving
from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
)
from driving import check
from openai import AsyncOpenAI
from pydantic import BaseModel

QUIET = RunConfig(tracing_disabled=True)


class Person(BaseModel):
    name: str
    age: int


def connected(name=driving.MODEL, key=driving.API_KEY):
    return OpenAIChatCompletionsModel(name, AsyncOpenAI(base_url=driving.V1, api_key=key, max_retries=0))


def agent(made=None, **more):
    return Agent(name="Weather", instructions="Answer.", model=made or connected(), **more)


def usage_of(result):
    usage = result.context_wrapper.usage
    return usage.input_tokens, usage.output_tokens


async def called(prompt, *, is_streamed=False, make=None):
    seen = []

    @function_tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        seen.append(driving.call("get_weather", {"city": city}, f"call {len(seen)}"))
        return "21 degrees"

    @function_tool
    def list_cities() -> str:
        """The cities."""
        seen.append(driving.call("list_cities", {}, f"call {len(seen)}"))
        return "Paris, Rome"

    made = (make or agent)(tools=[get_weather, list_cities])
    if is_streamed:
        result = Runner.run_streamed(made, prompt, run_config=QUIET)
        async for _ in result.stream_events():
            pass
    else:
        result = await Runner.run(made, prompt, run_config=QUIET)
    assert result.final_output
    return sorted(seen, key=lambda one: one["arguments"].get("city", ""))


async def streamed(prompt):
    return await called(prompt, is_streamed=True)


@check
async def plain():
    result = await Runner.run(agent(), driving.HELLO, run_config=QUIET)
    return driving.text(result.final_output, usage_of(result))


@check
async def stream():
    result, pieces = Runner.run_streamed(agent(), driving.HELLO, run_config=QUIET), 0
    async for event in result.stream_events():
        pieces += event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    return driving.text(result.final_output, usage_of(result), pieces=pieces)


@check
async def structured():
    return (await Runner.run(agent(output_type=Person), driving.PERSON, run_config=QUIET)).final_output.model_dump()


async def failing(prompt, *, model=driving.MODEL, key=driving.API_KEY):
    return await Runner.run(agent(connected(model, key)), prompt, run_config=QUIET)


def over_responses(**more):
    client = AsyncOpenAI(base_url=driving.V1, api_key=driving.API_KEY, max_retries=0)
    return agent(OpenAIResponsesModel(driving.MODEL, client), **more)


@check
async def responses():
    result = await Runner.run(over_responses(), driving.HELLO, run_config=QUIET)
    return driving.text(result.final_output, usage_of(result))


@check
async def streamed_responses():
    result, pieces = Runner.run_streamed(over_responses(), driving.HELLO, run_config=QUIET), 0
    async for event in result.stream_events():
        pieces += event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    return driving.text(result.final_output, usage_of(result), pieces=pieces)


@check
async def responses_structured():
    result = await Runner.run(over_responses(output_type=Person), driving.PERSON, run_config=QUIET)
    return result.final_output.model_dump()


@check
async def responses_tools():
    return await called(driving.TWO_CALLS, make=over_responses)


driving.check_tools(called, streamed)
driving.check_failures(failing)
driving.main()
