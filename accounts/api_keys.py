"""API keys: create, rotate, revoke, and note when they were used. A key itself exists only in `NewKey`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts import audit, key_scopes, tokens, webhooks
from accounts.models import ApiKey, User, Workspace

MAXIMUM_OVERLAP = dt.timedelta(days=30)
_TOUCHED_AT_ONCE = 500


class InvalidKey(ValueError):
    """The key cannot be made or changed like that; the message says what can."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the only moment when it is known; show `key` once and keep it nowhere."""

    api_key: ApiKey
    key: str = field(repr=False)  # a repr in a log or a stack trace must not give it away


def create(
    *,
    workspace: Workspace,
    name: str,
    mode: tokens.Mode,
    actor: audit.Actor,
    now: dt.datetime,
    scopes: Iterable[str] = (),
    expires_at: dt.datetime | None = None,
    created_by: User | None = None,
) -> NewKey:
    """Make a key of `workspace`. No scopes means all of them; no `expires_at` means until revoked.

    Raises:
        InvalidKey: no name, an unknown mode or scope, or an expiry that is not in the future.
    """
    name = _clean_name(name)
    if mode not in ApiKey.Mode.values:
        raise InvalidKey("The mode must be live or test.")
    if expires_at is not None and expires_at <= now:
        raise InvalidKey("The key would have expired already. Choose a later date, or none.")
    try:
        granted = key_scopes.normalize(scopes)
    except key_scopes.UnknownScope as error:
        raise InvalidKey(str(error)) from error
    with transaction.atomic():
        new = _insert(
            workspace=workspace,
            name=name,
            mode=mode,
            granted=granted,
            expires_at=expires_at,
            created_by=created_by,
        )
        _record(new.api_key, "api_key.create", actor=actor, now=now, after=_facts(new.api_key))
        _tell(new.api_key, webhooks.API_KEY_CREATED, actor=actor, now=now)
    return new


def rotate(
    *,
    api_key: ApiKey,
    actor: audit.Actor,
    now: dt.datetime,
    overlap: dt.timedelta = dt.timedelta(0),
    created_by: User | None = None,
) -> NewKey:
    """Replace a key by a new one with the same name, scopes and expiry.

    The old key works for `overlap` longer, never longer than it would have; without an overlap it
    is revoked at once.

    Raises:
        InvalidKey: the key was revoked, has expired or was rotated already, or `overlap` is not 0 to 30 days.
    """
    if not dt.timedelta(0) <= overlap <= MAXIMUM_OVERLAP:
        raise InvalidKey(f"The old key can work for 0 to {MAXIMUM_OVERLAP.days} days longer.")
    with transaction.atomic():
        # Two rotations at once must not leave two successors.
        old = ApiKey.objects.select_for_update().select_related("workspace").get(pk=api_key.pk)
        if old.state(now) != "active":
            raise InvalidKey("Only an active key can be rotated. Create a new key instead.")
        new = _insert(
            workspace=old.workspace,
            name=old.name,
            mode="live" if old.mode == ApiKey.Mode.LIVE else "test",
            granted=old.scopes,
            expires_at=old.expires_at,
            created_by=created_by,
            guardrails=_guardrails(old),
        )
        before = _facts(old)
        old.replaced_by = new.api_key
        if overlap:
            old.expires_at = min(old.expires_at, now + overlap) if old.expires_at else now + overlap
        else:
            old.revoked_at = now
        old.save(update_fields=["replaced_by", "expires_at", "revoked_at", "changed_at"])
        _record(old, "api_key.rotate", actor=actor, now=now, before=before, after=_facts(new.api_key))
        _tell(new.api_key, webhooks.API_KEY_CREATED, actor=actor, now=now, replaces=old.pk)
        if old.revoked_at is not None:
            _tell(old, webhooks.API_KEY_REVOKED, actor=actor, now=now)
    return new


def revoke(*, api_key: ApiKey, actor: audit.Actor, now: dt.datetime) -> None:
    """End a key now; one that was revoked before keeps its time."""
    with transaction.atomic():
        current = ApiKey.objects.select_for_update().select_related("workspace").get(pk=api_key.pk)
        if current.revoked_at is not None:
            return
        current.revoked_at = now
        current.save(update_fields=["revoked_at", "changed_at"])
        _record(current, "api_key.revoke", actor=actor, now=now, before=_facts(current))
        _tell(current, webhooks.API_KEY_REVOKED, actor=actor, now=now)


def change(
    *,
    api_key: ApiKey,
    actor: audit.Actor,
    now: dt.datetime,
    name: str | None = None,
    is_disabled: bool | None = None,
) -> ApiKey:
    """Rename a key, disable it for a while or enable it again; None leaves a thing as it is.

    Raises:
        InvalidKey: no name, or the key was revoked: that cannot be undone.
    """
    name = None if name is None else _clean_name(name)
    with transaction.atomic():
        current = ApiKey.objects.select_for_update().select_related("workspace").get(pk=api_key.pk)
        if current.revoked_at is not None:
            raise InvalidKey("The key was revoked, which cannot be undone. Create a new key instead.")
        before = _facts(current)
        if name is not None:
            current.name = name
        if is_disabled is not None and is_disabled != (current.disabled_at is not None):
            current.disabled_at = now if is_disabled else None
        after = _facts(current)
        if after != before:
            current.save(update_fields=["name", "disabled_at", "changed_at"])
            _record(current, "api_key.change", actor=actor, now=now, before=before, after=after)
    return current


def set_guardrails(
    *,
    api_key: ApiKey,
    quality_floor: float | None,
    max_cost_per_request_nanousd: int | None,
    has_plain_budget_errors: bool,
    actor: audit.Actor,
    now: dt.datetime,
) -> None:
    """Set what every call of a key is held to; None takes a guardrail away. It holds within two seconds.

    Raises:
        InvalidKey: the floor is no share from 0 to 1, or the cost is not more than nothing and up to $1,000,000.
    """
    if quality_floor is not None and not 0 <= quality_floor <= 1:
        raise InvalidKey("The quality floor is a number from 0 to 1.")
    if max_cost_per_request_nanousd is not None and not 0 < max_cost_per_request_nanousd <= 10**15:
        raise InvalidKey("The most that a request may cost is more than nothing and up to $1,000,000.")
    with transaction.atomic():
        current = ApiKey.objects.select_for_update().select_related("workspace").get(pk=api_key.pk)
        before = _guardrails(current)
        current.quality_floor = quality_floor
        current.max_cost_per_request_nanousd = max_cost_per_request_nanousd
        current.has_plain_budget_errors = has_plain_budget_errors
        if _guardrails(current) == before:
            return
        current.save(
            update_fields=[
                "quality_floor",
                "max_cost_per_request_nanousd",
                "has_plain_budget_errors",
                "changed_at",
            ]
        )
        _record(current, "api_key.guardrails", actor=actor, now=now, before=before, after=_guardrails(current))


def _guardrails(api_key: ApiKey) -> dict[str, Any]:
    return {
        "quality_floor": api_key.quality_floor,
        "max_cost_per_request_nanousd": api_key.max_cost_per_request_nanousd,
        "has_plain_budget_errors": api_key.has_plain_budget_errors,
    }


def touch_last_used(used: Mapping[str, dt.datetime]) -> None:
    """Note the last use of many keys, id → time, to the minute. Late news never turns a newer time back.

    `changed_at` stays: a use is no change that the data plane would have to read again.
    """
    by_minute: dict[dt.datetime, list[str]] = {}
    for key_id, at in used.items():
        # Minutes are enough for a page, and a key in constant use is written once a minute.
        by_minute.setdefault(at.replace(second=0, microsecond=0), []).append(key_id)
    for at, key_ids in sorted(by_minute.items()):
        for start in range(0, len(key_ids), _TOUCHED_AT_ONCE):
            _touch(key_ids[start : start + _TOUCHED_AT_ONCE], at)


def _touch(key_ids: list[str], at: dt.datetime) -> None:
    older = ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=at), pk__in=key_ids)
    with transaction.atomic():
        # Two workers that lock the same rows in different orders would wait for each other for ever. A row that
        # another one holds is skipped: that one writes the same minute, or revokes the key.
        free = list(older.select_for_update(skip_locked=True).values_list("pk", flat=True))
        if free:
            ApiKey.objects.filter(pk__in=free).update(last_used_at=at)


def _insert(
    *,
    workspace: Workspace,
    name: str,
    mode: tokens.Mode,
    granted: list[str],
    expires_at: dt.datetime | None,
    created_by: User | None,
    guardrails: dict[str, Any] | None = None,
) -> NewKey:
    key = tokens.make(mode)
    api_key = ApiKey.objects.create(
        workspace=workspace,
        created_by=created_by,
        name=name,
        mode=mode,
        sha256=tokens.sha256(key),
        hint=tokens.hint(key),
        scopes=granted,
        expires_at=expires_at,
        **(guardrails or {}),
    )
    return NewKey(api_key=api_key, key=key)


def _record(
    api_key: ApiKey,
    action: str,
    *,
    actor: audit.Actor,
    now: dt.datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    audit.record(
        organization_id=api_key.workspace.organization_id,
        actor=actor,
        action=action,
        target=api_key,
        now=now,
        before=before,
        after=after,
    )


def _tell(api_key: ApiKey, event_type: str, *, actor: audit.Actor, now: dt.datetime, replaces: str = "") -> None:
    """Emit what became of a key; never the key."""
    webhooks.emit(
        organization_id=api_key.workspace.organization_id,
        event_type=event_type,
        data=_facts(api_key) | {"actor": tokens.redact(actor.label)} | ({"replaces": replaces} if replaces else {}),
        now=now,
    )


def _facts(api_key: ApiKey) -> dict[str, Any]:
    return {
        "id": api_key.pk,
        "name": api_key.name,
        "hint": api_key.hint,
        "mode": str(api_key.mode),
        "workspace": api_key.workspace.slug,
        "scopes": api_key.scopes,
        "expires_at": api_key.expires_at.isoformat() if api_key.expires_at else None,
        "disabled_at": api_key.disabled_at.isoformat() if api_key.disabled_at else None,
    }


def _clean_name(name: str) -> str:
    name = " ".join(name.split())
    if tokens.PATTERN.search(name):
        raise InvalidKey(
            "That is an API key. A name is stored and shown to all members: choose another, and revoke that key."
        )
    if not name or len(name) > 200:
        raise InvalidKey("Give the key a name of 1 to 200 characters that says who uses it.")
    return name
