"""Limits as people manage them: make, change and remove them, and see how much of each is used.

How limits are enforced stands in `admission`. The data plane hears of a change within two seconds: every change touches
the organization, whose keys it then reads again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts import audit, tokens
from accounts.models import ApiKey, Organization, User, Workspace
from billing import spending
from gateway import periods
from gateway.banks import DIMENSIONS
from gateway.models import Limit, LimitAlert

MOST = 200
MOST_NANOUSD = 10**15  # a million dollars: what a double holds exactly, with room
MOST_UNITS = 10**12
MOST_ALERTS = 5
_SCOPES_BY_VALUE = (Limit.Scope.END_USER, Limit.Scope.TAG)


class InvalidLimit(ValueError):
    """The limit cannot be like that. `field` names the input, empty for the whole."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Whom:
    """Whom a limit is for. No `subject`: each workspace, key, agent, end user, or value of the tag."""

    scope: str
    subject: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """How much, in which period, and what happens then. `amount`: requests or tokens a minute, or nano-USD."""

    name: str
    kind: str
    amount: int
    period: str = Limit.Period.MONTH
    on_exceed: str = Limit.OnExceed.BLOCK
    downgrade_percent: int = 80
    alert_percents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Burn:
    """A limit with what is used of it. For a limit on each value, the value that used most.

    `used_nanousd` is None for rates, which only the gateways know.
    """

    limit: Limit
    whom: str
    used_nanousd: int | None
    top_value: str
    resets_at: dt.datetime | None

    @property
    def left_nanousd(self) -> int | None:
        return None if self.used_nanousd is None else max(0, self.limit.amount - self.used_nanousd)

    @property
    def used_percent(self) -> int:
        return 0 if not self.used_nanousd else round(100 * self.used_nanousd / self.limit.amount)

    @property
    def tone(self) -> str:
        """Return how the bar looks: fine, warning, spent."""
        if self.used_percent >= 100:
            return "danger"
        first = min(self.limit.alert_percents, default=80)
        return "warning" if self.used_percent >= min(first, 80) else "fine"


def create(
    *,
    organization: Organization,
    whom: Whom,
    terms: Terms,
    created_by: User | None,
    actor: audit.Actor,
    now: dt.datetime,
) -> Limit:
    """Make a limit; it counts what was spent in its period already, end users and tags from now on.

    Raises:
        InvalidLimit: it makes no sense; the message says what would.
    """
    _check_whom(organization, whom)
    _check_terms(terms)
    with transaction.atomic():
        Organization.objects.select_for_update().get(pk=organization.pk)
        if Limit.objects.filter(organization=organization).count() >= MOST:
            raise InvalidLimit(f"An organization has at most {MOST} limits. Remove one first.")
        limit = Limit.objects.create(
            organization=organization,
            name=terms.name or default_name(whom, terms),
            scope=whom.scope,
            tag=whom.tag,
            subject=whom.subject,
            kind=terms.kind,
            amount=terms.amount,
            period=terms.period,
            on_exceed=terms.on_exceed,
            downgrade_percent=terms.downgrade_percent,
            alert_percents=list(terms.alert_percents),
            created_by=created_by,
        )
        if whom.scope in _SCOPES_BY_VALUE:
            spending.count(organization_id=organization.pk, dimension=DIMENSIONS[whom.scope], name=whom.tag)
        _touch(organization)
        audit.change(limit, "limit.create", actor=actor, now=now, after=facts(limit))
    return limit


def change(*, limit: Limit, terms: Terms, actor: audit.Actor, now: dt.datetime) -> None:
    """Change everything but whom it is for and what it counts.

    Raises:
        InvalidLimit: it makes no sense; the message says what would.
    """
    _check_terms(terms)
    with transaction.atomic():
        current = Limit.objects.select_for_update().select_related("organization").get(pk=limit.pk)
        if terms.kind != current.kind:
            raise InvalidLimit("What a limit counts does not change. Make another one.", field="kind")
        before = facts(current)
        current.name = terms.name or current.name
        current.amount, current.period = terms.amount, terms.period
        current.on_exceed, current.downgrade_percent = terms.on_exceed, terms.downgrade_percent
        current.alert_percents = list(terms.alert_percents)
        current.save()
        _touch(current.organization)
        audit.change(current, "limit.change", actor=actor, now=now, before=before, after=facts(current))


def remove(*, limit: Limit, actor: audit.Actor, now: dt.datetime) -> None:
    """Remove a limit with its alerts."""
    with transaction.atomic():
        audit.change(limit, "limit.remove", actor=actor, now=now, before=facts(limit))
        _touch(limit.organization)
        limit.delete()


def burns(*, organization: Organization, now: dt.datetime) -> list[Burn]:
    """Return the organization's limits with what the ledger says is used of them: it is some seconds behind."""
    names = names_of(organization)
    return [_burn(limit, organization, names, now) for limit in Limit.objects.filter(organization=organization)]


def alerts(*, organization: Organization, most: int = 20) -> Sequence[LimitAlert]:
    """Return the newest alerts."""
    return list(LimitAlert.objects.filter(organization=organization).select_related("limit")[:most])


def names_of(organization: Organization) -> dict[str, str]:
    """Return the names of the organization's workspaces and keys by id."""
    workspaces = Workspace.objects.for_organization(organization.pk).values_list("pk", "name")
    keys = ApiKey.objects.for_organization(organization.pk).values_list("pk", "name")
    return {**dict(workspaces), **dict(keys)}


def whom_in_words(limit: Limit, names: dict[str, str]) -> str:
    """Return whom a limit is for, as lists show it."""
    label = Limit.Scope(limit.scope).label
    if limit.scope == Limit.Scope.ORGANIZATION:
        return "The organization"
    if limit.scope == Limit.Scope.TAG:
        return f"Tag {limit.tag} = {limit.subject}" if limit.subject else f"Each value of the tag {limit.tag}"
    if limit.is_each:
        return f"Each {label if label.startswith('API') else label.lower()}"
    return f"{label} {names.get(limit.subject, limit.subject)}"


def default_name(whom: Whom, terms: Terms) -> str:
    """Return a name for a limit that got none."""
    label = Limit.Scope(whom.scope).label
    if whom.tag:
        label = f"{label} {whom.tag}"
    if whom.subject and whom.scope not in (Limit.Scope.WORKSPACE, Limit.Scope.API_KEY):
        label = f"{label}: {whom.subject}," if whom.tag else f"{label} {whom.subject},"
    if terms.kind == Limit.Kind.BUDGET:
        return f"{label} budget a {terms.period}" if terms.period != Limit.Period.TOTAL else f"{label} budget"
    return f"{label} {terms.kind} a minute"


def facts(limit: Limit) -> dict[str, Any]:
    """Return what the audit trail keeps of a limit."""
    return {
        "id": limit.pk,
        "name": limit.name,
        "scope": str(limit.scope),
        "tag": limit.tag,
        "subject": limit.subject,
        "kind": str(limit.kind),
        "amount": limit.amount,
        "period": str(limit.period),
        "on_exceed": str(limit.on_exceed),
        "downgrade_percent": limit.downgrade_percent,
        "alert_percents": list(limit.alert_percents),
    }


def _burn(limit: Limit, organization: Organization, names: dict[str, str], now: dt.datetime) -> Burn:
    whom = whom_in_words(limit, names)
    if limit.kind != Limit.Kind.BUDGET:
        return Burn(limit, whom, None, "", None)
    starts_at, ends_at = periods.containing(now.timestamp(), limit.period, organization.time_zone)
    resets_at = (
        None if ends_at >= periods.NEVER else dt.datetime.fromtimestamp(ends_at, periods.zone(organization.time_zone))
    )
    bounds: dict[str, Any] = {
        "organization_id": organization.pk,
        "dimension": DIMENSIONS[limit.scope],
        "starts_at": starts_at,
        "ends_at": ends_at,
    }
    if not limit.is_each:
        value = limit.subject
        if limit.scope == Limit.Scope.TAG:
            value = spending.tag_value(limit.tag, limit.subject)
        return Burn(limit, whom, spending.between(value=value, **bounds), "", resets_at)
    prefix = spending.tag_value(limit.tag, "") if limit.scope == Limit.Scope.TAG else ""
    spent = {
        value.removeprefix(prefix): booked
        for value, booked in spending.by_value(**bounds).items()
        if value.startswith(prefix)
    }
    top = max(spent, key=lambda value: spent[value], default="")
    return Burn(limit, whom, spent.get(top, 0), names.get(top, top), resets_at)


def _check_whom(organization: Organization, whom: Whom) -> None:
    if whom.scope not in Limit.Scope.values:
        raise InvalidLimit("Choose whom the limit is for.", field="whom")
    if whom.scope == Limit.Scope.TAG and not whom.tag.strip():
        raise InvalidLimit("Name the tag, such as “team”.", field="tag")
    if len(whom.tag) > 64 or len(whom.subject) > 256:
        raise InvalidLimit("That is longer than any value that calls can carry.", field="value")
    if tokens.PATTERN.search(whom.subject) or tokens.PATTERN.search(whom.tag):
        raise InvalidLimit("That is an API key. Choose the key from the list instead.", field="value")
    own_keys = ApiKey.objects.for_organization(organization.pk)
    if whom.scope == Limit.Scope.API_KEY and whom.subject and not own_keys.filter(pk=whom.subject).exists():
        raise InvalidLimit("Choose a key of this organization.", field="whom")
    own_workspaces = Workspace.objects.for_organization(organization.pk)
    if whom.scope == Limit.Scope.WORKSPACE and whom.subject and not own_workspaces.filter(pk=whom.subject).exists():
        raise InvalidLimit("Choose a workspace of this organization.", field="whom")


def _check_terms(terms: Terms) -> None:
    if terms.kind not in Limit.Kind.values:
        raise InvalidLimit("Choose what is counted.", field="kind")
    most = MOST_NANOUSD if terms.kind == Limit.Kind.BUDGET else MOST_UNITS
    if not 0 < terms.amount <= most:
        what = "up to $1,000,000" if terms.kind == Limit.Kind.BUDGET else f"up to {MOST_UNITS:,}"
        raise InvalidLimit(f"The amount must be more than nothing and {what}.", field="amount")
    if terms.period not in Limit.Period.values or terms.on_exceed not in Limit.OnExceed.values:
        raise InvalidLimit("Choose a period and what happens then.")
    if not 1 <= terms.downgrade_percent <= 100:
        raise InvalidLimit("Cheaper models begin at 1 to 100 percent.", field="downgrade_percent")
    if len(terms.alert_percents) > MOST_ALERTS or any(not 1 <= percent <= 1000 for percent in terms.alert_percents):
        raise InvalidLimit(f"Up to {MOST_ALERTS} percentages, such as 50, 80, 100.", field="alerts")
    if len(terms.name) > 200 or tokens.PATTERN.search(terms.name):
        raise InvalidLimit("Give the limit a name of up to 200 characters that is no API key.", field="name")


def _touch(organization: Organization) -> None:
    Organization.objects.get(pk=organization.pk).save(update_fields=["changed_at"])
