"""The data plane's picture of keys, policies and experiments: a read-through cache that a thread keeps fresh.

Known keys are answered from memory and go on working while the database is down. A thread re-reads what changed
once a second, so a revoked key is refused within two seconds. Keys never seen before are looked up once; unknown
ones are remembered for a short while, so that a flood of wrong keys does not reach the database.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from django.db import Error as DatabaseError
from django.db import close_old_connections
from django.db.models import Q, QuerySet

from accounts.models import ApiKey, Organization, Workspace
from analytics.models import Experiment
from gateway import contract_prices, control, errors, guardrail_policies, provider_keys
from gateway.context import (
    NO_GUARDRAILS,
    ArmSnapshot,
    ExperimentSnapshot,
    KeySnapshot,
    LimitSnapshot,
    PolicySnapshot,
)
from gateway.models import ContractPrice, Limit, RoutingPolicy

logger = logging.getLogger(__name__)

_INTERVAL_S = 1.0
_OVERLAP = timedelta(seconds=30)  # clocks of web processes and transactions that commit late
_FULL_CHECK_S = 10.0
_UNKNOWN_S = 2.0
_MAX_UNKNOWN = 10_000
_MAX_ASKING = 512


class Snapshot:
    """Keys by the SHA-256 digest of their text. Reads are lock-free; one thread writes."""

    def __init__(self) -> None:
        self.keys: dict[bytes, KeySnapshot] = {}
        self._unknown: dict[bytes, float] = {}
        # A desk of its own, with few places: strangers' keys neither fill the database nor other work's threads.
        self._desk = ThreadPoolExecutor(max_workers=4, thread_name_prefix="keys")
        self._asking: dict[bytes, asyncio.Future[KeySnapshot | None]] = {}
        self._credential_versions: dict[str, frozenset[tuple[str, datetime]]] = {}
        self._watermark = datetime.now(UTC)
        self._next_full_check = time.monotonic() + _FULL_CHECK_S
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.refreshed_at = time.monotonic()

    def start(self) -> None:
        """Start the thread that keeps the picture fresh."""
        self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._desk.shutdown(wait=False, cancel_futures=True)

    async def look_up(self, digest: bytes) -> KeySnapshot | None:
        """Return the key of a digest that is not in `keys`, asking the database once for all who ask meanwhile.

        Raises:
            errors.Unavailable: the database cannot be asked, so nobody can say whether the key exists.
        """
        unknown_until = self._unknown.get(digest)
        if unknown_until is not None and time.monotonic() < unknown_until:
            return None
        asking = self._asking.get(digest)
        if asking is None:
            if len(self._asking) >= _MAX_ASKING:
                raise errors.Unavailable(
                    "Too many unknown API keys are being looked up. Try again in a moment.",
                    code="authentication_unavailable",
                    retry_after_s=2,
                )
            asking = asyncio.get_running_loop().run_in_executor(self._desk, self._load_one, digest)
            self._asking[digest] = asking
            asking.add_done_callback(lambda _: self._asking.pop(digest, None))
        try:
            found = await asyncio.shield(asking)
        except DatabaseError:
            logger.warning("A key could not be looked up: the database does not answer.")
            raise errors.Unavailable(
                "This API key is not known yet and the key database does not answer. Try again in a moment.",
                code="authentication_unavailable",
                retry_after_s=2,
            ) from None
        if found is None:
            if len(self._unknown) >= _MAX_UNKNOWN:
                self._unknown.clear()
            self._unknown[digest] = time.monotonic() + _UNKNOWN_S
            return None
        self.keys[digest] = found
        return found

    def refresh(self) -> None:
        """Re-read what changed since the last look: keys, and all keys of workspaces whose settings changed."""
        started_at = datetime.now(UTC)
        since = self._watermark - _OVERLAP
        workspaces = set(Workspace.objects.filter(changed_at__gte=since).values_list("id", flat=True))
        workspaces |= set(
            Workspace.objects.filter(organization__in=Organization.objects.filter(changed_at__gte=since)).values_list(
                "id", flat=True
            )
        )
        workspaces |= set(RoutingPolicy.objects.filter(created_at__gte=since).values_list("workspace_id", flat=True))
        workspaces |= set(Experiment.objects.filter(changed_at__gte=since).values_list("workspace_id", flat=True))
        workspaces |= provider_keys.workspaces_changed_since(since)
        workspaces |= set(
            Workspace.objects.filter(
                organization__in=ContractPrice.objects.filter(changed_at__gte=since).values("organization")
            ).values_list("id", flat=True)
        )
        changed = ApiKey.objects.filter(Q(changed_at__gte=since) | Q(workspace_id__in=workspaces))
        for digest, key in read(changed):
            self._unknown.pop(digest, None)
            if digest in self.keys:
                self.keys[digest] = key
        if time.monotonic() >= self._next_full_check:
            self._next_full_check = time.monotonic() + _FULL_CHECK_S
            self._check_all()
        self._watermark = started_at
        self.refreshed_at = time.monotonic()

    def _check_all(self) -> None:
        """Forget keys that were deleted, and find those whose end the last looks missed.

        `changed_at` is written by the pages' clock: where that is wrong by more than the overlap, a change is not seen
        as one. When a key ends must not depend on it.
        """
        known = list(self.keys)
        for start in range(0, len(known), 500):
            part = known[start : start + 500]
            rows = ApiKey.objects.filter(sha256__in=[digest.hex() for digest in part])
            ends = {
                bytes.fromhex(sha256): (_seconds(revoked_at or disabled_at), _seconds(expires_at))
                for sha256, revoked_at, disabled_at, expires_at in rows.values_list(
                    "sha256", "revoked_at", "disabled_at", "expires_at"
                )
            }
            missed = []
            for digest in part:
                key = self.keys[digest]
                if digest not in ends:
                    self.keys.pop(digest, None)
                elif ends[digest] != (key.revoked_at, key.expires_at):
                    missed.append(digest.hex())
            for digest, key in read(ApiKey.objects.filter(sha256__in=missed)) if missed else ():
                self.keys[digest] = key
        self._check_credentials()

    def _check_credentials(self) -> None:
        """Read anew the keys of organizations whose provider keys came, went or changed since the last check."""
        before = self._credential_versions
        now = provider_keys.versions({key.organization_id for key in list(self.keys.values())})
        moved = {
            organization_id
            for organization_id in before.keys() | now.keys()
            if before.get(organization_id) != now.get(organization_id)
        }
        if moved:
            for digest, key in read(ApiKey.objects.filter(workspace__organization_id__in=moved)):
                if digest in self.keys:
                    self.keys[digest] = key
        self._credential_versions = now

    def _load_one(self, digest: bytes) -> KeySnapshot | None:
        with control.connected():
            for _, key in read(ApiKey.objects.filter(sha256=digest.hex())):
                return key
            return None

    def _run(self) -> None:
        with control.connected():
            self._work()

    def _work(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            try:
                close_old_connections()
                self.refresh()
            except DatabaseError:
                logger.warning("Keys and policies could not be refreshed: the database does not answer.")
            except Exception:
                logger.exception("Keys and policies could not be refreshed.")


def read(keys: QuerySet[ApiKey]) -> Iterable[tuple[bytes, KeySnapshot]]:
    """Yield digest and snapshot of the given keys as the database has them now."""
    rows = list(keys.select_related("workspace__organization"))
    workspace_ids = {row.workspace_id for row in rows}
    policies = _policies(workspace_ids)
    experiments = _experiments(workspace_ids)
    guardrails = guardrail_policies.snapshots(workspace_ids)
    credentials = provider_keys.read({row.workspace_id: row.workspace.organization_id for row in rows})
    agreed = contract_prices.read({row.workspace.organization_id for row in rows})
    limits = _limits({row.workspace.organization for row in rows})
    for row in rows:
        workspace = row.workspace
        yield (
            bytes.fromhex(row.sha256),
            KeySnapshot(
                api_key_id=row.id,
                organization_id=workspace.organization_id,
                workspace_id=workspace.id,
                name=row.name,
                is_test=row.mode == ApiKey.Mode.TEST,
                scopes=frozenset(row.scopes),
                expires_at=_seconds(row.expires_at),
                revoked_at=_seconds(row.revoked_at or row.disabled_at),
                stores_content=workspace.stores_content,
                content_cap_bytes=workspace.content_cap_bytes,
                content_retention_days=workspace.content_retention_days,
                policy=policies.get(workspace.id, PolicySnapshot()),
                credentials=credentials.get(workspace.id),
                contracts=agreed.get(workspace.organization_id),
                experiments=experiments.get(workspace.id, ()),
                guardrails=guardrails.get(workspace.id, NO_GUARDRAILS),
                quality_floor=row.quality_floor,
                max_cost_per_request_nanousd=row.max_cost_per_request_nanousd,
                has_plain_budget_errors=row.has_plain_budget_errors,
                limits=tuple(limit for limit in limits.get(workspace.organization_id, ()) if _may_concern(limit, row)),
            ),
        )


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _policies(workspace_ids: set[str]) -> dict[str, PolicySnapshot]:
    newest: dict[str, PolicySnapshot] = {}
    for row in RoutingPolicy.objects.filter(workspace_id__in=workspace_ids).order_by("workspace_id", "-number"):
        if row.workspace_id not in newest:
            newest[row.workspace_id] = PolicySnapshot(
                version=row.id,
                default_model=row.default_model,
                by_task=dict(row.by_task),
                baseline_model=row.baseline_model,
            )
    return newest


def _limits(organizations: Iterable[Organization]) -> dict[str, list[LimitSnapshot]]:
    zones = {organization.id: organization.time_zone for organization in organizations}
    found: dict[str, list[LimitSnapshot]] = {}
    for row in Limit.objects.filter(organization_id__in=zones):
        found.setdefault(row.organization_id, []).append(limit_snapshot(row, time_zone=zones[row.organization_id]))
    return found


def limit_snapshot(row: Limit, *, time_zone: str) -> LimitSnapshot:
    """Return a limit as the data plane holds it."""
    return LimitSnapshot(
        limit_id=row.id,
        name=row.name,
        scope=row.scope,
        kind=row.kind,
        amount=row.amount,
        subject=f"{row.tag}={row.subject}" if row.scope == Limit.Scope.TAG and row.subject else row.subject,
        is_each=row.is_each,
        tag=row.tag,
        period=row.period,
        time_zone=time_zone,
        downgrades=row.on_exceed == Limit.OnExceed.DOWNGRADE,
        downgrade_percent=row.downgrade_percent,
        alert_percents=tuple(sorted(row.alert_percents)),
    )


def _may_concern(limit: LimitSnapshot, key: ApiKey) -> bool:
    """Return whether calls of the key can count against the limit.

    Test keys spend no money: they meet the limits of keys only, so that a limit can be tried with one of its own.
    """
    if limit.scope == Limit.Scope.API_KEY:
        # On each key means each that spends money; a test key is limited when it is named.
        return limit.subject == key.id or (limit.is_each and key.mode == ApiKey.Mode.LIVE)
    if key.mode == ApiKey.Mode.TEST:
        return False
    return limit.scope != Limit.Scope.WORKSPACE or limit.is_each or limit.subject == key.workspace_id


def _experiments(workspace_ids: set[str]) -> dict[str, tuple[ExperimentSnapshot, ...]]:
    running: dict[str, list[ExperimentSnapshot]] = {}
    rows = Experiment.objects.filter(workspace_id__in=workspace_ids, state=Experiment.State.RUNNING).order_by(
        "started_at", "id"
    )
    for row in rows:
        running.setdefault(row.workspace_id, []).append(
            ExperimentSnapshot(
                experiment_id=row.id,
                salt=row.id,
                unit=row.unit,
                task_type=row.task_type,
                arms=(
                    ArmSnapshot("control", row.control_model, 1.0 - row.treatment_share),
                    ArmSnapshot("treatment", row.treatment_model, row.treatment_share),
                ),
            )
        )
    return {workspace_id: tuple(found) for workspace_id, found in running.items()}
