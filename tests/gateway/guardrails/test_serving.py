"""Guardrails on calls that are served: what is refused, and what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from accounts.encryption import Keyring
from analytics.events import RequestContent
from analytics.spool import read_segment
from gateway.context import GuardrailSnapshot
from tests.factories.calls import make_key
from tests.gateway.rig import ANSWER, ASKED, STREAMED, answering, ask, chunk, chunked, http, running

MAIL = {"messages": [{"role": "user", "content": "I am ann@acme.com"}]}
CLEAN = {"messages": [{"role": "user", "content": "hi"}]}


async def test_a_call_that_holds_what_is_kept_back_never_leaves(tmp_path: Path, has_lane: bool) -> None:
    key = make_key(guardrails=GuardrailSnapshot(blocked=frozenset({"email", "card"})))
    async with running(tmp_path, answering(http(200, orjson.dumps(ANSWER))), has_lane=has_lane, key=key) as gateway:
        await ask(gateway, ASKED)
        (refused,) = await ask(gateway, {**ASKED, **MAIL})
        records = gateway.records()
    assert refused.status == 403
    error = refused.json()["error"]
    assert error["code"] == "guardrail_blocked"
    assert error["metadata"]["categories"] == ["email"]
    assert b"ann@" not in refused.body
    assert [(record.http_status, record.attempts) for record in records] == [(200, 1), (403, 0)]


@pytest.mark.parametrize("is_stream", [False, True])
async def test_what_is_stored_is_redacted_however_it_was_cut_into_chunks(tmp_path: Path, is_stream: bool) -> None:
    key = make_key(stores_content=True, guardrails=GuardrailSnapshot(redacted=frozenset({"email"})))
    message = {"role": "assistant", "content": "Hello bob@acme.com!", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    whole = http(200, orjson.dumps({**ANSWER, "choices": [choice]}))
    stream = chunked(
        chunk({"role": "assistant", "content": "Hello bob"}),
        chunk({"content": "@ac"}),
        chunk({"content": "me.com!"}),
        chunk({}, "stop"),
        b"data: [DONE]\n\n",
    )
    body: dict[str, Any] = {**(STREAMED if is_stream else ASKED), **MAIL}
    async with running(tmp_path, answering(stream if is_stream else whole), has_lane=True, key=key) as gateway:
        (reply,) = await ask(gateway, body)
        gateway.records()
        (content,) = [
            Keyring.from_settings("", "secret").decrypt(line)
            for path in (tmp_path / "spool").glob("*.sealed")
            for line in read_segment(path.read_bytes()).lines("C")
        ]
    assert b"me.com!" in reply.body  # the client gets what was said
    stored = msgspec.json.decode(content, type=RequestContent)
    assert orjson.loads(stored.request) == [{"role": "user", "content": "I am [email]"}]
    assert orjson.loads(stored.response)["content"] == "Hello [email]!"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["fine", "I am ann@acme.com"]}),
        ("/v1/completions", {"model": "gpt-4o-mini", "prompt": "I am ann@acme.com"}),
        ("/v1/responses", {"model": "gpt-4o-mini", "input": "I am ann@acme.com"}),
        ("/v1/messages", {"model": "gpt-4o-mini", "max_tokens": 9, **MAIL}),
        ("/v1/messages", {"model": "gpt-4o-mini", "max_tokens": 9, "system": "I am ann@acme.com", **CLEAN}),
    ],
)
async def test_every_door_keeps_it_back(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    key = make_key(guardrails=GuardrailSnapshot(blocked=frozenset({"email"})))
    async with running(tmp_path, answering(http(500, b"{}")), has_lane=True, key=key) as gateway:
        (refused,) = await ask(gateway, body, path=path)
    assert refused.status == 403
    assert b"guardrails" in refused.body
    assert gateway.provider_hits == []


@pytest.mark.parametrize("model", ["text-embedding-3-small", "kr-auto-embed"])
async def test_embeddings_go_where_the_workspace_allows(tmp_path: Path, model: str) -> None:
    key = make_key(guardrails=GuardrailSnapshot(allow_list=((), ("google",))))
    async with running(tmp_path, answering(http(500, b"{}")), has_lane=True, key=key) as gateway:
        (refused,) = await ask(gateway, {"model": model, "input": "hi"}, path="/v1/embeddings")
    assert refused.status == 403
    assert refused.json()["error"]["code"] == "model_not_allowed"
