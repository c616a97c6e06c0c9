"""What the embedding adapters share: the answer, and what is refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway import errors
from gateway.providers import failures
from gateway.providers.protocol import Completion, Endpoint, ProviderError, StreamReader, Usage

Json = dict[str, Any]


class Vectors(Completion):
    """A list of vectors in the order of the inputs, each as its provider sent it: numbers, or base64 of float32."""

    __slots__ = ("vectors",)

    def __init__(self, vectors: list[list[float] | str], usage: Usage) -> None:
        super().__init__({"choices": []}, usage, "", "")
        self.vectors = vectors


class EmbeddingAdapter:
    """The part that does not differ."""

    def stream(self, *, endpoint: Endpoint, chunk_id: str, created: int, keeps_native: bool = False) -> StreamReader:
        """Raise: vectors are not streamed."""
        raise errors.InvalidRequest("Embeddings are not streamed.", param="stream")

    def error(self, status: int, headers: Mapping[str, str], body: bytes, *, endpoint: Endpoint) -> ProviderError:
        """Classify a non-2xx answer."""
        return failures.classify(status=status, headers=headers, body=body, endpoint=endpoint)


def decode(body: bytes, *, endpoint: Endpoint) -> Json:
    """Return an answer's JSON object. Raises `UpstreamGarbage`."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise garbage(endpoint)
    return answer


def garbage(endpoint: Endpoint) -> errors.UpstreamGarbage:
    """Return the error of an answer that holds no vectors."""
    return errors.UpstreamGarbage(
        "The provider's answer holds no vectors that can be read.", provider=endpoint.provider
    )


def is_vector(value: Any) -> bool:
    """Return whether a value is a vector as a provider sends it. Its first number speaks for the others."""
    return (isinstance(value, str) and bool(value)) or (
        isinstance(value, list) and bool(value) and type(value[0]) in (float, int)
    )
