"""Portkey's SDK with its own key header, `x-portkey-api-key`, and its trace and metadata headers."""

from __future__ import annotations

import driving
from driving import check
from portkey_ai import Portkey


def client(key=driving.API_KEY):
    return Portkey(
        api_key=key, base_url=driving.V1, trace_id="conformance-trace", metadata={"_user": "alice", "team": "search"}
    )


def ask(prompt, *, model=driving.MODEL, key=driving.API_KEY, **more):
    return client(key).chat.completions.create(model=model, messages=driving.said(prompt), **more)


def called(prompt):
    return driving.calls_of(ask(prompt, tools=driving.TOOLS).choices[0].message)


def streamed(prompt):
    return driving.streamed_calls(ask(prompt, tools=driving.TOOLS, stream=True))


@check
def plain():
    return driving.answered(ask(driving.HELLO))


@check
def stream():
    return driving.streamed_text(ask(driving.HELLO, stream=True, stream_options={"include_usage": True}))


@check
def structured():
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": driving.PERSON_SCHEMA, "strict": True}}
    return driving.json.loads(ask(driving.PERSON, response_format=wanted).choices[0].message.content)


@check
def models():
    return [model.id for model in client().models.list().data]


@check
def embeddings():
    # Its own default is base64, which it hands on as it came.
    answer = client().embeddings.create(model=driving.EMBEDDING_MODEL, input=["one", "two"], encoding_format="float")
    return {"sizes": [len(one.embedding) for one in answer.data], "input_tokens": answer.usage.prompt_tokens}


@check
def completion():
    answer = client().completions.create(model=driving.MODEL, prompt=driving.HELLO)
    return driving.text(answer.choices[0].text, (answer.usage.prompt_tokens, answer.usage.completion_tokens))


@check
def responses():
    answer = client().responses.create(model=driving.MODEL, input=driving.HELLO)
    return driving.text(answer.output_text, (answer.usage.input_tokens, answer.usage.output_tokens))


driving.check_tools(called, streamed)
driving.check_failures(ask)
driving.main()
