"""From a draft to the spool: the intent before the provider is asked, the record before the last byte.

A record has reached the kernel when the answer ends; with a sync interval of 0 it is on the disk by then (group commit:
one `fdatasync` serves all that wait). What a record says is `gateway.draft`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
import orjson

from accounts.encryption import Keyring
from analytics import events, request_log
from analytics.request_log import OFF, RequestLog
from analytics.spool import SpoolUnavailable, Writer
from gateway import errors, guardrails
from gateway.context import KeySnapshot
from gateway.draft import Draft
from gateway.guardrails import redaction
from gateway.metrics import Metrics

logger = logging.getLogger(__name__)

_RECENT = 4096
_ROTATE_S = 0.1


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


# Letters behind the cap that are looked at for what begins before it.
_BEYOND_CAP = 16_384


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
        if draft.keeps_content:
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
        if error is not None or len(draft.attempts) > 1 or draft.response_cache != OFF:
            self._count_specials(draft, error)
        return line

    def _count_specials(self, draft: Draft, error: errors.GatewayError | None) -> None:
        """Count what most calls do not have: failed attempts, a refusal before any, a kept answer."""
        if error is not None and not draft.attempts:
            self._metrics.refuse(error.error_class)
        for attempt in draft.attempts:
            if "error_class" in attempt:
                self._metrics.upstream_error(attempt["provider"], attempt["error_class"])
        if draft.response_cache != OFF:
            self._metrics.cached(draft.response_cache)

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
        asked, is_asked_cut = self._redacted(call.said, key)
        answered, is_answered_cut = self._redacted(draft.response, key)
        content = events.RequestContent(
            organization_id=key.organization_id,
            workspace_id=key.workspace_id,
            request_id=draft.request_id,
            started_us=draft.started_us,
            expires_us=draft.started_us + key.content_retention_days * 86_400_000_000,
            request=asked[:cap].decode("utf-8", "ignore"),
            response=answered[:cap].decode("utf-8", "ignore"),
            is_capped=int(len(asked) > cap or len(answered) > cap or is_asked_cut or is_answered_cut),
        )
        return self._keyring.encrypt(msgspec.json.encode(content))

    @staticmethod
    def _redacted(said: Any, key: KeySnapshot) -> tuple[bytes, bool]:
        """Return what was said as JSON, without what the workspace's guardrails take out, nothing for None; and whether
        its end was left out. What is longer than the cap is not gone through: that takes seconds of everybody's time.
        """
        if said is None:
            return b"", False
        begun, is_cut = redaction.beginning(said, key.content_cap_bytes + _BEYOND_CAP)
        return orjson.dumps(redaction.value(begun, guardrails.chosen(key.guardrails.redacted))), is_cut

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
