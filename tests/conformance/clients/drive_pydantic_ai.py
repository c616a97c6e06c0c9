"""Pydantic AI: an agent's plain, streamed, structured and tool-calling runs."""

from __future__ import annotations

import driving
from driving import check
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


def connected(name=driving.MODEL, key=driving.API_KEY):
    client = AsyncOpenAI(base_url=driving.V1, api_key=key, max_retries=0)
    return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client))


class Person(BaseModel):
    name: str
    age: int


def usage_of(result):
    usage = result.usage() if callable(result.usage) else result.usage
    return usage.input_tokens, usage.output_tokens


async def called(prompt, *, is_streamed=False):
    """Return the calls that reached our functions, with the answer that the agent gave after them."""
    agent, seen = Agent(connected()), []

    @agent.tool
    def get_weather(ctx, city: str) -> str:
        seen.append(driving.call("get_weather", {"city": city}, ctx.tool_call_id))
        return "21 degrees"

    @agent.tool
    def list_cities(ctx) -> str:
        seen.append(driving.call("list_cities", {}, ctx.tool_call_id))
        return "Paris, Rome"

    get_weather.__annotations__.pop("ctx", None)
    if is_streamed:
        async with agent.run_stream(prompt) as result:
            assert [piece async for piece in result.stream_text(delta=True)]
    else:
        assert (await agent.run(prompt)).output
    return seen


async def streamed(prompt):
    return await called(prompt, is_streamed=True)


@check
async def plain():
    result = await Agent(connected()).run(driving.HELLO)
    return driving.text(result.output, usage_of(result))


@check
async def stream():
    async with Agent(connected()).run_stream(driving.HELLO) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        return driving.text("".join(pieces), usage_of(result), pieces=len(pieces))


@check
async def structured():
    return (await Agent(connected(), output_type=Person).run(driving.PERSON)).output.model_dump()


def over_responses(**more):
    client = AsyncOpenAI(base_url=driving.V1, api_key=driving.API_KEY, max_retries=0)
    return Agent(OpenAIResponsesModel(driving.MODEL, provider=OpenAIProvider(openai_client=client)), **more)


@check
async def responses():
    result = await over_responses().run(driving.HELLO)
    return driving.text(result.output, usage_of(result))


@check
async def streamed_responses():
    async with over_responses().run_stream(driving.HELLO) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        return driving.text("".join(pieces), usage_of(result), pieces=len(pieces))


@check
async def responses_structured():
    return (await over_responses(output_type=Person).run(driving.PERSON)).output.model_dump()


async def failing(prompt, *, model=driving.MODEL, key=driving.API_KEY):
    return await Agent(connected(model, key)).run(prompt)


driving.check_tools(called, streamed)
driving.check_failures(failing)
driving.main()
