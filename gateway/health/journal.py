"""What the provider health page reads: changes of state as rows, and the picture of the moment in the cache.

Written by `gateway.health.upkeep`, behind the path of calls; it may be in another process than the page's.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.core.cache import cache
from django.db import transaction

from accounts import webhooks
from gateway.health.board import KeyFallback
from gateway.models import ProviderEvent

_PICTURE = "gateway:provider-health"
# A picture older than this says nothing of the moment: the data plane is not running.
_PICTURE_TTL_S = 60
# Several processes notice the same outage.
_SAME_WITHIN = dt.timedelta(seconds=30)
_KEPT = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Change:
    """An endpoint went out of service, or came back."""

    provider: str
    model: str
    is_open: bool
    reason: str
    happened_at: dt.datetime


@dataclass(frozen=True, slots=True)
class EndpointPicture:
    """An endpoint's last five minutes as pages and `/v1/performance` show them; None where too little is known."""

    provider: str
    model: str
    state: str  # healthy, degraded, open, half-open, limited, credential, neutral
    samples: int
    error_ratio: float | None
    first_token_p50_ms: float | None
    first_token_p75_ms: float | None
    first_token_p95_ms: float | None
    tokens_per_s_p50: float | None
    failures: dict[str, int]
    weight: float

    @property
    def error_percent(self) -> str:
        return "" if self.error_ratio is None else f"{100 * self.error_ratio:.1f}%"


def write(
    changes: Sequence[Change],
    picture: Iterable[EndpointPicture],
    *,
    now: dt.datetime,
    key_fallbacks: Iterable[KeyFallback] = (),
) -> None:
    """Keep the changes of state, tell those who want to hear of them, and put the picture where pages find it."""
    for one in key_fallbacks:
        webhooks.emit(
            organization_id=one.organization_id,
            event_type=webhooks.FALLBACK_USED,
            data={
                "workspace_id": one.workspace_id,
                "credential_id": one.credential_id,
                "provider": one.provider,
                "model": one.model,
                "error": one.error_class,
            },
            now=now,
            once=f"{one.credential_id}|{one.workspace_id}|{now:%Y-%m-%dT%H}",  # the first of each hour
        )
    for change in changes:
        _keep(change)
    if changes:
        ProviderEvent.objects.filter(happened_at__lt=now - _KEPT).delete()
    cache.set(_PICTURE, {"at": now, "endpoints": [asdict(one) for one in picture]}, _PICTURE_TTL_S)


def picture() -> tuple[dt.datetime | None, list[EndpointPicture]]:
    """Return when the data plane last told how its endpoints do, and how; None when it does not tell."""
    found: dict[str, Any] | None = cache.get(_PICTURE)
    if found is None:
        return None, []
    return found["at"], [EndpointPicture(**one) for one in found["endpoints"]]


def changes_since(at: dt.datetime, *, most: int) -> list[ProviderEvent]:
    """Return the latest changes of state, newest first."""
    return list(ProviderEvent.objects.filter(happened_at__gte=at).order_by("-happened_at", "-pk")[:most])


def _keep(change: Change) -> None:
    with transaction.atomic():
        before = (
            ProviderEvent.objects.filter(provider=change.provider, model=change.model)
            .order_by("-happened_at", "-pk")
            .first()
        )
        if (
            before is not None
            and before.is_open == change.is_open
            and abs(change.happened_at - before.happened_at) < _SAME_WITHIN
        ):
            return
        ProviderEvent.objects.create(
            provider=change.provider,
            model=change.model,
            is_open=change.is_open,
            reason=change.reason,
            happened_at=change.happened_at,
        )
        webhooks.emit_everywhere(
            event_type=webhooks.PROVIDER_STATE_CHANGED,
            data={
                "provider": change.provider,
                "model": change.model,
                "state": "unhealthy" if change.is_open else "healthy",
                "reason": change.reason,
                "happened_at": change.happened_at.isoformat(),
            },
            now=change.happened_at,
            once=f"{change.provider}|{change.model}|{change.is_open}|{int(change.happened_at.timestamp()) // 30}",
        )
