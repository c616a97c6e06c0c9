"""LiteLLM as a client: `openai/<model>` with our address, as a LiteLLM user would move to us."""

from __future__ import annotations

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a price list otherwise
os.environ["LITELLM_TELEMETRY"] = "False"

import driving
import litellm
from driving import check

litellm.suppress_debug_info = True


def ask(prompt, *, model=driving.MODEL, key=driving.API_KEY, **more):
    return litellm.completion(
        model=f"openai/{model}",
        api_base=driving.V1,
        api_key=key,
        messages=driving.said(prompt),
        max_retries=0,
        num_retries=0,
        **more,
    )


def calls_of(message):
    return [driving.call(one.function.name, one.function.arguments, one.id) for one in message.tool_calls]


def streamed(prompt):
    chunks = list(ask(prompt, tools=driving.TOOLS, stream=True))
    return calls_of(litellm.stream_chunk_builder(chunks).choices[0].message)


@check
def plain():
    answer = ask(driving.HELLO)
    return driving.text(answer.choices[0].message.content, (answer.usage.prompt_tokens, answer.usage.completion_tokens))


@check
def stream():
    pieces, usage = [], None
    for chunk in ask(driving.HELLO, stream=True, stream_options={"include_usage": True}):
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        usage = getattr(chunk, "usage", None) or usage
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
def cost():
    return ask(driving.HELLO).usage.cost


@check
def embeddings():
    answer = litellm.embedding(
        model=f"openai/{driving.EMBEDDING_MODEL}", api_base=driving.V1, api_key=driving.API_KEY, input=["one", "two"]
    )
    return {"sizes": [len(one["embedding"]) for one in answer.data], "input_tokens": answer.usage.prompt_tokens}


@check
def messages():
    answer = litellm.completion(
        model=f"anthropic/{driving.MODEL}",
        api_base=driving.GATEWAY_URL,
        api_key=driving.API_KEY,
        messages=driving.said(driving.HELLO),
        max_tokens=200,
        max_retries=0,
        num_retries=0,
    )
    return driving.text(answer.choices[0].message.content, (answer.usage.prompt_tokens, answer.usage.completion_tokens))


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


@check
def cut_stream():
    return driving.raised_by(lambda: list(ask(driving.TRUNCATED, stream=True)))


driving.main()
