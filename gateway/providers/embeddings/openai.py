"""`POST /embeddings` in OpenAI's shape. Pure.

Wire format: OpenAI API reference, "Embeddings"; Voyage's names for the length of a vector: its API reference, "Text
embedding models".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from gateway import errors
from gateway.native import NativeRequest
from gateway.providers import authorization, quirks
from gateway.providers.embeddings.vectors import EmbeddingAdapter, Json, Vectors, decode, garbage, is_vector
from gateway.providers.protocol import Adapter, Endpoint, UpstreamRequest, Usage

# Providers that count tokens as OpenAI does: elsewhere the same numbers are other words.
_TAKE_TOKENS = frozenset({"openai", "azure", "simulator"})
# Providers that send vectors as base64 where they are asked to.
_SEND_BASE64 = frozenset({"openai", "azure"})
_TAKE_USER = frozenset({"openai", "azure", "simulator"})
_LENGTH_NAMES = {"voyage": "output_dimension", "mistralai": "output_dimension"}


class OpenAIEmbeddings(EmbeddingAdapter):
    """The adapter of OpenAI's embeddings."""

    name = "openai_embeddings"

    def request(
        self,
        body: Mapping[str, Any],
        raw: bytes,
        *,
        endpoint: Endpoint,
        is_stream: bool,
        native: NativeRequest | None = None,
    ) -> UpstreamRequest:
        """Build the request. Raises `InvalidRequest` for tokens of another provider's alphabet."""
        provider = endpoint.provider
        given = body["input"]
        if _holds_tokens(given) and provider not in _TAKE_TOKENS:
            raise errors.InvalidRequest(
                f"{endpoint.model} takes texts: token numbers mean another thing to each model.", param="input"
            )
        made: Json = {"model": endpoint.upstream_model, "input": given}
        if body.get("dimensions") is not None:
            made[_LENGTH_NAMES.get(provider, "dimensions")] = body["dimensions"]
        if body.get("encoding_format") == "base64" and provider in _SEND_BASE64:
            made["encoding_format"] = "base64"
        dropped: tuple[str, ...] = ()
        if body.get("user"):
            if provider in _TAKE_USER:
                made["user"] = body["user"]
            else:
                dropped = ("user",)
        chatting = replace(endpoint, protocol=quirks.OPENAI_CHAT)
        headers = (("content-type", "application/json"), *authorization.headers(chatting))
        return UpstreamRequest("/embeddings", headers, orjson.dumps(made), dropped)

    def completion(self, body: bytes, *, endpoint: Endpoint) -> Vectors:
        """Read a whole answer. Raises `UpstreamGarbage`."""
        answer = decode(body, endpoint=endpoint)
        items = answer.get("data")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise garbage(endpoint)
        if all(isinstance(item.get("index"), int) for item in items):
            items = sorted(items, key=lambda item: item["index"])
        vectors = [item.get("embedding") for item in items]
        if not vectors or not all(is_vector(vector) for vector in vectors):
            raise garbage(endpoint)
        return Vectors(vectors, _usage(answer.get("usage")))


def _usage(usage: Any) -> Usage:
    """Return the tokens; some providers name the total only, which is the same here."""
    tokens = None
    if isinstance(usage, dict):
        tokens = usage.get("prompt_tokens")
        if tokens is None:
            tokens = usage.get("total_tokens")
    if type(tokens) is not int or tokens < 0:
        return Usage(is_reported=False)
    return Usage(input_tokens=tokens)


def _holds_tokens(given: Any) -> bool:
    return isinstance(given, list) and not isinstance(given[0], str)


ADAPTER: Adapter = OpenAIEmbeddings()
