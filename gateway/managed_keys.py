"""A workspace's API keys as a program manages them: with their budgets and what they used.

What a management key may do follows from who made it: as long as that person may manage keys, it may, in its own
workspace; it makes no further management keys. The pages' rules (`accounts.api_keys`) and the audit trail hold here
too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db import transaction

from accounts import api_keys, audit, key_scopes, roles, tokens
from accounts.models import ApiKey, Membership, Organization, User
from accounts.models.api_key import ApiKeyQuerySet
from billing import spending, usage
from billing.usage import KeyUsage
from gateway import periods
from gateway.models import Limit

# What OpenRouter calls the period of a key's limit.
PERIODS = {"daily": Limit.Period.DAY, "weekly": Limit.Period.WEEK, "monthly": Limit.Period.MONTH}
_RESETS = {period: name for name, period in PERIODS.items()}
_BUDGET_NAME = "Budget of the key, set by the API"
PAGE = 100


class NotAllowed(Exception):
    """The management key may not do that; the message says why."""


class UnknownKey(Exception):
    """The workspace has no such key."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a key may spend: nano-USD, and how often that begins anew (a key of `PERIODS`; empty: never)."""

    amount_nanousd: int
    reset: str = ""


@dataclass(frozen=True, slots=True)
class ManagedKey:
    """A key with its budget and its usage. `key` is the key itself, only where it was just made."""

    api_key: ApiKey
    budget: Budget | None
    usage: KeyUsage
    counted_nanousd: int = 0  # against the budget, in its period: what the customer's own keys paid as well
    key: str = field(default="", repr=False)

    @property
    def remaining_nanousd(self) -> int | None:
        """What is left of the budget by the ledger; None without one. Never below zero."""
        if self.budget is None:
            return None
        return max(0, self.budget.amount_nanousd - self.counted_nanousd)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be changed of a key; None leaves it. `has_budget` says whether `budget` is meant, None being none."""

    name: str | None = None
    is_disabled: bool | None = None
    has_budget: bool = False
    budget: Budget | None = None


def listed(*, manager_id: str, offset: int, includes_ended: bool, now: dt.datetime) -> list[ManagedKey]:
    """Return a page of the workspace's keys, the newest first. Raises `NotAllowed`."""
    manager = _manager(manager_id)
    found = _reachable(manager)
    if not includes_ended:
        found = found.usable(now)
    return _with_usage(manager, list(found.order_by("-created_at", "pk")[offset : offset + PAGE]), now)


def get(*, manager_id: str, key_id: str, now: dt.datetime) -> ManagedKey:
    """Return one key of the workspace. Raises `NotAllowed`, `UnknownKey`."""
    manager = _manager(manager_id)
    return _with_usage(manager, [_key(manager, key_id)], now)[0]


def create(
    *,
    manager_id: str,
    name: str,
    expires_at: dt.datetime | None,
    budget: Budget | None,
    now: dt.datetime,
) -> ManagedKey:
    """Make a key of the manager's workspace and mode, for everything but managing keys.

    Raises:
        NotAllowed, api_keys.InvalidKey
    """
    manager = _manager(manager_id)
    with transaction.atomic():
        new = api_keys.create(
            workspace=manager.workspace,
            name=name,
            mode="live" if manager.mode == ApiKey.Mode.LIVE else "test",
            expires_at=expires_at,
            created_by=manager.created_by,
            actor=audit.api_key(manager),
            now=now,
        )
        if budget is not None:
            _set_budget(manager, new.api_key, budget, now)
    return ManagedKey(new.api_key, budget, usage.NOTHING, key=new.key)


def change(*, manager_id: str, key_id: str, wanted: Change, now: dt.datetime) -> ManagedKey:
    """Change a key's name, state or budget.

    Raises:
        NotAllowed, UnknownKey, api_keys.InvalidKey
    """
    manager = _manager(manager_id)
    api_key = _manageable(_key(manager, key_id))
    with transaction.atomic():
        api_key = api_keys.change(
            api_key=api_key,
            name=wanted.name,
            is_disabled=wanted.is_disabled,
            actor=audit.api_key(manager),
            now=now,
        )
        if wanted.has_budget:
            _set_budget(manager, api_key, wanted.budget, now)
    return _with_usage(manager, [api_key], now)[0]


def revoke(*, manager_id: str, key_id: str, now: dt.datetime) -> None:
    """End a key for good. Raises `NotAllowed`, `UnknownKey`."""
    manager = _manager(manager_id)
    api_keys.revoke(api_key=_manageable(_key(manager, key_id)), actor=audit.api_key(manager), now=now)


def _manager(key_id: str) -> ApiKey:
    """Return the management key if whoever made it may still manage keys."""
    manager = ApiKey.objects.select_related("workspace__organization", "created_by").get(pk=key_id)
    maker: User | None = manager.created_by
    membership = Membership.objects.filter(user=maker, organization=manager.workspace.organization).first()
    if maker is None or membership is None or not roles.grants(membership.role, roles.MANAGE_KEYS):
        raise NotAllowed("Whoever made this management key may not manage keys any more. Make a new one under Keys.")
    return manager


def _reachable(manager: ApiKey) -> ApiKeyQuerySet:
    """Return the keys that a management key may see: of its workspace, and with a test key those of its mode only."""
    found = ApiKey.objects.filter(workspace=manager.workspace).select_related("workspace")
    return found if manager.mode == ApiKey.Mode.LIVE else found.filter(mode=manager.mode)


def _key(manager: ApiKey, key_id: str) -> ApiKey:
    found = _reachable(manager).filter(pk=key_id).first()
    if found is None:
        raise UnknownKey
    return found


def _manageable(api_key: ApiKey) -> ApiKey:
    if key_scopes.KEYS in api_key.scopes:
        raise NotAllowed("That is a management key. It is changed and revoked on the Keys page only.")
    return api_key


def _set_budget(manager: ApiKey, api_key: ApiKey, budget: Budget | None, now: dt.datetime) -> None:
    """Give the key this budget in the place of the one that the API gave it; limits made on the pages stay."""
    organization = manager.workspace.organization
    mine = Limit.objects.filter(
        organization=organization, scope=Limit.Scope.API_KEY, subject=api_key.pk, name=_BUDGET_NAME
    )
    before = _budget(mine.first())
    if before == budget:
        return
    if budget is None:
        mine.delete()
    else:
        mine.update_or_create(
            organization=organization,
            scope=Limit.Scope.API_KEY,
            subject=api_key.pk,
            name=_BUDGET_NAME,
            defaults={
                "kind": Limit.Kind.BUDGET,
                "amount": budget.amount_nanousd,
                "period": PERIODS.get(budget.reset, Limit.Period.TOTAL),
                "created_by": manager.created_by,
            },
        )
    organization.save(update_fields=["changed_at"])  # the data plane reads the limits of what has changed
    audit.record(
        organization_id=organization.pk,
        actor=audit.api_key(manager),
        action="api_key.limit",
        target=api_key,
        now=now,
        before={"limit_nanousd": before.amount_nanousd, "reset": before.reset} if before else None,
        after={"limit_nanousd": budget.amount_nanousd, "reset": budget.reset} if budget else None,
    )


def _with_usage(manager: ApiKey, found: list[ApiKey], now: dt.datetime) -> list[ManagedKey]:
    organization_id = manager.workspace.organization_id
    ids = [api_key.pk for api_key in found]
    used = usage.by_key(organization_id=organization_id, api_key_ids=ids, today=now.astimezone(dt.UTC).date())
    budgets = _budgets(organization_id, ids)
    counted = _counted(manager.workspace.organization, {budget.reset for budget in budgets.values()}, now)
    made = []
    for api_key in found:
        budget = budgets.get(api_key.pk)
        spent = 0 if budget is None else counted[budget.reset].get(api_key.pk, 0)
        made.append(ManagedKey(api_key, budget, used.get(api_key.pk, usage.NOTHING), spent))
    return made


def _counted(organization: Organization, resets: Iterable[str], now: dt.datetime) -> dict[str, dict[str, int]]:
    """Return what counts against the budgets of keys by their reset and their key, in periods as admission has them."""
    found = {}
    for reset in resets:
        period = PERIODS.get(reset, Limit.Period.TOTAL)
        starts_at, ends_at = periods.containing(now.timestamp(), period, organization.time_zone)
        found[reset] = spending.by_value(
            organization_id=organization.pk, dimension=spending.API_KEY, starts_at=starts_at, ends_at=ends_at
        )
    return found


def _budgets(organization_id: str, key_ids: Iterable[str]) -> dict[str, Budget]:
    rows = Limit.objects.filter(
        organization_id=organization_id,
        scope=Limit.Scope.API_KEY,
        kind=Limit.Kind.BUDGET,
        subject__in=list(key_ids),
        name=_BUDGET_NAME,
    )
    return {row.subject: budget for row in rows if (budget := _budget(row)) is not None}


def _budget(row: Limit | None) -> Budget | None:
    return None if row is None else Budget(row.amount, _RESETS.get(Limit.Period(row.period), ""))


def hash_of(api_key: ApiKey) -> str:
    """Return what the API calls a key's hash: our id of it. A client keeps it and asks with it."""
    return api_key.pk


def label_of(api_key: ApiKey) -> str:
    """Return what lists show of the key itself."""
    return tokens.redact(api_key.hint)
