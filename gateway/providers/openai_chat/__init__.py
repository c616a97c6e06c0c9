"""OpenAI's chat completions protocol: the hot path, and the form into which others are translated. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.native import NativeRequest
from gateway.providers import failures, quirks
from gateway.providers.openai_chat import passing
from gateway.providers.openai_chat import request as requests
from gateway.providers.openai_chat import response as responses
from gateway.providers.openai_chat.stream import ChatStreamReader
from gateway.providers.protocol import Adapter, Completion, Endpoint, ProviderError, StreamReader, UpstreamRequest


class OpenAIChat:
    """The adapter of all OpenAI-shaped providers; `quirks` says how each differs."""

    name = "openai_chat"

    def request(
        self,
        body: Mapping[str, Any],
        raw: bytes,
        *,
        endpoint: Endpoint,
        is_stream: bool,
        native: NativeRequest | None = None,
    ) -> UpstreamRequest:
        """Build the provider's request; for exact providers from the client's bytes. Raises `InvalidRequest`."""
        return requests.build(body, raw, endpoint=endpoint, is_stream=is_stream)

    def completion(self, body: bytes, *, endpoint: Endpoint) -> Completion:
        """Read a whole answer: passed through where it has the one shape already, else completed.

        Raises `UpstreamGarbage`.
        """
        passed = passing.read(body, endpoint=endpoint) if quirks.of(endpoint.provider).is_exact else None
        return passed if passed is not None else responses.read(body, endpoint=endpoint)

    def stream(self, *, endpoint: Endpoint, chunk_id: str, created: int, keeps_native: bool = False) -> StreamReader:
        """Return a reader for a streamed answer."""
        return ChatStreamReader(endpoint=endpoint, chunk_id=chunk_id, created=created)

    def error(self, status: int, headers: Mapping[str, str], body: bytes, *, endpoint: Endpoint) -> ProviderError:
        """Classify a non-2xx answer."""
        return failures.classify(status=status, headers=headers, body=body, endpoint=endpoint)


ADAPTER: Adapter = OpenAIChat()
