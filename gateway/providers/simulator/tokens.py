"""Count tokens the simulator's way: four bytes of UTF-8 are one token, so counts, text and cuts agree. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.providers import shape

BYTES_PER_TOKEN = 4
MESSAGE_OVERHEAD_TOKENS = 4
IMAGE_TOKENS = 85
CACHE_BLOCK_TOKENS = 64

CACHED_MARK = "[[cached]]"
CACHE_WRITE_MARK = "[[cache-write]]"


def count(text: str) -> int:
    """Return the number of tokens of a text, rounded up; 0 for the empty text."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def cut(text: str, limit: int) -> str:
    """Return the longest beginning of a text that has at most `limit` tokens."""
    return text.encode("utf-8", "surrogatepass")[: limit * BYTES_PER_TOKEN].decode("utf-8", "ignore")


def of_message(message: Mapping[str, Any]) -> int:
    """Return the tokens of one message: its text, its tool calls, its images."""
    content = message.get("content")
    total = MESSAGE_OVERHEAD_TOKENS + count(shape.content_text(content))
    if isinstance(content, list):
        total += IMAGE_TOKENS * sum(isinstance(part, dict) and part.get("type") == "image_url" for part in content)
    if message.get("tool_calls"):
        total += count(orjson.dumps(message["tool_calls"]).decode())
    return total


def of_prompt(body: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return (input tokens, of these read from the cache, of these written to it).

    The simulator keeps no state, so a prompt says itself what is cached: the messages up to and including the last
    one that holds `[[cached]]` are read from the cache, those up to `[[cache-write]]` or a `cache_control` block are
    written to it.     Cached parts come in whole blocks of 64 tokens.
    """
    total = count(orjson.dumps(body["tools"]).decode()) if body.get("tools") else 0
    read_to = written_to = 0
    for message in body.get("messages") or ():
        if not isinstance(message, dict):
            continue
        total += of_message(message)
        text = shape.content_text(message.get("content"))
        if CACHED_MARK in text:
            read_to = total
        if CACHE_WRITE_MARK in text or _has_cache_control(message.get("content")):
            written_to = total
    read = read_to - read_to % CACHE_BLOCK_TOKENS
    written = max(0, written_to - written_to % CACHE_BLOCK_TOKENS - read)
    return total, read, written


def _has_cache_control(content: object) -> bool:
    return isinstance(content, list) and any(isinstance(part, dict) and part.get("cache_control") for part in content)
