"""OpenRouter's Python SDK. It validates every answer against OpenRouter's own schema, field by field."""

from __future__ import annotations

import time

import driving
from driving import check
from openrouter import OpenRouter
from openrouter.errors import NotFoundResponseError

client = OpenRouter(api_key=driving.API_KEY, server_url=driving.API_V1)


def ask(prompt, **more):
    return client.chat.send(model=driving.MODEL, messages=driving.said(prompt), **more)


def calls_of(answer):
    return [
        driving.call(one.function.name, one.function.arguments, one.id) for one in answer.choices[0].message.tool_calls
    ]


def streamed_calls(prompt):
    parts = {}
    for chunk in ask(prompt, tools=driving.TOOLS, stream=True):
        for choice in chunk.choices:
            for one in choice.delta.tool_calls or ():
                known = parts.setdefault(one.index, ["", "", ""])
                known[0] += one.id or ""
                known[1] += one.function.name or ""
                known[2] += one.function.arguments or ""
    return [driving.call(name, arguments, call_id) for call_id, name, arguments in parts.values()]


@check
def plain():
    answer = ask(driving.HELLO)
    return driving.text(answer.choices[0].message.content, (answer.usage.prompt_tokens, answer.usage.completion_tokens))


@check
def stream():
    pieces, usage = [], None
    for chunk in ask(driving.HELLO, stream=True):
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        usage = chunk.usage or usage
    return driving.text("".join(pieces), (usage.prompt_tokens, usage.completion_tokens), pieces=len(pieces))


@check
def tool():
    return calls_of(ask(driving.ONE_CALL, tools=driving.TOOLS))


@check
def streamed_tool():
    return streamed_calls(driving.ONE_CALL)


@check
def parallel_tools():
    return calls_of(ask(driving.TWO_CALLS, tools=driving.TOOLS))


@check
def streamed_parallel_tools():
    return streamed_calls(driving.TWO_CALLS)


@check
def tool_without_arguments():
    return calls_of(ask(driving.BARE_CALL, tools=driving.TOOLS))


@check
def streamed_tool_without_arguments():
    return streamed_calls(driving.BARE_CALL)


@check
def structured():
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": driving.PERSON_SCHEMA, "strict": True}}
    return driving.json.loads(ask(driving.PERSON, response_format=wanted).choices[0].message.content)


@check
def cost():
    return ask(driving.HELLO).usage.cost


@check
def models():
    return [model.id for model in client.models.list().result.data]


@check
def embeddings():
    answer = client.embeddings.generate(model=driving.EMBEDDING_MODEL, input=["one", "two"], dimensions=8)
    return {"sizes": [len(one.embedding) for one in answer.data], "input_tokens": int(answer.usage.prompt_tokens)}


@check
def generation():
    answer = ask(driving.HELLO)
    for _ in range(100):
        try:
            found = client.generations.get_generation(id=answer.id).data
        except NotFoundResponseError:  # it is there as soon as the record is
            time.sleep(0.1)
        else:
            return {"input_tokens": found.tokens_prompt, "output_tokens": found.tokens_completion}
    raise AssertionError("no generation in ten seconds")


@check
def credits_used():
    return client.credits.get_credits().data.total_usage


@check
def current_key():
    return client.api_keys.get_current_key_metadata().data.label


@check
def unauthorized():
    stranger = OpenRouter(api_key=driving.WRONG_KEY, server_url=driving.API_V1)
    return driving.raised_by(lambda: stranger.chat.send(model=driving.MODEL, messages=driving.said(driving.HELLO)))


@check
def unknown_model():
    return driving.raised_by(
        lambda: client.chat.send(model=driving.UNKNOWN_MODEL, messages=driving.said(driving.HELLO))
    )


@check
def rate_limited():
    return driving.raised_by(lambda: ask(driving.RATE_LIMITED, retries=None))


@check
def server_error():
    return driving.raised_by(lambda: ask(driving.BROKEN, retries=None))


@check
def cut_stream_is_marked():
    # The SDK raises nothing: it hands on the chunk that says it, before the one with the usage.
    (chunk,) = [chunk for chunk in ask(driving.TRUNCATED, stream=True) if chunk.error]
    return {"finish": chunk.choices[0].finish_reason, "message": chunk.error.message}


driving.main()
