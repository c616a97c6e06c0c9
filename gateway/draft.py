"""What is known so far about one call, and the record that it makes. Pure.

Writing the record is `gateway.recording`; here is only what it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analytics import request_log
from analytics.request_log import INTERRUPTED, MANAGED, OFF, SETTLED, SIMULATED, UNPRICED, RequestLog
from gateway import errors, estimation, fragments, receipt
from gateway.context import NOBODY, ChatCall, KeySnapshot
from gateway.counters import Hold
from gateway.dialects.openai import OPENAI
from gateway.dialects.protocol import Dialect
from gateway.fallback import NO_COURSE, Course
from gateway.preferences import NO_TRACE
from gateway.providers.protocol import Endpoint, Usage
from gateway.routing.decision import Decision
from gateway.settlement import UNUSED_CALL, Settlement
from gateway.signals import NO_SIGNALS, Signals

if TYPE_CHECKING:
    from gateway.health.sessions import Seat

_NO_USAGE = Usage(is_reported=False)


class Draft:
    """What is known so far about one call; `finish` makes its record. One per call, never shared."""

    __slots__ = (
        "attempts",
        "baseline_cost_nanousd",
        "baseline_model",
        "body",
        "cache_note",
        "call",
        "course",
        "decision",
        "dialect",
        "downgrade",
        "dropped_params",
        "endpoint",
        "error",
        "finish_reason",
        "first_token_us",
        "has_intent",
        "has_plain_errors",
        "hold",
        "identity",
        "identity_endpoint",
        "is_client_gone",
        "is_recorded",
        "key",
        "native_finish_reason",
        "prices",
        "request_id",
        "response",
        "response_cache",
        "seat",
        "service_tier",
        "session_key",
        "settlement",
        "signals",
        "started_us",
        "switched",
        "upstream_us",
        "usage",
    )

    def __init__(self, *, body: str, key: KeySnapshot, started_us: int, dialect: Dialect = OPENAI) -> None:
        self.body = body
        self.dialect = dialect
        self.request_id = f"req_{body}"
        self.key = key
        self.started_us = started_us
        self.call: ChatCall | None = None
        self.decision: Decision | None = None
        self.endpoint: Endpoint | None = None
        self.course: Course = NO_COURSE
        self.session_key: bytes | None = None
        self.seat: Seat | None = None  # where the conversation was served last
        self.switched: dict[str, Any] | None = None
        self.attempts: list[dict[str, Any]] = []
        self.dropped_params: tuple[str, ...] = ()
        self.error: errors.GatewayError | None = None
        self.usage: Usage = _NO_USAGE
        self.settlement: Settlement = UNUSED_CALL
        self.signals: Signals = NO_SIGNALS
        self.finish_reason = self.native_finish_reason = self.service_tier = ""
        self.first_token_us: int | None = None
        self.upstream_us = 0
        self.is_client_gone = self.has_intent = self.is_recorded = False
        self.baseline_model = ""
        self.baseline_cost_nanousd: int | None = None
        self.prices: dict[str, int] | None = None
        self.response: Mapping[str, Any] | None = None  # what was answered, for a workspace that opted in
        self.response_cache = OFF
        self.cache_note: dict[str, Any] | None = None
        self.identity = b""
        self.hold: Hold | None = None
        self.has_plain_errors = False  # the client is an SDK that reads a spent budget from a 429
        self.downgrade: dict[str, Any] | None = None
        self.identity_endpoint: Endpoint | None = None

    @property
    def key_source(self) -> str:
        """Whose key pays the provider: ours (managed), the customer's (byok), or nobody's (simulated)."""
        endpoint = self.endpoint
        if self.key.is_test or (endpoint is not None and endpoint.is_simulated):
            return SIMULATED
        return MANAGED if endpoint is None else endpoint.key_source

    @property
    def reserved_nanousd(self) -> int:
        """What was reserved for the call in the budgets that it counts against; 0 where there are none."""
        return 0 if self.hold is None else self.hold.reserved_nanousd

    @property
    def booked_nanousd(self) -> int:
        """What the call counts against budgets: its cost, and what was reserved for it where that is unknown."""
        settled, reserved = self.settlement, self.reserved_nanousd
        if settled.price_state != UNPRICED:
            return settled.provider_cost_nanousd
        if reserved and self.usage.is_reported:
            # Nobody knows the model's price: what it used costs what the dearest model would.
            return estimation.reservation(self.usage.input_tokens, self.usage.output_tokens, None)
        return reserved

    @property
    def keeps_content(self) -> bool:
        """Whether what is said may be stored: the workspace opted in, and the call did not opt out."""
        return self.key.stores_content and (self.call is None or self.call.preferences.keeps_content)

    def _is_paid_otherwise(self, endpoint: Endpoint) -> bool:
        """Return whether a fallback went to another's account than the intent said."""
        first = self.identity_endpoint
        return first is None or first.key_source != endpoint.key_source or first.is_simulated != endpoint.is_simulated

    def intent(self) -> RequestLog:
        """Return the record that stands if the process dies before the call ends."""
        call, decision = self.call, self.decision
        assert call is not None
        assert decision is not None
        key, who = self.key, call.attribution
        endpoint = self.endpoint or decision.endpoints[0]
        return RequestLog(
            request_id=self.request_id,
            organization_id=key.organization_id,
            workspace_id=key.workspace_id,
            api_key_id=key.api_key_id,
            agent=who.agent,
            feature=who.feature,
            agent_run=who.agent_run,
            session=who.session,
            end_user=who.end_user,
            key_source=self.key_source,
            is_test=int(key.is_test),
            is_simulated=int(endpoint.is_simulated),
            started_us=self.started_us,
            operation=call.operation,
            dialect=call.dialect,
            is_stream=int(call.is_stream),
            state=INTERRUPTED,
            error_class="Interrupted",
            requested_model=call.requested_model,
            model=endpoint.model,
            provider=endpoint.provider,
            upstream_model=endpoint.upstream_model,
            is_pinned=int(decision.is_pinned),
            task_type=call.task_type,
            task_source=call.task_source,
            policy_version=decision.policy_version,
            route_reason=decision.route_reason,
            experiment_id=decision.experiment_id,
            experiment_arm=decision.experiment_arm,
            tags=who.tags,
            trace_id=call.trace.trace_id,
            parent_span_id=call.trace.parent_span_id,
            client_request_id=call.trace.client_request_id,
            client_retry_count=call.trace.client_retry_count,
            credential_id=endpoint.noted_credential_id,
            booked_nanousd=self.reserved_nanousd,
        )

    def finish(self, *, latency_us: int) -> RequestLog:
        """Return the record of the call as it ended."""
        key, call, decision, endpoint, error = self.key, self.call, self.decision, self.endpoint, self.error
        usage, settlement, signals = self.usage, self.settlement, self.signals
        who = NOBODY if call is None else call.attribution
        trace = NO_TRACE if call is None else call.trace
        return RequestLog(
            request_id=self.request_id,
            organization_id=key.organization_id,
            workspace_id=key.workspace_id,
            api_key_id=key.api_key_id,
            agent=who.agent,
            feature=who.feature,
            agent_run=who.agent_run,
            session=who.session,
            end_user=who.end_user,
            key_source=self.key_source,
            is_test=1 if key.is_test else 0,
            is_simulated=1 if endpoint is not None and endpoint.is_simulated else 0,
            started_us=self.started_us,
            operation="chat" if call is None else call.operation,
            dialect=self.dialect.name if call is None else call.dialect,
            is_stream=1 if call is not None and call.is_stream else 0,
            state=SETTLED,
            http_status=200 if error is None else error.http_status,
            error_class="" if error is None else error.error_class,
            finish_reason=self.finish_reason,
            native_finish_reason=self.native_finish_reason,
            is_client_gone=1 if self.is_client_gone else 0,
            requested_model="" if call is None else call.requested_model,
            model="" if endpoint is None else endpoint.model,
            provider="" if endpoint is None else endpoint.provider,
            upstream_model="" if endpoint is None else endpoint.upstream_model,
            is_pinned=1 if decision is None or decision.is_pinned else 0,
            task_type="general" if call is None else call.task_type,
            task_source="none" if call is None else call.task_source,
            policy_version="" if decision is None else decision.policy_version,
            route_reason="" if decision is None else decision.route_reason,
            experiment_id="" if decision is None else decision.experiment_id,
            experiment_arm="" if decision is None else decision.experiment_arm,
            attempts=len(self.attempts),
            is_fallback=1 if len(self.attempts) > 1 else 0,
            response_cache=self.response_cache,
            service_tier=self.service_tier,
            input_tokens=usage.input_tokens,
            cached_read_tokens=usage.cached_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            audio_input_tokens=usage.audio_input_tokens,
            audio_output_tokens=usage.audio_output_tokens,
            price_state=settlement.price_state,
            price_version=settlement.price_version,
            input_cost_nanousd=settlement.input_cost_nanousd,
            cached_read_cost_nanousd=settlement.cached_read_cost_nanousd,
            cache_write_cost_nanousd=settlement.cache_write_cost_nanousd,
            output_cost_nanousd=settlement.output_cost_nanousd,
            provider_cost_nanousd=settlement.provider_cost_nanousd,
            billed_nanousd=settlement.billed_nanousd,
            baseline_model=self.baseline_model,
            baseline_cost_nanousd=self.baseline_cost_nanousd,
            latency_us=latency_us,
            first_token_us=self.first_token_us,
            upstream_us=self.upstream_us,
            overhead_us=max(0, latency_us - self.upstream_us),
            is_truncated=signals.is_truncated,
            is_refusal=signals.is_refusal,
            is_json_valid=signals.is_json_valid,
            is_schema_valid=signals.is_schema_valid,
            is_tool_call_valid=signals.is_tool_call_valid,
            output_characters=signals.output_characters,
            tags=who.tags,
            receipt=self.receipt_parts(),
            trace_id=trace.trace_id,
            parent_span_id=trace.parent_span_id,
            client_request_id=trace.client_request_id,
            client_retry_count=trace.client_retry_count,
            credential_id="" if endpoint is None else endpoint.noted_credential_id,
            booked_nanousd=self.booked_nanousd,
        )

    def receipt_parts(self) -> str:
        """Return the receipt's parts that are no columns of the record, as JSON text."""
        return receipt.parts(
            decision=self.decision,
            attempts=self.attempts,
            dropped_params=self.dropped_params,
            prices=self.prices,
            not_applied=() if self.call is None else self.call.not_applied,
            cache=self.cache_note,
            downgrade=self.downgrade,
            skipped=self.course.skipped,
            switched=self.switched,
        )

    def intent_line(self) -> bytes:
        """Return `intent()` encoded, from fragments that many calls share; keeps what `record_line` uses again."""
        call, decision = self.call, self.decision
        assert call is not None
        assert decision is not None
        endpoint = self.endpoint or decision.endpoints[0]
        self.identity_endpoint = endpoint
        self.identity = fragments.identity(
            self.key,
            call,
            request_id=self.request_id,
            key_source=self.key_source,
            started_us=self.started_us,
            is_simulated=endpoint.is_simulated,
        )
        return request_log.line(
            self.identity,
            fragments.INTERRUPTED,
            fragments.decided(call, decision, endpoint),
            fragments.NOTHING_YET,
            fragments.EMPTY if not call.attribution.tags else request_log.fragment(call.attribution.tags),
            fragments.EMPTY_RECEIPT,
            fragments.context(call, endpoint.noted_credential_id, self.reserved_nanousd),
        )

    def record_line(self, *, latency_us: int) -> bytes:
        """Return `finish(latency_us)` encoded, in a quarter of the time where the call went its usual way."""
        call, decision, endpoint = self.call, self.decision, self.endpoint
        if (
            not self.identity
            or call is None
            or decision is None
            or endpoint is None
            or self.error is not None
            or (endpoint is not self.identity_endpoint and self._is_paid_otherwise(endpoint))
        ):
            return request_log.encode(self.finish(latency_us=latency_us))
        usage, settled, signals = self.usage, self.settlement, self.signals
        attempts = self.attempts
        return request_log.line(
            self.identity,
            fragments.succeeded(self.finish_reason, self.native_finish_reason),
            fragments.decided(call, decision, endpoint),
            request_log.fragment(
                len(attempts),
                1 if len(attempts) > 1 else 0,
                self.response_cache,
                self.service_tier,
                usage.input_tokens,
                usage.cached_read_tokens,
                usage.cache_write_tokens,
                usage.output_tokens,
                usage.reasoning_tokens,
                usage.audio_input_tokens,
                usage.audio_output_tokens,
                settled.price_state,
                settled.price_version,
                settled.input_cost_nanousd,
                settled.cached_read_cost_nanousd,
                settled.cache_write_cost_nanousd,
                settled.output_cost_nanousd,
                settled.provider_cost_nanousd,
                settled.billed_nanousd,
                self.baseline_model,
                self.baseline_cost_nanousd,
                latency_us,
                self.first_token_us,
                self.upstream_us,
                max(0, latency_us - self.upstream_us),
                signals.is_truncated,
                signals.is_refusal,
                signals.is_json_valid,
                signals.is_schema_valid,
                signals.is_tool_call_valid,
                signals.output_characters,
                call.attribution.tags,
                self.receipt_parts(),
            ),
            fragments.context(call, endpoint.noted_credential_id, self.booked_nanousd),
        )
