"""OpenAI's own dialect, which is the canonical form, and OpenRouter's, which differs in its error codes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from gateway import errors, sse
from gateway.context import ChatCall
from gateway.dialects import chat_body
from gateway.dialects.protocol import Dialect, Facts, StreamWriter
from gateway.native import NativeEvents
from gateway.providers import quirks
from gateway.providers.protocol import Completion


class OpenAI:
    """`/v1`: bodies and events go through as they are."""

    name = "openai"
    is_passed_through = True

    def parse(self, raw: bytes, headers: Mapping[bytes, bytes], *, is_test: bool) -> ChatCall:
        """Return the call; see `chat_body.parse_chat`."""
        return chat_body.parse_chat(raw, headers, is_test=is_test, dialect=self.name)

    def answer(self, call: ChatCall, completion: Completion, facts: Facts) -> bytes:
        """Return the canonical answer with our additions."""
        said = completion.answer(
            provider=facts.provider,
            cost_usd=facts.cost_usd,
            is_byok=facts.is_byok,
            x_kairosroute=facts.x_kairosroute,
        )
        return _with_extras(said, facts)

    def writer(self, call: ChatCall, facts: Facts, native: NativeEvents | None = None) -> StreamWriter:
        """Return a writer that lets events through."""
        return _Writer(call, self)

    def error(self, error: errors.GatewayError, request_id: str) -> bytes:
        """Return OpenAI's error object."""
        return error.body(request_id)

    def status(self, error: errors.GatewayError) -> int:
        """Return the error's own status."""
        return error.http_status

    def headers(self, request_id: str) -> bytes:
        """Return none."""
        return b""


class OpenRouter(OpenAI):
    """`/api/v1`: what OpenRouter's clients read is as OpenRouter has it: integer `error.code`, providers' display
    names, `usage.cost_details`, for the customer's own keys a cost of 0 with the provider's price beside it, and an
    `id` that `GET /generation` knows."""

    name = "openrouter"
    is_passed_through = False

    def answer(self, call: ChatCall, completion: Completion, facts: Facts) -> bytes:
        """Return the canonical answer with OpenRouter's additions and ours."""
        said = completion.answer(
            provider=_title(facts.provider),
            cost_usd=_charged_usd(facts.cost_usd, is_byok=facts.is_byok),
            is_byok=facts.is_byok,
            x_kairosroute=facts.x_kairosroute,
            cost_details=_cost_details(facts),
            answer_id=facts.answer_id,  # its clients ask `/generation` for it
        )
        return _with_extras(_with_id(said, facts.answer_id), facts)

    def writer(self, call: ChatCall, facts: Facts, native: NativeEvents | None = None) -> StreamWriter:
        """Return a writer that gives providers their display names."""
        return _OpenRouterWriter(call, self, facts)

    def error(self, error: errors.GatewayError, request_id: str) -> bytes:
        """Return OpenRouter's error object; our code stands in `metadata.code`."""
        body = orjson.loads(error.body(request_id))
        told = body["error"]
        metadata = told["metadata"]
        metadata["code"] = told["code"]
        is_of_provider = isinstance(error, errors.UpstreamFailed)
        metadata["provider_name"] = _title(error.provider) if error.provider else None
        metadata["provider_code"] = error.code if is_of_provider and error.code != error.default_code else None
        metadata["raw"] = error.message if is_of_provider else None
        if not error.keeps_code:
            told["code"] = error.http_status
        return orjson.dumps(body)


def _with_extras(said: bytes, facts: Facts) -> bytes:
    """Return a JSON object with further members at its end."""
    return b"%b,%b" % (said[:-1], orjson.dumps(facts.extras)[1:]) if facts.extras else said


def _with_id(said: bytes, answer_id: str) -> bytes:
    """Return an answer with our id in the place of its provider's."""
    start, end = _id_in(said, 0)
    if end:
        return b"%b%b%b" % (said[:start], answer_id.encode(), said[end:])
    return orjson.dumps({**orjson.loads(said), "id": answer_id})


def _id_in(said: bytes, at: int) -> tuple[int, int]:
    """Return where the id of the object that begins at `at` stands, if that is its first member; else two zeros."""
    name = said.find(b'"id"', at, at + 32)
    if name < 0 or said[at:name].strip() != b"{":
        return 0, 0
    start = said.find(b'"', name + 4) + 1
    if said[name + 4 : start].strip() != b':"':
        return 0, 0
    end = said.find(b'"', start)
    return (start, end) if end > start and b"\\" not in said[start:end] else (0, 0)


@lru_cache(maxsize=256)
def _title(provider: str) -> str:
    return quirks.of(provider).title or provider


def charged(facts: Facts) -> dict[str, Any]:
    """Return the cost as OpenRouter's clients read it in `usage`: left out where it is unknown."""
    if facts.cost_usd is None:
        return {}
    return {"cost": _charged_usd(facts.cost_usd, is_byok=facts.is_byok), "cost_details": _cost_details(facts)}


def _charged_usd(cost_usd: float | None, *, is_byok: bool) -> float | None:
    """Return what OpenRouter's clients read as the cost: what is charged here, so nothing for a customer's own key."""
    return 0.0 if is_byok and cost_usd is not None else cost_usd


def _cost_details(facts: Facts) -> dict[str, float | None] | None:
    if facts.cost_usd is None:
        return None
    prompt, completion = facts.prompt_cost_nanousd / 1e9, facts.completion_cost_nanousd / 1e9
    return dict(zip(_COST_DETAILS, (facts.cost_usd if facts.is_byok else None, prompt, completion), strict=True))


_COST_DETAILS = (
    "upstream_inference_cost",
    "upstream_inference_prompt_cost",
    "upstream_inference_completions_cost",
)


class _Writer:
    __slots__ = ("_call", "_dialect")

    def __init__(self, call: ChatCall, dialect: OpenAI) -> None:
        self._call = call
        self._dialect = dialect

    def feed(self, events: bytes) -> bytes:
        return events

    def end(self, error: errors.GatewayError | None, facts: Facts) -> bytes:
        said = b""
        if error is not None:
            said = sse.error_event(
                self._dialect.error(error, facts.request_id),
                chunk_id=facts.answer_id,
                created=facts.created,
                model=facts.model,
            )
        usage = sse.usage_event(
            chunk_id=facts.answer_id,
            created=facts.created,
            model=facts.model,
            provider=facts.provider,
            usage=facts.usage,
            x_kairosroute=facts.x_kairosroute,
            was_asked_for=self._call.wants_usage,
            extras=facts.extras,
        )
        return b"%b%b%b" % (said, usage, sse.DONE)


class _OpenRouterWriter(_Writer):
    __slots__ = ("_id", "_plain", "_theirs", "_titled")

    def __init__(self, call: ChatCall, dialect: OpenAI, facts: Facts) -> None:
        super().__init__(call, dialect)
        # Inside strings quotes are escaped, so these bytes are a member of an event and never text.
        self._plain = b'"provider":"%b"' % facts.provider.encode()
        self._titled = b'"provider":"%b"' % _title(facts.provider).encode()
        self._id = b'"id":"%b"' % facts.answer_id.encode()
        self._theirs = b""

    def feed(self, events: bytes) -> bytes:
        if not self._theirs:
            start, end = _id_in(events, events.find(b"{"))
            # The whole member: a text may be the same as an id.
            self._theirs = events[events.rfind(b'"id"', 0, start) : end + 1] if end else self._id
        if self._theirs != self._id:
            events = events.replace(self._theirs, self._id)
        return events.replace(self._plain, self._titled)

    def end(self, error: errors.GatewayError | None, facts: Facts) -> bytes:
        usage = {**facts.usage, **charged(facts)}
        return super().end(error, msgspec.structs.replace(facts, provider=_title(facts.provider), usage=usage))


OPENAI: Dialect = OpenAI()
OPENROUTER: Dialect = OpenRouter()
