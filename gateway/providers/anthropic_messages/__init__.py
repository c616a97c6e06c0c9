"""Anthropic's Messages protocol, spoken by Anthropic, Bedrock, Azure and Vertex for Claude. Pure.

Wire format: Anthropic API reference, "Create a Message" and "Streaming messages", version 2023-06-01.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway import native as natives
from gateway.native import NativeRequest
from gateway.providers import failures
from gateway.providers.anthropic_messages import native as passing
from gateway.providers.anthropic_messages import request as requests
from gateway.providers.anthropic_messages import response as responses
from gateway.providers.anthropic_messages.stream import MessageStreamReader
from gateway.providers.protocol import Adapter, Completion, Endpoint, ProviderError, StreamReader, UpstreamRequest


class AnthropicMessages:
    """The adapter of the Messages protocol."""

    name = "anthropic_messages"

    def request(
        self,
        body: Mapping[str, Any],
        raw: bytes,
        *,
        endpoint: Endpoint,
        is_stream: bool,
        native: NativeRequest | None = None,
    ) -> UpstreamRequest:
        """Build a Messages request: the client's own body, or one from the canonical. Raises `InvalidRequest`."""
        spoken = natives.of(native, self.name)
        if spoken is not None:
            return passing.build(spoken, endpoint=endpoint, is_stream=is_stream)
        return requests.build(body, endpoint=endpoint, is_stream=is_stream)

    def completion(self, body: bytes, *, endpoint: Endpoint) -> Completion:
        """Read a whole message. Raises `UpstreamGarbage`."""
        return responses.read(body, endpoint=endpoint)

    def stream(self, *, endpoint: Endpoint, chunk_id: str, created: int, keeps_native: bool = False) -> StreamReader:
        """Return a reader for a streamed message."""
        return MessageStreamReader(endpoint=endpoint, chunk_id=chunk_id, created=created, keeps_native=keeps_native)

    def error(self, status: int, headers: Mapping[str, str], body: bytes, *, endpoint: Endpoint) -> ProviderError:
        """Classify a non-2xx answer."""
        return failures.classify(status=status, headers=headers, body=body, endpoint=endpoint)


ADAPTER: Adapter = AnthropicMessages()
