"""What a wire protocol must be able to do: translate one chat call to a provider and its answer back.

The canonical form on our side is OpenAI's chat completion (request body, completion object, stream chunk).
Pure: an adapter builds and reads bytes; sockets belong to `gateway.upstream`, the simulator included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import orjson

from analytics.request_log import MANAGED
from gateway.native import NativeAnswer, NativeEvents, NativeRequest

GUARDED = "guarded+"  # begins a base URL that a customer named
REQUEST = "request"  # the credential's id of a key that came with the call


class Usage(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Tokens by class as the provider reported them. `input_tokens` includes the cached ones, `output_tokens` the
    reasoning ones.

    `input_tokens` also includes `cache_write_tokens`, and those include `cache_write_1h_tokens`.

    `is_reported` is False where the provider sent no usage and the numbers are an estimate or zero.
    """

    input_tokens: int = 0
    cached_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    is_reported: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model at a provider: where a call can go. `base_url` has no trailing slash; `api_key` never reaches a log.

    A `base_url` that a customer named begins with `guarded+`: `gateway.upstream` checks the address that it leads to.
    """

    model: str  # our name, vendor/model
    provider: str  # our provider name: openai, anthropic, google, ...
    upstream_model: str  # the provider's name for it
    protocol: str  # openai_chat, anthropic_messages, gemini
    base_url: str
    api_key: str = field(repr=False, default="")
    is_simulated: bool = False
    key_source: str = MANAGED  # whose key: managed is the operator's, byok the customer's
    credential_id: str = ""  # which of the customer's; `request` for one that came with the call
    credential_label: str = ""
    stands_in_for: str = ""  # the customer's key after which the operator's is tried

    @property
    def noted_credential_id(self) -> str:
        """What the record names: the customer's key, or on the operator's the one whose call it took over."""
        return self.credential_id or self.stands_in_for


class UpstreamRequest(msgspec.Struct, frozen=True, gc=False):
    """What goes to the provider. `dropped_params` names top-level request fields that the protocol cannot carry."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    dropped_params: tuple[str, ...] = ()


class Completion:
    """A whole answer in the canonical form.

    `body` is an OpenAI chat.completion object, complete as conformance wants it: `system_fingerprint` a string,
    `logprobs` and `refusal` present, no `tool_calls: null`, `"{}"` for tools without arguments, `usage` in OpenAI's
    shape. `message` is the first choice's. `native` is the answer as it came, where the protocol keeps it.
    """

    __slots__ = ("_body", "finish_reason", "native", "native_finish_reason", "service_tier", "usage")

    def __init__(
        self,
        body: dict[str, Any],
        usage: Usage,
        finish_reason: str,
        native_finish_reason: str,
        service_tier: str = "",
        native: NativeAnswer | None = None,
    ) -> None:
        self._body: dict[str, Any] | None = body
        self.usage = usage
        self.finish_reason = finish_reason
        self.native_finish_reason = native_finish_reason
        self.service_tier = service_tier
        self.native = native

    @property
    def body(self) -> dict[str, Any]:
        assert self._body is not None
        return self._body

    @property
    def message(self) -> Mapping[str, Any]:
        choices = self.body["choices"]
        return choices[0]["message"] if choices else {}

    def answer(
        self,
        *,
        provider: str,
        cost_usd: float | None,
        is_byok: bool,
        x_kairosroute: Mapping[str, Any],
        cost_details: Mapping[str, Any] | None = None,
        answer_id: str = "",
    ) -> bytes:
        """Return the answer as JSON with its provider, its cost and the receipt in short, where there is one.

        An unknown cost is left out of the usage: OpenRouter's clients refuse a null there. `answer_id` takes the place
        of the provider's own id.
        """
        if answer_id:
            self.body["id"] = answer_id
        usage = self.body.get("usage")
        if usage is not None:
            usage.pop("cost", None)  # what a provider says of its own prices
            if cost_usd is not None:
                usage["cost"] = cost_usd
            usage["is_byok"] = is_byok
            if cost_details is not None:
                usage["cost_details"] = cost_details
        if self.body.get("provider") != "simulator":
            self.body["provider"] = provider
        if x_kairosroute:
            self.body["x_kairosroute"] = x_kairosroute
        return orjson.dumps(self.body)


@dataclass(frozen=True, slots=True)
class ProviderError:
    """A provider's refusal, classified. `error_class` is one of gateway.errors' class names for upstream failures;
    `message` is safe to show: it holds no key, at most 500 characters."""

    status: int  # the status to give to our client
    error_class: str
    message: str
    code: str | None = None
    retry_after_s: float | None = None
    is_retryable: bool = False


class StreamReader(Protocol):
    """Reads one provider stream and yields canonical SSE payloads.

    `feed` takes bytes as they arrive, split anywhere, and yields complete SSE events ready to send
    (`b"data: {...}\\n\\n"`), never the usage chunk and never `[DONE]`: the pipeline sends both, after settlement.
    The attributes hold what has been seen so far; after the body ended, an empty `finish_reason` means that the stream
    was cut.
    """

    usage: Usage | None
    finish_reason: str
    native_finish_reason: str
    service_tier: str
    error: ProviderError | None  # an error event inside the stream
    has_output: bool  # a first real output token (text, reasoning, tool call) was yielded
    is_done: bool  # the protocol's own end marker was seen
    garbage_lines: int
    native: NativeEvents | None  # the events as they came, where they were asked for

    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> Iterator[bytes]:
        """Yield what is still held back once the body has ended (e.g. `"{}"` for a tool without arguments)."""
        ...


class Adapter(Protocol):
    """One wire protocol. Stateless; one instance serves all endpoints of the protocol."""

    name: str

    def request(
        self,
        body: Mapping[str, Any],
        raw: bytes,
        *,
        endpoint: Endpoint,
        is_stream: bool,
        native: NativeRequest | None = None,
    ) -> UpstreamRequest:
        """Build the provider's request: from `native` where it is in this protocol, else from the canonical body.

        Raises `gateway.errors.InvalidRequest` for what cannot be said there."""
        ...

    def completion(self, body: bytes, *, endpoint: Endpoint) -> Completion:
        """Read a whole 2xx answer. Raises `gateway.errors.UpstreamGarbage` when it is not one."""
        ...

    def stream(self, *, endpoint: Endpoint, chunk_id: str, created: int, keeps_native: bool = False) -> StreamReader:
        """Return a reader for a streamed answer. `keeps_native`: the events are wanted as they come, too."""
        ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes, *, endpoint: Endpoint) -> ProviderError:
        """Classify a non-2xx answer (or an error object found in a stream)."""
        ...
