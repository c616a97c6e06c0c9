"""`:batchEmbedContents` of the Gemini protocol. Pure.

Wire format: Gemini API reference, "Embeddings", v1beta. Where an answer names no tokens its cost is not known, and the
record says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import orjson

from gateway import errors
from gateway.native import NativeRequest
from gateway.providers import authorization, quirks
from gateway.providers.embeddings.vectors import EmbeddingAdapter, Json, Vectors, decode, garbage, is_vector
from gateway.providers.protocol import Adapter, Endpoint, UpstreamRequest, Usage


class GeminiEmbeddings(EmbeddingAdapter):
    """The adapter of Gemini's embeddings."""

    name = "gemini_embeddings"

    def request(
        self,
        body: Mapping[str, Any],
        raw: bytes,
        *,
        endpoint: Endpoint,
        is_stream: bool,
        native: NativeRequest | None = None,
    ) -> UpstreamRequest:
        """Build the request. Raises `InvalidRequest` for tokens: Gemini embeds texts."""
        given = body["input"]
        texts = [given] if isinstance(given, str) else given
        if not all(isinstance(text, str) for text in texts):
            raise errors.InvalidRequest(
                f"{endpoint.model} takes texts: token numbers mean another thing to each model.", param="input"
            )
        requests: list[Json] = []
        for text in texts:
            one: Json = {
                "model": f"models/{endpoint.upstream_model}",
                "content": {"parts": [{"text": text}]},
            }
            if body.get("dimensions") is not None:
                one["outputDimensionality"] = body["dimensions"]
            requests.append(one)
        path = f"/models/{quote(endpoint.upstream_model, safe='')}:batchEmbedContents"
        chatting = replace(endpoint, protocol=quirks.GEMINI)
        headers = (("content-type", "application/json"), *authorization.headers(chatting))
        return UpstreamRequest(
            path, headers, orjson.dumps({"requests": requests}), ("user",) if body.get("user") else ()
        )

    def completion(self, body: bytes, *, endpoint: Endpoint) -> Vectors:
        """Read a whole answer. Raises `UpstreamGarbage`."""
        answer = decode(body, endpoint=endpoint)
        items = answer.get("embeddings")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise garbage(endpoint)
        vectors = [item.get("values") for item in items]
        if not vectors or not all(is_vector(vector) for vector in vectors):
            raise garbage(endpoint)
        counted = answer.get("usageMetadata")
        tokens = counted.get("promptTokenCount") if isinstance(counted, dict) else None
        if type(tokens) is not int or tokens < 0:
            return Vectors(vectors, Usage(is_reported=False))
        return Vectors(vectors, Usage(input_tokens=tokens))


ADAPTER: Adapter = GeminiEmbeddings()
