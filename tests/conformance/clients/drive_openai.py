"""OpenAI's Python SDK in the development environment. `tests/conformance/test_openai_python.py` goes further."""

from __future__ import annotations

import driving
from driving import check
from openai import OpenAI
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def client(key=driving.API_KEY):
    return OpenAI(base_url=driving.V1, api_key=key, max_retries=0)


def ask(prompt, *, model=driving.MODEL, key=driving.API_KEY, **more):
    return client(key).chat.completions.create(model=model, messages=driving.said(prompt), **more)


def called(prompt):
    return driving.calls_of(ask(prompt, tools=driving.TOOLS).choices[0].message)


def streamed(prompt):
    asked = client().chat.completions.stream(model=driving.MODEL, messages=driving.said(prompt), tools=driving.TOOLS)
    with asked as stream:
        return driving.calls_of(stream.get_final_completion().choices[0].message)


@check
def plain():
    return driving.answered(ask(driving.HELLO))


@check
def stream():
    return driving.streamed_text(ask(driving.HELLO, stream=True, stream_options={"include_usage": True}))


@check
def structured():
    answer = client().chat.completions.parse(
        model=driving.MODEL, messages=driving.said(driving.PERSON), response_format=Person
    )
    return answer.choices[0].message.parsed.model_dump()


@check
def cost():
    return ask(driving.HELLO).usage.cost


@check
def models():
    return [model.id for model in client().models.list()]


@check
def embeddings():
    answer = client().embeddings.create(model=driving.EMBEDDING_MODEL, input=["one", "two"], dimensions=8)
    return {"sizes": [len(one.embedding) for one in answer.data], "input_tokens": answer.usage.prompt_tokens}


@check
def completion():
    answer = client().completions.create(model=driving.MODEL, prompt=driving.HELLO)
    return driving.text(answer.choices[0].text, (answer.usage.prompt_tokens, answer.usage.completion_tokens))


@check
def responses():
    answer = client().responses.create(model=driving.MODEL, input=driving.HELLO)
    return driving.text(answer.output_text, (answer.usage.input_tokens, answer.usage.output_tokens))


@check
def streamed_responses():
    with client().responses.stream(model=driving.MODEL, input=driving.HELLO) as events:
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
        usage = events.get_final_response().usage
    return driving.text("".join(pieces), (usage.input_tokens, usage.output_tokens), pieces=len(pieces))


@check
def responses_tools():
    tools = [{"type": "function", **one["function"]} for one in driving.TOOLS]
    answer = client().responses.create(model=driving.MODEL, input=driving.TWO_CALLS, tools=tools)
    return [driving.call(one.name, one.arguments, one.call_id) for one in answer.output if one.type == "function_call"]


@check
def bad_request():
    return driving.raised_by(lambda: client().chat.completions.create(model=driving.MODEL, messages="hello"))


@check
def cut_stream():
    return driving.raised_by(lambda: list(ask(driving.TRUNCATED, stream=True)))


driving.check_tools(called, streamed)
driving.check_failures(ask)
driving.main()
