"""Write the audit trail: every change of accounts goes through `record`, in the transaction of the change.

What may stand in `before` and `after` is decided by the callers: names, roles, settings and hints,
never a key, a token or a password. Should a key get in all the same (people paste them into names),
`record` cuts it down to its hint.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import models

from accounts import tokens
from accounts.models import ApiKey, AuditEvent, User


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and from which address; `label` stays readable when the account is gone."""

    kind: str
    id: str
    label: str
    ip: str | None = None


SYSTEM = Actor(kind=AuditEvent.ActorKind.SYSTEM, id="", label="system")


def user(person: User, *, ip: str | None = None) -> Actor:
    """Return `person` as an actor."""
    return Actor(kind=AuditEvent.ActorKind.USER, id=str(person.pk), label=person.email, ip=ip)


def api_key(key: ApiKey, *, ip: str | None = None) -> Actor:
    """Return a program that authenticated with `key` as an actor."""
    return Actor(kind=AuditEvent.ActorKind.API_KEY, id=key.pk, label=f"{key.name} ({key.hint})", ip=ip)


def record(
    *,
    organization_id: str,
    actor: Actor,
    action: str,
    target: models.Model,
    now: dt.datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> AuditEvent:
    """Append one event; `action` is `noun.verb`, `before` and `after` hold only the fields that matter, as JSON."""
    return AuditEvent.objects.create(
        organization_id=organization_id,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=tokens.redact(actor.label)[:254],
        ip=actor.ip,
        action=action,
        object_type=target._meta.model_name or "",
        object_id=str(target.pk),
        object_label=tokens.redact(str(target))[:254],
        before=_redacted(before),
        after=_redacted(after),
        at=now,
    )


class Owned(Protocol):
    """A row that belongs to an organization."""

    @property
    def organization_id(self) -> str: ...


def change(
    target: Owned,
    action: str,
    *,
    actor: Actor,
    now: dt.datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Append an event about a row that names its organization; as `record`."""
    assert isinstance(target, models.Model)
    record(
        organization_id=target.organization_id,
        actor=actor,
        action=action,
        target=target,
        now=now,
        before=before,
        after=after,
    )


def _redacted(values: dict[str, Any] | None) -> dict[str, Any]:
    # A key has no character that JSON escapes, and its hint has no quote: the text stays valid.
    redacted: dict[str, Any] = json.loads(tokens.redact(json.dumps(values or {})))
    return redacted
