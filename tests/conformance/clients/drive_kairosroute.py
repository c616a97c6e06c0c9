"""The PyPI client `kairosroute` 0.1.0, unchanged: `/api/v1`, `kr-auto`, status 200 and nothing else."""

from __future__ import annotations

import driving
from driving import check
from kairosroute import KairosRoute

client = KairosRoute(api_key=driving.API_KEY, base_url=driving.API_V1, max_retries=1)


def ask(prompt, *, key=driving.API_KEY, **more):
    asked = client if key == driving.API_KEY else KairosRoute(api_key=key, base_url=driving.API_V1, max_retries=1)
    return asked.chat.completions.create(messages=driving.said(prompt), **more)


def usage_of(answer):
    return answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]


def called(prompt):
    answer = ask(prompt, model=driving.MODEL, tools=driving.TOOLS)
    calls = answer["choices"][0]["message"]["tool_calls"]
    return [driving.call(one["function"]["name"], one["function"]["arguments"], one["id"]) for one in calls]


@check
def plain():
    answer = ask(driving.HELLO)  # its default model is kr-auto
    return driving.text(answer["choices"][0]["message"]["content"], usage_of(answer))


@check
def stream():
    chunks = list(ask(driving.HELLO, stream=True))
    pieces = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    pieces = [piece for piece in pieces if piece]
    return driving.text("".join(pieces), pieces=len(pieces))


@check
def streamed_usage():
    chunks = list(ask(driving.HELLO, stream=True, stream_options={"include_usage": True}))
    return driving.text("", usage_of(chunks[-1]))


@check
def cost():
    return ask(driving.HELLO)["usage"]["cost"]


@check
def models():
    return [model["id"] for model in client.models.list()["data"]]


@check
def embeddings():
    answer = client.embeddings.create(input=["one", "two"])  # its default model is kr-auto-embed
    return {
        "sizes": [len(one["embedding"]) for one in answer["data"]],
        "input_tokens": answer["usage"]["prompt_tokens"],
    }


@check
def completion():
    answer = client.completions.create(prompt=driving.HELLO)
    return driving.text(answer["choices"][0]["text"], usage_of(answer))


driving.check_tools(called)
driving.check_failures(ask)
driving.main()
