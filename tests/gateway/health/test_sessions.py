"""Which endpoint holds the cache of a conversation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from gateway.context import Attribution, ChatCall
from gateway.health.sessions import Sessions, key_of
from gateway.providers.protocol import Endpoint

HERE = Endpoint("openai/m", "openai", "m", "openai_chat", "http://a")


def call(content: str, *, session: str = "", **body: Any) -> ChatCall:
    raw = orjson.dumps({"model": "m", "messages": [{"role": "system", "content": content}], **body})
    return ChatCall(raw=raw, requested_model="m", attribution=Attribution(session=session))


def test_a_conversation_sits_where_it_was_served_until_its_cache_is_cold() -> None:
    sessions = Sessions()
    sessions.keep(b"k", HERE, 0.0, cached_tokens=900)
    seat = sessions.find(b"k", 599.0)
    assert seat is not None
    assert (seat.is_at(HERE), seat.cached_tokens) == (True, 900)
    assert sessions.find(b"k", 600.0) is None
    assert len(sessions) == 0


def test_another_credential_is_another_cache() -> None:
    sessions = Sessions()
    sessions.keep(b"k", HERE, 0.0, cached_tokens=0)
    seat = sessions.find(b"k", 1.0)
    assert seat is not None
    assert not seat.is_at(replace(HERE, credential_id="pc_1"))


def test_the_longest_unused_conversation_goes_first() -> None:
    sessions = Sessions(most=2)
    for key in (b"a", b"b", b"a", b"c"):
        sessions.keep(key, HERE, 0.0, cached_tokens=0)
    assert [sessions.find(key, 1.0) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_a_named_session_is_known_by_its_name_within_a_workspace() -> None:
    named = key_of(call("hi", session="s"), "ws_1", has_choice=False)
    assert named is not None
    assert named != key_of(call("hi", session="s"), "ws_2", has_choice=False)
    assert named != key_of(call("hi", session="t"), "ws_1", has_choice=False)


def test_a_long_beginning_is_known_by_its_digest_only() -> None:
    long = "You are a careful clerk. " * 400
    key = key_of(call(long), "ws_1", has_choice=True)
    assert key is not None
    assert b"clerk" not in key
    assert key == key_of(call(long, temperature=0.5, tools=[]), "ws_1", has_choice=True)
    assert key != key_of(call(long + "!"), "ws_1", has_choice=True)


def test_a_short_call_without_a_name_is_no_conversation() -> None:
    assert key_of(call("hi"), "ws_1", has_choice=True) is None
    assert key_of(call("You are a careful clerk. " * 400), "ws_1", has_choice=False) is None


def test_a_cache_key_is_a_name() -> None:
    key = key_of(call("hi", prompt_cache_key="mine"), "ws_1", has_choice=True)
    assert key is not None
    assert key == key_of(call("something else", prompt_cache_key="mine"), "ws_1", has_choice=True)
