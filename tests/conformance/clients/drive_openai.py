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


def calls_of(message):
    return [driving.call(one.function.name, one.function.arguments, one.id) for one in message.tool_calls]


def called(prompt):
    return calls_of(ask(prompt, tools=driving.TOOLS).choices[0].message)


def streamed(prompt):
    asked = client().chat.completions.stream(model=driving.MODEL, messages=driving.said(prompt), tools=driving.TOOLS)
    with asked as stream:
        return calls_of(stream.get_final_completion().choices[0].message)


@check
def plain():
    answer = ask(driving.HELLO)
    return driving.text(answer.choices[0].message.content, (answer.usage.prompt_tokens, answer.usage.completion_tokens))


@check
def stream():
    pieces, usage = [], None
    for chunk in ask(driving.HELLO, stream=True, stream_options={"include_usage": True}):
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        usage = chunk.usage
    return driving.text("".join(pieces), (usage.prompt_tokens, usage.completion_tokens), pieces=len(pieces))


@check
def tool():
    return called(driving.ONE_CALL)


@check
def streamed_tool():
    return streamed(driving.ONE_CALL)


@check
def parallel_tools():
    return called(driving.TWO_CALLS)


@check
def streamed_parallel_tools():
    return streamed(driving.TWO_CALLS)


@check
def tool_without_arguments():
    return called(driving.BARE_CALL)


@check
def streamed_tool_without_arguments():
    return streamed(driving.BARE_CALL)


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
def unauthorized():
    return driving.raised_by(lambda: ask(driving.HELLO, key=driving.WRONG_KEY))


@check
def unknown_model():
    return driving.raised_by(lambda: ask(driving.HELLO, model=driving.UNKNOWN_MODEL))


@check
def bad_request():
    return driving.raised_by(lambda: client().chat.completions.create(model=driving.MODEL, messages="hello"))


@check
def rate_limited():
    return driving.raised_by(lambda: ask(driving.RATE_LIMITED))


@check
def server_error():
    return driving.raised_by(lambda: ask(driving.BROKEN))


@check
def cut_stream():
    return driving.raised_by(lambda: list(ask(driving.TRUNCATED, stream=True)))


driving.main()
