"""The simulator over HTTP, driven by the clients of the three vendors."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import orjson
import pytest
import uvicorn
from django.core.management import CommandError, call_command
from google import genai
from google.genai import types

from gateway.catalog import loader
from gateway.management.simulator_server import Journal, SimulatorServer

_TOOL_SCHEMA = {"type": "object", "properties": {"input": {"type": "integer"}}, "required": ["input"]}


class _Running:
    def __init__(self, app: SimulatorServer) -> None:
        self.app = app
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="critical", lifespan="off", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve(sockets=[self._socket])))

    def __enter__(self) -> _Running:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            return orjson.loads(answer.read())

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        written = body if isinstance(body, bytes) else orjson.dumps(body)
        request = urllib.request.Request(self.url + path, data=written, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, orjson.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, orjson.loads(error.read())


@pytest.fixture(scope="module")
def server() -> Iterator[_Running]:
    with _Running(SimulatorServer(models=["gpt-5.4", "claude-haiku-5-5"], scale=0)) as running:
        yield running


@pytest.fixture
def openai_client(server: _Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(server: _Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def google_client(server: _Running) -> Iterator[genai.Client]:
    with genai.Client(
        api_key="any", http_options=types.HttpOptions(base_url=server.url, api_version="v1beta")
    ) as client:
        yield client


def test_openais_client_calls_and_streams(openai_client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Why is the sky blue?"}]
    whole = openai_client.chat.completions.create(model="gpt-5.4", messages=messages)
    stream = openai_client.chat.completions.create(
        model="gpt-5.4", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        == whole.choices[0].message.content
    )
    assert chunks[-1].usage == whole.usage


def test_openais_client_gets_typed_errors(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        openai_client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "[[fault:429 retry_after=7]]"}]
        )
    assert caught.value.response.headers["retry-after"] == "7"


def test_anthropics_client_calls_tools_and_streams(anthropic_client: anthropic.Anthropic) -> None:
    tools: Any = [
        {"name": "magic_function", "input_schema": _TOOL_SCHEMA},
        {"name": "list_rooms", "input_schema": {"type": "object"}},
    ]
    messages: Any = [{"role": "user", "content": "Call magic_function(3) and list_rooms."}]
    arguments: Any = {"model": "claude-haiku-5-5", "max_tokens": 500, "messages": messages, "tools": tools}
    whole = anthropic_client.messages.create(**arguments)
    assert whole.stop_reason == "tool_use"
    assert [(block.name, block.input) for block in whole.content if block.type == "tool_use"] == [
        ("magic_function", {"input": 3}),
        ("list_rooms", {}),
    ]
    with anthropic_client.messages.stream(**arguments) as stream:
        streamed = stream.get_final_message()
    assert streamed.content == whole.content
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.usage.input_tokens == whole.usage.input_tokens


def test_anthropics_client_reads_thinking_and_errors(anthropic_client: anthropic.Anthropic) -> None:
    with anthropic_client.messages.stream(
        model="claude-opus-5-5",
        max_tokens=4000,
        thinking={"type": "enabled", "budget_tokens": 2000},
        messages=[{"role": "user", "content": "Why?"}],
    ) as stream:
        first, second = stream.get_final_message().content
    assert first.type == "thinking"
    assert first.signature
    assert second.type == "text"
    with pytest.raises(anthropic.RateLimitError):
        anthropic_client.messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "[[fault:429]]"}]
        )


def test_googles_client_calls_tools_and_streams(google_client: genai.Client) -> None:
    declared = types.FunctionDeclaration(name="magic_function", parameters_json_schema=_TOOL_SCHEMA)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    whole = google_client.models.generate_content(
        model="gemini-3.8-flash", contents="magic_function(3)!", config=config
    )
    assert whole.function_calls
    assert whole.function_calls[0].args == {"input": 3}
    assert whole.candidates
    assert whole.candidates[0].content
    assert whole.candidates[0].content.parts
    assert whole.candidates[0].content.parts[0].thought_signature
    plain = google_client.models.generate_content(model="gemini-3.8-flash", contents="Why is the sky blue?")
    chunks = list(
        google_client.models.generate_content_stream(model="gemini-3.8-flash", contents="Why is the sky blue?")
    )
    assert "".join(chunk.text or "" for chunk in chunks) == plain.text
    assert chunks[-1].usage_metadata
    assert plain.usage_metadata
    assert chunks[-1].usage_metadata.total_token_count == plain.usage_metadata.total_token_count


def test_models_are_listed(openai_client: openai.OpenAI) -> None:
    assert [model.id for model in openai_client.models.list()] == ["claude-haiku-5-5", "gpt-5.4"]


def test_the_journal_tells_what_was_asked_and_how_it_ended(server: _Running) -> None:
    server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "Hi [[id:case-7]]"}]})
    entry = server.get("/_journal?limit=1")["entries"][-1]
    assert (entry["mark"], entry["model"], entry["is_stream"], entry["outcome"]) == ("case-7", "m", False, "ok")
    server.post(
        "/v1/messages", {"model": "c", "max_tokens": 9, "messages": [{"role": "user", "content": "[[fault:503]]"}]}
    )
    journal = server.get("/_journal?limit=1")
    assert (journal["entries"][-1]["protocol"], journal["entries"][-1]["outcome"]) == ("anthropic_messages", "503")
    assert journal["counts"]["503"] >= 1


def test_a_broken_connection_breaks(openai_client: openai.OpenAI, server: _Running) -> None:
    stream = openai_client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "More [[fault:disconnect after_chunks=2]]"}], stream=True
    )
    with pytest.raises(Exception, match=r"peer closed|incomplete|disconnect|Connection"):
        list(stream)
    assert server.get("/_journal?limit=1")["entries"][-1]["outcome"] == "disconnect"


def test_a_client_that_leaves_is_noticed(server: _Running) -> None:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "[[fault:timeout]]"}]})
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        _until(server, "open")
    _until(server, "client_gone")


def _until(server: _Running, outcome: str) -> None:
    deadline = time.monotonic() + 5
    while server.get("/_journal?limit=1")["entries"][-1]["outcome"] != outcome:
        assert time.monotonic() < deadline, f"the journal never said {outcome}"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", b'{"messages":7}', 400),
        ("/v1/messages", b'{"messages":[7]}', 400),
        ("/v1/messages", b"", 400),
        ("/v1beta/models/g:generateContent", b'{"contents":[7]}', 400),
        ("/v1/nothing", b"{}", 404),
        ("/v1beta/models/g:countTokens", b"{}", 404),
    ],
)
def test_bad_requests_get_errors_of_their_protocol(server: _Running, path: str, body: bytes, status: int) -> None:
    answered, error = server.post(path, body)
    assert answered == status
    assert error["error"]["message"]


def test_a_required_key_is_required_in_every_protocols_header() -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "contents": []}
    with _Running(SimulatorServer(required_key="right", scale=0)) as server:
        for path, name, prefix in (
            ("/v1/chat/completions", "authorization", "Bearer "),
            ("/v1/messages", "x-api-key", ""),
            ("/v1beta/models/g:generateContent", "x-goog-api-key", ""),
        ):
            assert server.post(path, body, **{name: f"{prefix}right"})[0] == 200
            assert server.post(path, body, **{name: f"{prefix}wrong"})[0] == 401
            assert server.post(path, body)[0] == 401
        assert server.get("/_journal")["total"] == 3
        with pytest.raises(urllib.error.HTTPError, match="401"):
            server.get("/v1/models")


def test_the_journal_is_bounded_and_still_counts() -> None:
    journal = Journal(limit=2)
    for number in range(5):
        journal.close(journal.open(number=number), "ok")
    report = journal.report(limit=10)
    assert [entry["number"] for entry in report["entries"]] == [3, 4]
    assert (report["total"], report["counts"]) == (5, {"ok": 5})


def test_the_command_serves_the_catalogs_models_until_it_is_told_to_stop() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "manage.py", "simulator", "--port", str(port), "--scale", "0"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5) as answer:
                        listed = [model["id"] for model in orjson.loads(answer.read())["data"]]
                    break
                except urllib.error.URLError:
                    assert process.poll() is None, "the command ended by itself"
                    assert time.monotonic() < deadline, "the command did not begin to serve"
                    time.sleep(0.05)
        finally:
            process.terminate()
        assert process.wait(timeout=20) in (0, -15)
    assert {model.upstream for model in loader.load_catalog()} == set(listed)


def test_the_command_refuses_a_negative_scale() -> None:
    with pytest.raises(CommandError, match="scale"):
        call_command("simulator", scale=-1.0)
