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


def calls_of(message):
    return [driving.call(one.function.name, one.function.arguments, one.id) for one in message.tool_calls]


def streamed(prompt):
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
    for chunk in ask(driving.HELLO, stream=True, stream_options={"include_usage": True}):
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        usage = chunk.usage or usage
    return driving.text("".join(pieces), (usage.prompt_tokens, usage.completion_tokens), pieces=len(pieces))


@check
def tool():
    return calls_of(ask(driving.ONE_CALL, tools=driving.TOOLS).choices[0].message)


@check
def streamed_tool():
    return streamed(driving.ONE_CALL)


@check
def parallel_tools():
    return calls_of(ask(driving.TWO_CALLS, tools=driving.TOOLS).choices[0].message)


@check
def streamed_parallel_tools():
    return streamed(driving.TWO_CALLS)


@check
def tool_without_arguments():
    return calls_of(ask(driving.BARE_CALL, tools=driving.TOOLS).choices[0].message)


@check
def streamed_tool_without_arguments():
    return streamed(driving.BARE_CALL)


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


@check
def unauthorized():
    return driving.raised_by(lambda: ask(driving.HELLO, key=driving.WRONG_KEY))


@check
def unknown_model():
    return driving.raised_by(lambda: ask(driving.HELLO, model=driving.UNKNOWN_MODEL))


@check
def rate_limited():
    return driving.raised_by(lambda: ask(driving.RATE_LIMITED))


@check
def server_error():
    return driving.raised_by(lambda: ask(driving.BROKEN))


driving.main()
