"""What was used, summed from the ledger: by an organization, and by each of its keys in the periods that lists show."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q, Sum

from analytics.request_log import BYOK
from billing.models import UsageEntry


@dataclass(frozen=True, slots=True)
class Spent:
    """Nano-USD since ever, and since the beginning of the UTC day, week (Monday) and month."""

    total: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """What a key's calls cost: `billed` on our books, `byok` at the customer's own providers."""

    billed: Spent = Spent()
    byok: Spent = Spent()

    def by_name(self) -> dict[str, int]:
        """Return the amounts by the names that they have in the API, which are OpenRouter's."""
        return {
            f"{name}{suffix}": amount
            for name, spent in (("usage", self.billed), ("byok_usage", self.byok))
            for suffix, amount in (
                ("", spent.total),
                ("_daily", spent.daily),
                ("_weekly", spent.weekly),
                ("_monthly", spent.monthly),
            )
        }


NOTHING = KeyUsage()


def billed_nanousd(*, organization_id: str) -> int:
    """Return what the organization's calls were billed in all, as far as they are loaded."""
    rows = UsageEntry.objects.filter(organization_id=organization_id)
    return int(rows.aggregate(sum=Sum("billed_nanousd"))["sum"] or 0)


def by_key(*, organization_id: str, api_key_ids: Iterable[str], today: dt.date) -> dict[str, KeyUsage]:
    """Return the usage of each key that was used; `today` is the UTC date."""
    sums = {
        f"{name}_{period}": Sum(column, filter=condition & kind)
        for name, column, kind in (
            ("billed", "billed_nanousd", Q()),
            ("byok", "provider_cost_nanousd", Q(key_source=BYOK)),
        )
        for period, condition in (
            ("total", Q(usage_date__lte=dt.date.max)),
            ("daily", Q(usage_date=today)),
            ("weekly", Q(usage_date__gte=today - dt.timedelta(days=today.weekday()))),
            ("monthly", Q(usage_date__gte=today.replace(day=1))),
        )
    }
    rows = UsageEntry.objects.filter(organization_id=organization_id, api_key_id__in=list(api_key_ids))
    return {
        row["api_key_id"]: KeyUsage(billed=_spent(row, "billed"), byok=_spent(row, "byok"))
        for row in rows.values("api_key_id").annotate(**sums)
    }


def _spent(row: dict[str, int | None], name: str) -> Spent:
    return Spent(*(int(row[f"{name}_{period}"] or 0) for period in ("total", "daily", "weekly", "monthly")))
