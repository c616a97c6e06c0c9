"""Our answers against OpenAI's published OpenAPI document, where it lies beside the repository."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from llmock.pytest_plugin import LLMock

from tests.conformance.conftest import ROOT, Gateway
from tests.conformance.test_openai_python import ASK, HELLO, MODELS, WEATHER

DOCUMENT = ROOT.parent / "shared" / "data" / "openai" / "openapi.json"

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason=f"OpenAI's OpenAPI document is not at {DOCUMENT}")

Check = Callable[[str, Any], None]


@pytest.fixture(scope="module")
def check() -> Check:
    """Return a function that asserts that a value fits a named schema of the document."""
    document = _with_null_types(json.loads(DOCUMENT.read_text(encoding="utf-8")))

    def fits(name: str, value: Any) -> None:
        validator = Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})
        problems = [
            f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in validator.iter_errors(value)
        ]
        assert problems == []

    return fits


def post(gateway: Gateway, body: dict[str, Any], *, key: str | None = None) -> bytes:
    request = urllib.request.Request(
        f"{gateway.url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key or gateway.live_key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        body_bytes: bytes = answer.read()
    return body_bytes


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("with_tools", [False, True])
def test_a_completion_fits(gateway: Gateway, llmock: LLMock, check: Check, model: str, with_tools: bool) -> None:
    body: dict[str, Any] = {"model": model, "messages": ASK if with_tools else HELLO}
    if with_tools:
        body["tools"] = [WEATHER]

    answer = json.loads(post(gateway, body))

    check("CreateChatCompletionResponse", answer)
    message = answer["choices"][0]["message"]
    assert "logprobs" in answer["choices"][0]
    assert "refusal" in message
    assert message.get("tool_calls", "absent") is not None


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("with_tools", [False, True])
def test_every_chunk_of_a_stream_fits(
    gateway: Gateway, llmock: LLMock, check: Check, model: str, with_tools: bool
) -> None:
    body: dict[str, Any] = {"model": model, "messages": ASK if with_tools else HELLO, "stream": True}
    body["stream_options"] = {"include_usage": True}
    if with_tools:
        body["tools"] = [WEATHER]

    events = [line[6:] for line in post(gateway, body).split(b"\n") if line.startswith(b"data: ")]

    assert events[-1] == b"[DONE]"
    for event in events[:-1]:
        check("CreateChatCompletionStreamResponse", json.loads(event))


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_simulator_fits_too(gateway: Gateway, check: Check, is_stream: bool) -> None:
    body = {"model": MODELS[0], "messages": ASK, "tools": [WEATHER], "stream": is_stream}
    raw = post(gateway, body, key=gateway.test_key)

    if is_stream:
        for line in raw.split(b"\n"):
            if line.startswith(b"data: {"):
                check("CreateChatCompletionStreamResponse", json.loads(line[6:]))
    else:
        check("CreateChatCompletionResponse", json.loads(raw))


def test_the_list_of_models_fits(gateway: Gateway, check: Check) -> None:
    check("ListModelsResponse", gateway.get("/v1/models"))


def test_an_error_fits(gateway: Gateway, check: Check) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(gateway, {"model": "openai/no-such-model", "messages": HELLO})

    check("ErrorResponse", json.load(caught.value))


def _with_null_types(schema: Any) -> Any:
    """Return the document with OpenAPI 3.0's `nullable: true` as the `null` type that JSON Schema knows."""
    if isinstance(schema, list):
        return [_with_null_types(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _with_null_types(value) for name, value in schema.items() if name != "nullable"}
    if schema.get("nullable") is True:
        if isinstance(found.get("type"), str):
            found["type"] = [found["type"], "null"]
            if "enum" in found and None not in found["enum"]:
                found["enum"] = [*found["enum"], None]
        else:
            found = {"anyOf": [found, {"type": "null"}]}
    return found
