"""From a call under way to its record in the spool: the intent before the provider is asked, the record before the
last byte.

`Draft` gathers what each step finds out and makes the record; `Recorder` writes it. A record has reached the kernel
when
the answer ends; with a sync interval of 0 it is on the disk by then (group commit: one `fdatasync` serves all that
wait).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import msgspec
import orjson

from accounts.encryption import Keyring
from analytics import events, request_log
from analytics.request_log import INTERRUPTED, MANAGED, SETTLED, SIMULATED, RequestLog
from analytics.spool import SpoolUnavailable, Writer
from gateway import errors, receipt
from gateway.context import NOBODY, ChatCall, KeySnapshot
from gateway.metrics import Metrics
from gateway.providers.protocol import Endpoint, Usage
from gateway.routing.decision import Decision
from gateway.settlement import UNUSED_CALL, Settlement
from gateway.signals import NO_SIGNALS, Signals

logger = logging.getLogger(__name__)

_RECENT = 4096
_ROTATE_S = 0.1
_NO_USAGE = Usage(is_reported=False)


class Draft:
    """What is known so far about one call; `finish` makes its record. One per call, never shared."""

    __slots__ = (
        "attempts",
        "baseline_cost_nanousd",
        "baseline_model",
        "body",
        "call",
        "decision",
        "dropped_params",
        "endpoint",
        "error",
        "finish_reason",
        "first_token_us",
        "has_intent",
        "identity",
        "is_client_gone",
        "is_recorded",
        "key",
        "native_finish_reason",
        "prices",
        "request_id",
        "response_text",
        "service_tier",
        "settlement",
        "signals",
        "started_us",
        "upstream_us",
        "usage",
    )

    def __init__(self, *, body: str, key: KeySnapshot, started_us: int) -> None:
        self.body = body
        self.request_id = f"req_{body}"
        self.key = key
        self.started_us = started_us
        self.call: ChatCall | None = None
        self.decision: Decision | None = None
        self.endpoint: Endpoint | None = None
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
        self.response_text: str | None = None
        self.identity = b""

    @property
    def key_source(self) -> str:
        """Whose key pays the provider: ours (managed), the customer's (byok), or nobody's (simulated)."""
        if self.key.is_test or (self.endpoint is not None and self.endpoint.is_simulated):
            return SIMULATED
        return MANAGED

    def keep_response(self, message: Mapping[str, Any]) -> None:
        """Keep what was answered, for a workspace that opted in."""
        self.response_text = orjson.dumps(message).decode()

    def intent(self) -> RequestLog:
        """Return the record that stands if the process dies before the call ends."""
        call, decision = self.call, self.decision
        assert call is not None
        assert decision is not None
        key, who = self.key, call.attribution
        endpoint = decision.endpoints[0]
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
        )

    def finish(self, *, latency_us: int) -> RequestLog:
        """Return the record of the call as it ended."""
        key, call, decision, endpoint, error = self.key, self.call, self.decision, self.endpoint, self.error
        usage, settlement, signals = self.usage, self.settlement, self.signals
        who = NOBODY if call is None else call.attribution
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
            receipt=receipt.parts(
                decision=decision, attempts=self.attempts, dropped_params=self.dropped_params, prices=self.prices
            ),
        )

    def intent_line(self) -> bytes:
        """Return `intent()` encoded, from fragments that many calls share; keeps what `record_line` uses again."""
        call, decision = self.call, self.decision
        assert call is not None
        assert decision is not None
        endpoint = decision.endpoints[0]
        self.identity = _identity(self, call, is_simulated=endpoint.is_simulated)
        return request_log.line(
            self.identity,
            _INTERRUPTED,
            _decided(call, decision, endpoint),
            _NOTHING_YET,
            _EMPTY if not call.attribution.tags else request_log.fragment(call.attribution.tags),
            _EMPTY_RECEIPT,
        )

    def record_line(self, *, latency_us: int) -> bytes:
        """Return `finish(latency_us)` encoded, in a quarter of the time where the call went its usual way."""
        call, decision, endpoint = self.call, self.decision, self.endpoint
        if not self.identity or call is None or decision is None or endpoint is None or self.error is not None:
            return request_log.encode(self.finish(latency_us=latency_us))
        usage, settled, signals = self.usage, self.settlement, self.signals
        attempts = self.attempts
        return request_log.line(
            self.identity,
            _succeeded(self.finish_reason, self.native_finish_reason),
            _decided(call, decision, endpoint),
            request_log.fragment(
                len(attempts),
                1 if len(attempts) > 1 else 0,
                "off",
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
                receipt.parts(
                    decision=decision, attempts=attempts, dropped_params=self.dropped_params, prices=self.prices
                ),
            ),
        )


_DEFAULTS = dict(
    zip(
        RequestLog.__struct_fields__[-len(RequestLog.__struct_defaults__) :],
        RequestLog.__struct_defaults__,
        strict=True,
    )
)


def _defaults(first: str, last: str) -> bytes:
    """Return the default values of consecutive fields as a fragment."""
    names = request_log.COLUMNS
    chosen = names[names.index(first) : names.index(last) + 1]
    return request_log.fragment(*(_DEFAULTS[name] for name in chosen))


_INTERRUPTED = request_log.fragment(INTERRUPTED, 0, "Interrupted", "", "", 0)
_NOTHING_YET = _defaults("attempts", "output_characters")
_NOBODY_FRAGMENT = request_log.fragment("", "", "", "", "")
_EMPTY = b"{}"
_EMPTY_RECEIPT = b'"{}"'


def _identity(draft: Draft, call: ChatCall, *, is_simulated: bool) -> bytes:
    """Return the fields from `request_id` to `is_stream`: the same in a call's intent and its record."""
    key, who = draft.key, call.attribution
    return b'"%b",%b,%b,"%b",%d,%d,%d,"chat","openai",%d' % (
        draft.request_id.encode(),
        _owner(key.organization_id, key.workspace_id, key.api_key_id),
        _NOBODY_FRAGMENT
        if who is NOBODY
        else request_log.fragment(who.agent, who.feature, who.agent_run, who.session, who.end_user),
        draft.key_source.encode(),
        key.is_test,
        is_simulated,
        draft.started_us,
        call.is_stream,
    )


@lru_cache(maxsize=4096)
def _owner(organization_id: str, workspace_id: str, api_key_id: str) -> bytes:
    return request_log.fragment(organization_id, workspace_id, api_key_id)


@lru_cache(maxsize=256)
def _succeeded(finish_reason: str, native_finish_reason: str) -> bytes:
    return request_log.fragment(SETTLED, 200, "", finish_reason, native_finish_reason, 0)


def _decided(call: ChatCall, decision: Decision, endpoint: Endpoint) -> bytes:
    """Return the fields from `requested_model` to `experiment_arm`."""
    return _decision_fragment(
        call.requested_model,
        endpoint.model,
        endpoint.provider,
        endpoint.upstream_model,
        decision.is_pinned,
        call.task_type,
        call.task_source,
        decision.policy_version,
        decision.route_reason,
        decision.experiment_id,
        decision.experiment_arm,
    )


@lru_cache(maxsize=4096)
def _decision_fragment(
    requested_model: str,
    model: str,
    provider: str,
    upstream_model: str,
    is_pinned: bool,
    task_type: str,
    task_source: str,
    policy_version: str,
    route_reason: str,
    experiment_id: str,
    experiment_arm: str,
) -> bytes:
    return request_log.fragment(
        requested_model,
        model,
        provider,
        upstream_model,
        int(is_pinned),
        task_type,
        None,
        task_source,
        policy_version,
        "",
        route_reason,
        experiment_id,
        experiment_arm,
    )


def _not_noted() -> errors.Unavailable:
    return errors.Unavailable(
        "This gateway cannot record calls right now, so it takes none. Try again in a moment.",
        code="spool_unavailable",
        retry_after_s=1,
    )


def _not_durable() -> errors.Unavailable:
    return errors.Unavailable(
        "The call was served, but its record could not be made durable; the answer is withheld.",
        code="spool_unavailable",
    )


_Then = Callable[[errors.GatewayError | None], None]


class Recorder:
    """Writes drafts to the spool, keeps it durable and rotating, and remembers the last records for their receipts."""

    def __init__(
        self,
        *,
        writer: Writer,
        keyring: Keyring,
        metrics: Metrics,
        sync_interval_ms: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._writer = writer
        self._keyring = keyring
        self._metrics = metrics
        self._sync_interval_s = sync_interval_ms / 1000
        self.is_awaited = sync_interval_ms == 0
        self._loop = loop
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._recent: dict[str, bytes] = {}  # the last records, in two generations: the elder goes as a whole
        self._less_recent: dict[str, bytes] = {}
        self._is_dirty = False
        self._is_flushing = False
        self._waiting_intents: list[tuple[str, bytes, _Then]] = []
        self._waiting_records: list[tuple[str, bytes, _Then]] = []
        self._waiting_for_disk: list[_Then] = []
        self._is_committing = False
        self._tasks = [loop.create_task(self._keep_rotating())]
        if sync_interval_ms > 0:
            self._tasks.append(loop.create_task(self._keep_syncing()))

    def intent(self, draft: Draft) -> None:
        """Note that the call goes out.

        Raises:
            errors.Unavailable: it could not be noted, so it must not go out.
        """
        try:
            self._writer.intent(draft.request_id, draft.intent_line())
        except SpoolUnavailable:
            logger.error("A call was refused: the spool cannot take it.")
            raise _not_noted() from None
        draft.has_intent = True

    def record(self, draft: Draft, *, latency_us: int) -> None:
        """Write the call's record: when this returns, it outlives the process (`durable` makes it outlive the machine).

        A disk that refuses does not fail a call that was served: the record waits in memory for the disk, and the
        intent speaks for the call if the process dies before.
        """
        line = self._remember(draft, latency_us=latency_us)
        content = None
        if draft.key.stores_content:
            try:
                content = self._content(draft)
            except Exception as error:  # the record matters more than what was said; the text may quote it
                logger.error("Content was not kept: %s. request_id=%s", type(error).__name__, draft.request_id)
        try:
            self._writer.record(draft.request_id, line, content)
        except SpoolUnavailable:
            logger.error("A record waits in memory: the spool cannot take it. request_id=%s", draft.request_id)
            return
        self._is_dirty = True

    def _remember(self, draft: Draft, *, latency_us: int) -> bytes:
        """Count the call and keep its record for a receipt asked for soon; return the record's line."""
        line = draft.record_line(latency_us=latency_us)
        recent = self._recent
        recent[draft.request_id] = line
        if len(recent) >= _RECENT:
            self._recent, self._less_recent = {}, recent
        endpoint, error = draft.endpoint, draft.error
        self._metrics.observe(
            200 if error is None else error.http_status,
            "" if endpoint is None else endpoint.model,
            "" if endpoint is None else endpoint.provider,
            latency_us,
            max(0, latency_us - draft.upstream_us),
        )
        return line

    async def durable(self) -> None:
        """Return once the records written so far are on the disk, where the deployment asks for that (interval 0).

        Raises:
            errors.Unavailable: they are not, so the answer must not be given as good.
        """
        if not self.is_awaited:
            return
        committed: asyncio.Future[errors.GatewayError | None] = self._loop.create_future()
        self._commit_soon(lambda error: None if committed.done() else committed.set_result(error))
        error = await committed
        if error is not None:
            raise error

    # What comes in the same turn of the event loop goes to the disk in one write: the express lane's way.

    def intent_soon(self, draft: Draft, then: _Then) -> None:
        """Note that the call goes out, and say so within this turn of the loop: `then(None)`, or the refusal."""
        self._waiting_intents.append((draft.request_id, draft.intent_line(), then))
        draft.has_intent = True
        self._flush_soon()

    def record_soon(self, draft: Draft, then: _Then, *, latency_us: int) -> None:
        """Write the call's record, and say so: within this turn of the loop, or, with a sync interval of 0, once it is
        on the disk; `then` hears of an error when it is not. As `record`, without content."""
        self._waiting_records.append((draft.request_id, self._remember(draft, latency_us=latency_us), then))
        if self._metrics.in_flight <= 1:
            self._flush()  # nobody else will come in this turn: a lonely call need not wait for company
        else:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        intents, self._waiting_intents = self._waiting_intents, []
        records, self._waiting_records = self._waiting_records, []
        if not intents and not records:
            return
        refused: Collection[str]
        try:
            refused = self._writer.many(
                [(name, line) for name, line, _ in intents], [(name, line) for name, line, _ in records]
            )
        except Exception:
            # Whatever it is, those who wait must hear of it: no call goes out that was not noted.
            logger.exception("The spool failed unexpectedly.")
            refused = {name for name, _, _ in intents}
        self._is_dirty = True
        if refused:
            logger.error("The spool refused %d of %d entries.", len(refused), len(intents) + len(records))
        for _, _, recorded in records:
            if self.is_awaited:
                self._commit_soon(recorded)
            else:
                recorded(None)
        for name, _, noted in intents:
            noted(_not_noted() if name in refused else None)

    def event(self, kind: str, line: bytes) -> None:
        """Write an event of its own, such as feedback.

        Raises:
            errors.Unavailable: it could not be written.
        """
        try:
            self._writer.event(kind, line)
        except SpoolUnavailable:
            raise errors.Unavailable(
                "This gateway cannot record right now. Try again in a moment.",
                code="spool_unavailable",
                retry_after_s=1,
            ) from None
        self._is_dirty = True

    def recent(self, request_id: str) -> RequestLog | None:
        """Return the record of a call that this process served lately."""
        line = self._recent.get(request_id) or self._less_recent.get(request_id)
        return None if line is None else request_log.decode(line)

    async def close(self) -> None:
        """Seal the spool. Calls still under way are recorded as interrupted."""
        self._flush()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._loop.run_in_executor(self._disk, self._writer.close)
        except SpoolUnavailable:
            logger.error("The spool could not be closed cleanly; what is unsealed is left to recovery.")
        self._disk.shutdown()

    def _content(self, draft: Draft) -> bytes | None:
        call, key = draft.call, draft.key
        if call is None:
            return None
        cap = key.content_cap_bytes
        asked = orjson.dumps(call.body["messages"])
        answered = (draft.response_text or "").encode()
        content = events.RequestContent(
            organization_id=key.organization_id,
            workspace_id=key.workspace_id,
            request_id=draft.request_id,
            started_us=draft.started_us,
            expires_us=draft.started_us + key.content_retention_days * 86_400_000_000,
            request=asked[:cap].decode("utf-8", "ignore"),
            response=answered[:cap].decode("utf-8", "ignore"),
            is_capped=int(len(asked) > cap or len(answered) > cap),
        )
        return self._keyring.encrypt(msgspec.json.encode(content))

    def _commit_soon(self, then: _Then) -> None:
        """Call `then` after a sync that begins from now on; those who wait together share it (group commit)."""
        self._waiting_for_disk.append(then)
        if not self._is_committing:
            self._commit()

    def _commit(self) -> None:
        waiting, self._waiting_for_disk = self._waiting_for_disk, []
        self._is_committing = True
        self._loop.run_in_executor(self._disk, self._writer.sync).add_done_callback(partial(self._committed, waiting))

    def _committed(self, waiting: list[_Then], sync: asyncio.Future[None]) -> None:
        self._is_committing = False
        has_failed = sync.cancelled() or sync.exception() is not None
        if has_failed:
            logger.error("The spool could not be made durable; %d answers are withheld.", len(waiting))
        for then in waiting:
            then(_not_durable() if has_failed else None)
        if self._waiting_for_disk and not self._is_committing:
            self._commit()

    async def _keep_syncing(self) -> None:
        while True:
            await asyncio.sleep(self._sync_interval_s)
            if self._is_dirty:
                self._is_dirty = False
                try:
                    await self._loop.run_in_executor(self._disk, self._writer.sync)
                except SpoolUnavailable:
                    self._is_dirty = True
                    logger.error("The spool could not be made durable; it is tried again.")
                except Exception:
                    self._is_dirty = True
                    logger.exception("The spool could not be made durable, unexpectedly; it is tried again.")

    async def _keep_rotating(self) -> None:
        while True:
            await asyncio.sleep(_ROTATE_S)
            try:
                await self._loop.run_in_executor(self._disk, self._writer.rotate)
            except SpoolUnavailable:
                logger.error("The spool could not rotate; it is tried again.")
            except Exception:
                # Without rotation nothing would be shipped any more: whatever it was, it is tried again.
                logger.exception("The spool could not rotate, unexpectedly; it is tried again.")
