"""Anthropic's Python SDK against `/v1/messages`, in the development environment."""

from __future__ import annotations

import driving
from anthropic import Anthropic
from driving import check
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


TOOLS = [{"name": one["function"]["name"], "input_schema": one["function"]["parameters"]} for one in driving.TOOLS]


def client(key=driving.API_KEY):
    return Anthropic(base_url=driving.GATEWAY_URL, api_key=key, max_retries=0)


def ask(prompt, *, model=driving.MODEL, key=driving.API_KEY, **more):
    return client(key).messages.create(model=model, max_tokens=400, messages=driving.said(prompt), **more)


def streaming(prompt, **more):
    return client().messages.stream(model=driving.MODEL, max_tokens=400, messages=driving.said(prompt), **more)


def usage_of(message):
    return message.usage.input_tokens, message.usage.output_tokens


def calls_of(message):
    assert message.stop_reason == "tool_use"
    return [driving.call(block.name, block.input, block.id) for block in message.content if block.type == "tool_use"]


def called(prompt):
    return calls_of(ask(prompt, tools=TOOLS))


def streamed(prompt):
    with streaming(prompt, tools=TOOLS) as stream:
        return calls_of(stream.get_final_message())


@check
def plain():
    message = ask(driving.HELLO)
    return driving.text(message.content[0].text, usage_of(message))


@check
def stream():
    with streaming(driving.HELLO) as events:
        pieces = list(events.text_stream)
        return driving.text("".join(pieces), usage_of(events.get_final_message()), pieces=len(pieces))


@check
def structured():
    return (
        client()
        .messages.parse(
            model=driving.MODEL, max_tokens=400, messages=driving.said(driving.PERSON), output_format=Person
        )
        .parsed_output.model_dump()
    )


@check
def counted():
    counts = client().messages.count_tokens(model=driving.MODEL, messages=driving.said(driving.HELLO))
    return {"input_tokens": counts.input_tokens, "output_tokens": 1}


@check
def bad_request():
    return driving.raised_by(lambda: client().messages.create(model=driving.MODEL, max_tokens=10, messages="hello"))


@check
def cut_stream():
    def read():
        with streaming(driving.TRUNCATED) as events:
            list(events.text_stream)

    return driving.raised_by(read)


driving.check_tools(called, streamed)
driving.check_failures(ask)
driving.main()
