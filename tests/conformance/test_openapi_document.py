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
def document() -> dict[str, Any]:
    """OpenAI's document, in the words of JSON Schema."""
    read: dict[str, Any] = _with_null_types(json.loads(DOCUMENT.read_text(encoding="utf-8")))
    return read


@pytest.fixture(scope="module")
def check(document: dict[str, Any]) -> Check:
    """Return a function that asserts that a value fits a named schema of the document."""

    def fits(name: str, value: Any) -> None:
        validator = Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})
        problems = [
            f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in validator.iter_errors(value)
        ]
        assert problems == []

    return fits


@pytest.fixture(scope="module")
def event_schemas(document: dict[str, Any]) -> dict[str, str]:
    """The name of the schema of each type of event that a stream of a response may have."""
    schemas = document["components"]["schemas"]
    names = [option["$ref"].rpartition("/")[2] for option in schemas["ResponseStreamEvent"]["anyOf"]]
    return {kind: name for name in names for kind in schemas[name]["properties"]["type"]["enum"]}


def post(
    gateway: Gateway, body: dict[str, Any], *, key: str | None = None, path: str = "/v1/chat/completions"
) -> bytes:
    request = urllib.request.Request(
        f"{gateway.url}{path}",
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

    events = _events(post(gateway, body))

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


@pytest.mark.parametrize("model", MODELS)
def test_a_legacy_completion_fits(gateway: Gateway, llmock: LLMock, check: Check, model: str) -> None:
    answer = json.loads(post(gateway, {"model": model, "prompt": "Say hello."}, path="/v1/completions"))

    check("CreateCompletionResponse", answer)
    assert answer["choices"][0]["text"]


@pytest.mark.parametrize("model", MODELS)
def test_every_chunk_of_a_legacy_stream_fits(gateway: Gateway, llmock: LLMock, check: Check, model: str) -> None:
    body = {"model": model, "prompt": "Say hello.", "stream": True, "stream_options": {"include_usage": True}}
    events = _events(post(gateway, body, path="/v1/completions"))

    assert events[-1] == b"[DONE]"
    finished = 0
    for event in events[:-1]:
        chunk = json.loads(event)
        for choice in chunk["choices"]:
            finished += choice["finish_reason"] is not None
            # The document has one schema for whole and streamed answers and forgets that a stream is not finished yet.
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        check("CreateCompletionResponse", chunk)
    assert finished == 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("with_tools", [False, True])
def test_a_response_fits(gateway: Gateway, llmock: LLMock, check: Check, model: str, with_tools: bool) -> None:
    answer = json.loads(post(gateway, _response_body(model, with_tools=with_tools), path="/v1/responses"))

    check("Response", answer)
    assert answer["status"] == "completed"
    assert answer["output"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("with_tools", [False, True])
def test_every_event_of_a_streamed_response_fits(
    gateway: Gateway, llmock: LLMock, check: Check, event_schemas: dict[str, str], model: str, with_tools: bool
) -> None:
    body = {**_response_body(model, with_tools=with_tools), "stream": True}
    events = [json.loads(event) for event in _events(post(gateway, body, path="/v1/responses")) if event[:1] == b"{"]

    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        check(event_schemas[event["type"]], event)


def test_embeddings_fit(gateway: Gateway, llmock: LLMock, check: Check) -> None:
    body = {"model": "openai/text-embedding-3-small", "input": ["one", "two"]}
    for key in (gateway.live_key, gateway.test_key):
        answer = json.loads(post(gateway, body, path="/v1/embeddings", key=key))
        check("CreateEmbeddingResponse", answer)
        assert len(answer["data"]) == 2


def test_one_model_fits(gateway: Gateway, check: Check) -> None:
    check("Model", gateway.get(f"/v1/models/{MODELS[0]}"))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HELLO}),
        ("/v1/completions", {"prompt": "hello"}),
        ("/v1/responses", {"input": "hello"}),
        ("/v1/embeddings", {"input": "hello"}),
    ],
)
def test_an_error_fits(gateway: Gateway, check: Check, path: str, body: dict[str, Any]) -> None:
    for wrong in ({**body, "model": "openai/no-such-model"}, {"model": 7}, {}):
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(gateway, wrong, path=path)
        check("ErrorResponse", json.load(caught.value))


@pytest.mark.parametrize("path", ["/v1/models/openai/no-such-model", "/v1/no-such-path", "/v1/receipts/rcpt_1"])
def test_a_missing_thing_fits_too(gateway: Gateway, check: Check, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        gateway.get(path)
    assert caught.value.code in {400, 404}
    check("ErrorResponse", json.load(caught.value))


def _events(stream: bytes) -> list[bytes]:
    return [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: ")]


def _response_body(model: str, *, with_tools: bool) -> dict[str, Any]:
    if not with_tools:
        return {"model": model, "input": "Say hello."}
    function = {"strict": False, **WEATHER["function"]}
    return {"model": model, "input": ASK[0]["content"], "tools": [{"type": "function", **function}]}  # type: ignore[typeddict-item]


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
