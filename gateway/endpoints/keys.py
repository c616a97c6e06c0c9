"""`/v1/keys`: list, make, change and revoke keys by program, as OpenRouter's key management does.

Source of the names: OpenRouter's OpenAPI document, "API keys". Only a key with the `keys` scope may do it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
import orjson
from django.db import Error as DatabaseError

from accounts import api_keys, key_scopes
from gateway import control, errors, managed_keys, pipeline, receipt
from gateway.dialects import json_body
from gateway.dialects.protocol import Dialect
from gateway.http import Request, send_json
from gateway.managed_keys import Budget, Change, ManagedKey
from gateway.state import State

_MAX_BYTES = 16 * 1024
_MAX_USD = 1_000_000_000
_NOT_APPLIED = ("creator_user_id", "external", "include_byok_in_limit")

_Found = TypeVar("_Found")


class _New(msgspec.Struct):
    name: str
    limit: float | None = None
    limit_reset: str | None = None
    expires_at: str | None = None
    workspace_id: str | None = None


class _Changed(msgspec.Struct):
    name: str | None = None
    disabled: bool | None = None
    limit: float | msgspec.UnsetType | None = msgspec.UNSET
    limit_reset: str | msgspec.UnsetType | None = msgspec.UNSET
    workspace_id: str | None = None


async def handle_all(state: State, request: Request, dialect: Dialect) -> None:
    """List the workspace's keys, or make one."""
    key = await pipeline.authenticate(state, request, scope=key_scopes.KEYS)
    now = dt.datetime.fromtimestamp(request.now, dt.UTC)
    if request.scope["method"] == "GET":
        asked = parse_qs(request.scope.get("query_string", b"").decode("latin-1"))
        _require_own_workspace(asked.get("workspace_id", [None])[0], key.workspace_id)
        found = await _ask(
            lambda: managed_keys.listed(
                manager_id=key.api_key_id,
                offset=_offset(asked.get("offset", ["0"])[0]),
                includes_ended="true" in asked.get("include_disabled", []) + asked.get("include_expired", []),
                now=now,
            )
        )
        await send_json(request, orjson.dumps({"data": [_shown(one, now) for one in found]}))
        return
    raw = await request.read(_MAX_BYTES)
    wanted = _decode(raw, _New)
    _require_own_workspace(wanted.workspace_id, key.workspace_id)
    budget = _budget(wanted.limit, wanted.limit_reset)
    expires_at = _moment(wanted.expires_at)
    made = await _ask(
        lambda: managed_keys.create(
            manager_id=key.api_key_id, name=wanted.name, expires_at=expires_at, budget=budget, now=now
        )
    )
    answer = {"data": _shown(made, now) | _not_applied(raw), "key": made.key}
    await send_json(request, orjson.dumps(answer), [(b"cache-control", b"no-store")], status=201)


async def handle_one(state: State, request: Request, dialect: Dialect) -> None:
    """Show, change or revoke one key."""
    key = await pipeline.authenticate(state, request, scope=key_scopes.KEYS)
    now = dt.datetime.fromtimestamp(request.now, dt.UTC)
    key_id, manager_id = request.path.rpartition("/")[2], key.api_key_id
    method = request.scope["method"]
    if method == "DELETE":
        await _ask(lambda: managed_keys.revoke(manager_id=manager_id, key_id=key_id, now=now))
        await send_json(request, orjson.dumps({"deleted": True}))
        return
    if method == "GET":
        found = await _ask(lambda: managed_keys.get(manager_id=manager_id, key_id=key_id, now=now))
        await send_json(request, orjson.dumps({"data": _shown(found, now)}))
        return
    raw = await request.read(_MAX_BYTES)
    wanted = _decode(raw, _Changed)
    _require_own_workspace(wanted.workspace_id, key.workspace_id)
    kept = await _ask(lambda: managed_keys.get(manager_id=manager_id, key_id=key_id, now=now))
    change = _change(wanted, kept.budget)
    changed = await _ask(lambda: managed_keys.change(manager_id=manager_id, key_id=key_id, wanted=change, now=now))
    await send_json(request, orjson.dumps({"data": _shown(changed, now) | _not_applied(raw)}))


def _change(wanted: _Changed, kept: Budget | None) -> Change:
    has_budget = wanted.limit is not msgspec.UNSET or wanted.limit_reset is not msgspec.UNSET
    budget = None
    if has_budget:
        amount = wanted.limit
        if amount is msgspec.UNSET:
            amount = None if kept is None else kept.amount_nanousd / 1e9
        reset = wanted.limit_reset
        if reset is msgspec.UNSET:
            reset = None if kept is None else kept.reset or None
        budget = _budget(amount, reset)
    return Change(name=wanted.name, is_disabled=wanted.disabled, has_budget=has_budget, budget=budget)


async def _ask(question: Callable[[], _Found]) -> _Found:
    """Return what the database says, asked from a thread; its refusals as the client is told them."""
    try:
        return await asyncio.to_thread(_asked, question)
    except managed_keys.NotAllowed as error:
        raise errors.PermissionDenied(str(error), code="management_not_allowed") from None
    except managed_keys.UnknownKey:
        raise errors.NotFound("There is no such key in this key's workspace.", code="key_not_found") from None
    except api_keys.InvalidKey as error:
        raise errors.InvalidRequest(str(error), code="invalid_key") from None
    except DatabaseError:
        raise errors.Unavailable(
            "The key database does not answer now. Try again in a moment.",
            code="key_database_unavailable",
            retry_after_s=2,
        ) from None


def _asked(question: Callable[[], _Found]) -> _Found:
    with control.connected():
        return question()


def _shown(found: ManagedKey, now: dt.datetime) -> dict[str, Any]:
    api_key, budget = found.api_key, found.budget
    return {
        "hash": managed_keys.hash_of(api_key),
        "name": api_key.name,
        "label": managed_keys.label_of(api_key),
        "disabled": api_key.state(now) in {"disabled", "revoked"},
        "limit": None if budget is None else receipt.usd(budget.amount_nanousd),
        "limit_remaining": receipt.usd(found.remaining_nanousd),
        "limit_reset": None if budget is None else budget.reset or None,
        "include_byok_in_limit": True,
        **{name: receipt.usd(amount) for name, amount in found.usage.by_name().items()},
        "workspace_id": api_key.workspace_id,
        "creator_user_id": str(api_key.created_by_id) if api_key.created_by_id else None,
        "external_user": None,
        "created_at": api_key.created_at.isoformat(),
        "updated_at": api_key.changed_at.isoformat(),
        "last_used_at": api_key.last_used_at.isoformat() if api_key.last_used_at else None,
        "expires_at": api_key.expires_at.isoformat() if api_key.expires_at else None,
    }


def _not_applied(raw: bytes) -> dict[str, Any]:
    """Name what of OpenRouter's fields was sent and has no meaning here, so that nothing is ignored in silence."""
    sent = orjson.loads(raw)
    named = [name for name in _NOT_APPLIED if name in sent]
    return {"not_applied": named} if named else {}


def _decode(raw: bytes, kind: type[_Found]) -> _Found:
    json_body.require_shallow(raw)
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise errors.InvalidRequest(f"The body cannot be used: {error}.", code="invalid_type") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.InvalidRequest("The body is not valid JSON.", code="invalid_json") from None


def _budget(limit_usd: float | None, reset: str | None) -> Budget | None:
    if reset is not None and reset not in managed_keys.PERIODS:
        raise errors.InvalidRequest(
            "`limit_reset` is daily, weekly, monthly or null.", param="limit_reset", code="invalid_value"
        )
    if limit_usd is None:
        return None
    if not 0 < limit_usd <= _MAX_USD:
        raise errors.InvalidRequest(
            "`limit` is US dollars above 0, or null for none. To stop a key, disable it.",
            param="limit",
            code="invalid_value",
        )
    return Budget(round(limit_usd * 1e9), reset or "")


def _moment(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or moment.year > 2200:
        raise errors.InvalidRequest(
            "`expires_at` is a moment with its time zone, such as 2027-01-31T00:00:00Z.",
            param="expires_at",
            code="invalid_value",
        )
    return moment.astimezone(dt.UTC)


def _offset(text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise errors.InvalidRequest("`offset` is a whole number from 0.", param="offset", code="invalid_value")
    return int(text)


def _require_own_workspace(asked: str | None, own: str) -> None:
    if asked is not None and asked != own:
        raise errors.NotFound(
            "A management key manages the keys of its own workspace only.", code="workspace_not_found"
        )
