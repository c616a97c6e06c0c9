"""OpenRouter's Python SDK. It validates every answer against OpenRouter's own schema, field by field."""

from __future__ import annotations

import time

import driving
from driving import check
from openrouter import OpenRouter
from openrouter.errors import NotFoundResponseError

client = OpenRouter(api_key=driving.API_KEY, server_url=driving.API_V1)


def ask(prompt, *, model=driving.MODEL, key=driving.API_KEY, **more):
    asked = client if key == driving.API_KEY else OpenRouter(api_key=key, server_url=driving.API_V1)
    return asked.chat.send(model=model, messages=driving.said(prompt), retries=None, **more)


def called(prompt):
    return driving.calls_of(ask(prompt, tools=driving.TOOLS).choices[0].message)


def streamed(prompt):
    return driving.streamed_calls(ask(prompt, tools=driving.TOOLS, stream=True))


@check
def plain():
    return driving.answered(ask(driving.HELLO))


@check
def stream():
    return driving.streamed_text(ask(driving.HELLO, stream=True))


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
def cut_stream_is_marked():
    # The SDK raises nothing: it hands on the chunk that says it, before the one with the usage.
    (chunk,) = [chunk for chunk in ask(driving.TRUNCATED, stream=True) if chunk.error]
    return {"finish": chunk.choices[0].finish_reason, "message": chunk.error.message}


driving.check_tools(called, streamed)
driving.check_failures(ask)
driving.main()
