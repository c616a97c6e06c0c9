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


def called(prompt):
    return driving.calls_of(ask(prompt, tools=driving.TOOLS).choices[0].message)


def streamed(prompt):
    chunks = list(ask(prompt, tools=driving.TOOLS, stream=True))
    return driving.calls_of(litellm.stream_chunk_builder(chunks).choices[0].message)


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
def cut_stream():
    return driving.raised_by(lambda: list(ask(driving.TRUNCATED, stream=True)))


driving.check_tools(called, streamed)
driving.check_failures(ask)
driving.main()
