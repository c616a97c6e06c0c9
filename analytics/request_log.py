"""The wide event: one record for one call, the contract between the data plane and ClickHouse.

Pure: no framework, no clock, no I/O. The order of the fields IS the wire format: a record travels as a
JSON array (`encode`), a segment's header names the columns (`COLUMNS`), and ClickHouse reads the arrays
as `JSONCompactEachRow`. New fields are appended with a default; none is renamed or reordered.
"""

from __future__ import annotations

import hashlib

import msgspec

SETTLED = "settled"
INTERRUPTED = "interrupted"

PRICED = "priced"
UNPRICED = "unpriced"  # no price row is known: never reported as $0
ESTIMATED = "estimated"  # priced, but by tokens that we counted: the provider did not report what it used
UNUSED = "unused"  # nothing was used at a provider, so there is nothing to price

HAVING_PRICE = (PRICED, ESTIMATED)

MANAGED = "managed"
BYOK = "byok"
SIMULATED = "simulated"

# response_cache: not asked for, asked for and not found, found; a duplicate of an idempotent request
OFF = "off"
MISS = "miss"
HIT = "hit"
REPLAY = "replay"


class RequestLog(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One call as it is logged, billed and shown.

    Money is integer nano-US-dollars, time is integer microseconds (`started_us` since the Unix epoch, UTC).
    Token classes nest as OpenAI's do: `input_tokens` includes `cached_read_tokens` and `cache_write_tokens`;
    `output_tokens` includes `reasoning_tokens`. A quality flag is 1, 0, or None where the question does not arise.
    """

    # identity and ownership
    request_id: str
    organization_id: str
    workspace_id: str
    api_key_id: str
    agent: str = ""
    feature: str = ""
    agent_run: str = ""
    session: str = ""
    end_user: str = ""
    key_source: str = MANAGED
    is_test: int = 0
    is_simulated: int = 0
    # the call
    started_us: int
    operation: str = "chat"
    dialect: str = "openai"
    is_stream: int = 0
    state: str = SETTLED
    http_status: int = 0
    error_class: str = ""
    finish_reason: str = ""
    native_finish_reason: str = ""
    is_client_gone: int = 0
    # the decision
    requested_model: str = ""
    model: str = ""
    provider: str = ""
    upstream_model: str = ""
    is_pinned: int = 1
    task_type: str = "general"
    task_confidence: float | None = None
    task_source: str = "none"
    policy_version: str = ""
    router_version: str = ""
    route_reason: str = ""
    experiment_id: str = ""
    experiment_arm: str = ""
    attempts: int = 0
    is_fallback: int = 0
    response_cache: str = OFF
    service_tier: str = ""
    # usage
    input_tokens: int = 0
    cached_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    # money
    price_state: str = UNUSED
    price_version: str = ""
    input_cost_nanousd: int = 0
    cached_read_cost_nanousd: int = 0
    cache_write_cost_nanousd: int = 0
    output_cost_nanousd: int = 0
    provider_cost_nanousd: int = 0
    billed_nanousd: int = 0
    baseline_model: str = ""
    baseline_cost_nanousd: int | None = None
    # time
    latency_us: int = 0
    first_token_us: int | None = None
    upstream_us: int = 0
    overhead_us: int = 0
    # quality signals, computed without storing content
    is_truncated: int | None = None
    is_refusal: int | None = None
    is_json_valid: int | None = None
    is_schema_valid: int | None = None
    is_tool_call_valid: int | None = None
    output_characters: int = 0
    # free attribution and the receipt's parts that are not columns of their own
    tags: dict[str, str] = {}
    receipt: str = "{}"
    # how the call hangs together with the client's own traces and retries, and which of its keys paid
    trace_id: str = ""
    parent_span_id: str = ""
    client_request_id: str = ""
    client_retry_count: int = 0
    credential_id: str = ""
    # what the call counts against budgets: its cost, or what was reserved for it where its cost is unknown
    booked_nanousd: int = 0


COLUMNS: tuple[str, ...] = RequestLog.__struct_encode_fields__

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RequestLog)


def encode(record: RequestLog) -> bytes:
    """Return the record as one line of JSONCompactEachRow, without the newline."""
    return _encoder.encode(record)


def fragment(*values: object) -> bytes:
    """Return consecutive fields as JSON without the brackets; `line` puts fragments together.

    The data plane makes a record from parts that it makes once: what does not change between a call's intent and its
    record, and what does not change between calls.
    """
    return _encoder.encode(values)[1:-1]


def line(*fragments: bytes) -> bytes:
    """Return the encoded record that consecutive fragments make up. They must cover all fields, in their order."""
    return b"[%b]" % b",".join(fragments)


def decode(line: bytes) -> RequestLog:
    """Return the record that `encode` wrote.

    Raises:
        msgspec.DecodeError: the line is not such a record.
    """
    return _decoder.decode(line)


def digest(request_id: str) -> int:
    """Return a 63-bit fingerprint of a request id: the big-endian first 8 bytes of its MD5, top bit cleared.

    The ledger keeps the sum of the fingerprints of what it posted (modulo 2**63), ClickHouse computes the same
    sum over its rows; equal sums with equal counts mean that both hold the same calls.
    """
    return (
        int.from_bytes(hashlib.md5(request_id.encode(), usedforsecurity=False).digest()[:8], "big") & 0x7FFFFFFFFFFFFFFF
    )
