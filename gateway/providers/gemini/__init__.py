"""Google's Gemini protocol: generateContent and streamGenerateContent. Pure.

Wire format: Gemini API reference, "Generating content", v1beta.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.native import NativeRequest
from gateway.providers import failures
from gateway.providers.gemini import request as requests
from gateway.providers.gemini import response as responses
from gateway.providers.gemini.stream import ContentStreamReader
from gateway.providers.protocol import Adapter, Completion, Endpoint, ProviderError, StreamReader, UpstreamRequest


class Gemini:
    """The adapter of the Gemini protocol."""

    name = "gemini"

    def request(
        self,
        body: Mapping[str, Any],
        raw: bytes,
        *,
        endpoint: Endpoint,
        is_stream: bool,
        native: NativeRequest | None = None,
    ) -> UpstreamRequest:
        """Build a generateContent request from a canonical body. Raises `InvalidRequest`."""
        return requests.build(body, endpoint=endpoint, is_stream=is_stream)

    def completion(self, body: bytes, *, endpoint: Endpoint) -> Completion:
        """Read a whole answer. Raises `UpstreamGarbage`."""
        return responses.read(body, endpoint=endpoint)

    def stream(self, *, endpoint: Endpoint, chunk_id: str, created: int, keeps_native: bool = False) -> StreamReader:
        """Return a reader for a streamed answer."""
        return ContentStreamReader(endpoint=endpoint, chunk_id=chunk_id, created=created)

    def error(self, status: int, headers: Mapping[str, str], body: bytes, *, endpoint: Endpoint) -> ProviderError:
        """Classify a non-2xx answer."""
        return failures.classify(status=status, headers=headers, body=body, endpoint=endpoint)


ADAPTER: Adapter = Gemini()
