"""LlamaIndex through `OpenAILike`: complete, chat, both streamed, and tool calls."""

from __future__ import annotations

import driving
from driving import check
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def connected(name=driving.MODEL, key=driving.API_KEY):
    return OpenAILike(
        model=name,
        api_base=driving.V1,
        api_key=key,
        is_chat_model=True,
        is_function_calling_model=True,
        should_use_structured_outputs=True,
        max_retries=0,
        additional_kwargs={"stream_options": {"include_usage": True}} if key == "streamed" else {},
    )


def get_weather(city: str) -> str:
    """The weather in a city."""
    return city


def list_cities() -> str:
    """The cities."""
    return ""


TOOLS = [FunctionTool.from_defaults(get_weather), FunctionTool.from_defaults(list_cities)]


def calls_of(llm, response):
    calls = llm.get_tool_calls_from_response(response)
    return [driving.call(one.tool_name, one.tool_kwargs, one.tool_id) for one in calls]


def asked(prompt):
    llm = connected()
    return calls_of(llm, llm.chat_with_tools(TOOLS, prompt, allow_parallel_tool_calls=True))


def streamed(prompt):
    llm = connected()
    return calls_of(llm, list(llm.stream_chat_with_tools(TOOLS, prompt, allow_parallel_tool_calls=True))[-1])


@check
def plain():
    answer = connected().chat([ChatMessage(role="user", content=driving.HELLO)])
    usage = answer.raw.usage
    return driving.text(answer.message.content, (usage.prompt_tokens, usage.completion_tokens))


@check
def completed():
    return driving.text(connected().complete(driving.HELLO).text)


@check
def stream():
    pieces = list(connected().stream_chat([ChatMessage(role="user", content=driving.HELLO)]))
    return driving.text(pieces[-1].message.content, pieces=len(pieces))


@check
def streamed_usage():
    messages = [ChatMessage(role="user", content=driving.HELLO)]
    pieces = list(connected().stream_chat(messages, stream_options={"include_usage": True}))
    usage = pieces[-1].raw.usage
    return driving.text("", (usage.prompt_tokens, usage.completion_tokens))


@check
def structured():
    return connected().as_structured_llm(Person).complete(driving.PERSON).raw.model_dump()


def completed_by(prompt, *, model=driving.MODEL, key=driving.API_KEY):
    return connected(model, key).complete(prompt)


driving.check_tools(asked, streamed)
driving.check_failures(completed_by)
driving.main()
