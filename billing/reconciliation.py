"""Compare the usage ledger with the log store: the same calls, the same cost, by organization and UTC day.

Both are filled from the same segments by the same task, so a difference means that a store lost or invented something.
Comparing with providers' own usage exports is not done here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from django.db.models import F, Sum

from analytics.queries import StoreError
from analytics.queries.daily_totals import DailyTotal, daily_totals
from billing import models
from billing.ledger import DIGEST_MODULUS

__all__ = ["Difference", "StoreError", "compare"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One organization's day that the two stores disagree on; a side is None where it knows of no call."""

    organization_id: str
    usage_date: date
    ledger: DailyTotal | None
    log_store: DailyTotal | None

    def __str__(self) -> str:
        return (
            f"{self.organization_id} {self.usage_date}: ledger {_text(self.ledger)}, log store {_text(self.log_store)}"
        )


def compare(*, first: date, last: date, organization_id: str = "") -> list[Difference]:
    """Return the differences on the days `first` to `last`, both included; of all organizations when the id is empty.

    A day on which calls still arrive may differ for the moment in which a segment stands in one store only; compare
    it again before believing it.

    Raises:
        StoreError: the log store does not answer.
    """
    ledger = {_key(total): total for total in _ledger_totals(organization_id=organization_id, first=first, last=last)}
    logs = {_key(total): total for total in daily_totals(organization_id=organization_id, first=first, last=last)}
    return [
        Difference(*key, ledger=ledger.get(key), log_store=logs.get(key))
        for key in sorted(ledger.keys() | logs.keys())
        if ledger.get(key) != logs.get(key)
    ]


def _ledger_totals(*, organization_id: str, first: date, last: date) -> list[DailyTotal]:
    entries = models.UsageEntry.objects.filter(usage_date__gte=first, usage_date__lte=last)
    if organization_id:
        entries = entries.filter(organization_id=organization_id)
    rows = (
        entries.values("organization_id", "usage_date")
        .annotate(
            calls=Sum("calls"),
            provider_cost_nanousd=Sum("provider_cost_nanousd"),
            billed_nanousd=Sum("billed_nanousd"),
            # In two halves: SQLite refuses a sum that leaves 64 bits.
            digest_high=Sum(F("digest").bitrightshift(32)),
            digest_low=Sum(F("digest").bitand(0xFFFFFFFF)),
        )
        .order_by("organization_id", "usage_date")
    )
    return [
        DailyTotal(
            organization_id=row["organization_id"],
            usage_date=row["usage_date"],
            calls=int(row["calls"]),
            provider_cost_nanousd=int(row["provider_cost_nanousd"]),
            billed_nanousd=int(row["billed_nanousd"]),
            digest=((int(row["digest_high"]) << 32) + int(row["digest_low"])) % DIGEST_MODULUS,
        )
        for row in rows
    ]


def _key(total: DailyTotal) -> tuple[str, date]:
    return total.organization_id, total.usage_date


def _text(total: DailyTotal | None) -> str:
    if total is None:
        return "nothing"
    return (
        f"{total.calls} calls, cost {total.provider_cost_nanousd} and billed {total.billed_nanousd} nano-USD, "
        f"digest {total.digest:016x}"
    )
