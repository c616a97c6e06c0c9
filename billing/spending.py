"""What was spent by whom and when: the sums that budgets are counted from, posted with the ledger's segments.

A quarter of an hour is the finest step that all time zones of the world share, so calendar periods of any of them are
sums of whole rows. Money is what a call is booked with: its cost, or what was reserved where the cost is unknown. What
the simulator answered is no organization's spend; it counts for its key alone. Invoices come from `ledger`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

from django.db import connection
from django.db.models import Sum

from analytics.request_log import SIMULATED
from analytics.stored_records import Account
from billing.models import CountedDimension, Spending

ORGANIZATION = "organization"
WORKSPACE = "workspace"
API_KEY = "api_key"
AGENT = "agent"
AGENT_RUN = "agent_run"
END_USER = "end_user"
TAG = "tag"

QUARTER_S = 900
_QUARTER_US = QUARTER_S * 1_000_000
_VALUE_LENGTH = 330
_COLUMNS = ("organization_id", "dimension", "value", "quarter", "booked_nanousd")
_INSERT = f"INSERT INTO billing_spending ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608  our own constants
_ADD = (
    " ON CONFLICT (organization_id, dimension, value, quarter)"
    " DO UPDATE SET booked_nanousd = billing_spending.booked_nanousd + excluded.booked_nanousd"
)
_ROW = f"({', '.join(['%s'] * len(_COLUMNS))})"
_ROWS_A_STATEMENT = 500

# organization, dimension, value, quarter
Key = tuple[str, str, str, int]


def run_value(workspace_id: str, agent_run: str, *, is_simulated: bool) -> str:
    """Return what an agent run is counted under: names of runs belong to their workspace, simulated ones apart."""
    return f"{workspace_id}/{'test' if is_simulated else 'live'}/{agent_run}"


def tag_value(name: str, value: str) -> str:
    """Return what a tag is counted under."""
    return f"{name}={value}"


def count(*, organization_id: str, dimension: str, name: str = "") -> None:
    """Keep the spend of each end user, or of each value of a tag, from now on: it is not kept without being asked."""
    CountedDimension.objects.get_or_create(organization_id=organization_id, dimension=dimension, name=name)


def counted(organization_ids: Iterable[str]) -> frozenset[tuple[str, str, str]]:
    """Return which end users' and tags' spends are kept: organization, dimension, name of the tag."""
    rows = CountedDimension.objects.filter(organization_id__in=set(organization_ids))
    return frozenset(rows.values_list("organization_id", "dimension", "name"))


def aggregate(records: Iterable[Account], wanted: frozenset[tuple[str, str, str]] | None = None) -> dict[Key, int]:
    """Return the sums of the records; `wanted` as `counted` gives it, None for everything."""
    sums: dict[Key, int] = defaultdict(int)
    for record in records:
        booked = record.booked_nanousd
        if not booked:
            continue
        organization_id, quarter = record.organization_id, record.started_us // _QUARTER_US
        is_simulated = record.key_source == SIMULATED
        sums[organization_id, API_KEY, record.api_key_id, quarter] += booked
        if record.agent_run:
            run = run_value(record.workspace_id, record.agent_run, is_simulated=is_simulated)
            sums[organization_id, AGENT_RUN, run, quarter] += booked
        if is_simulated:
            continue
        sums[organization_id, ORGANIZATION, "", quarter] += booked
        sums[organization_id, WORKSPACE, record.workspace_id, quarter] += booked
        if record.agent:
            sums[organization_id, AGENT, record.agent, quarter] += booked
        if record.end_user and (wanted is None or (organization_id, END_USER, "") in wanted):
            sums[organization_id, END_USER, record.end_user, quarter] += booked
        for name, value in record.tags.items():
            if wanted is None or (organization_id, TAG, name) in wanted:
                sums[organization_id, TAG, tag_value(name, value), quarter] += booked
    return sums


def post(records: Sequence[Account]) -> None:
    """Add the records to the sums; called inside the transaction that marks their segment."""
    wanted = counted(record.organization_id for record in records)
    # In one order everywhere: two workers that add to the same rows must not wait for each other in a circle.
    rows = sorted(
        (organization_id, dimension, value.replace("\0", "")[:_VALUE_LENGTH], quarter, booked)
        for (organization_id, dimension, value, quarter), booked in aggregate(records, wanted).items()
    )
    merged: dict[Key, int] = defaultdict(int)  # values that differ beyond the column's length only
    for organization_id, dimension, value, quarter, booked in rows:
        merged[organization_id, dimension, value, quarter] += booked
    values = [(*key, booked) for key, booked in merged.items()]
    with connection.cursor() as cursor:
        for start in range(0, len(values), _ROWS_A_STATEMENT):
            chunk = values[start : start + _ROWS_A_STATEMENT]
            cursor.execute(_INSERT + ", ".join([_ROW] * len(chunk)) + _ADD, list(chain.from_iterable(chunk)))


def between(*, organization_id: str, dimension: str, value: str, starts_at: float, ends_at: float) -> int:
    """Return the nano-USD booked in a period (epoch seconds, whole quarters of an hour, the end exclusive)."""
    rows = _rows(organization_id, dimension, starts_at, ends_at).filter(value=value[:_VALUE_LENGTH])
    return int(rows.aggregate(sum=Sum("booked_nanousd"))["sum"] or 0)


def by_value(*, organization_id: str, dimension: str, starts_at: float, ends_at: float) -> dict[str, int]:
    """Return the same for every value that spent something."""
    rows = _rows(organization_id, dimension, starts_at, ends_at).values("value").annotate(sum=Sum("booked_nanousd"))
    return {row["value"]: int(row["sum"]) for row in rows}


def _rows(organization_id: str, dimension: str, starts_at: float, ends_at: float):  # type: ignore[no-untyped-def]
    return Spending.objects.filter(
        organization_id=organization_id,
        dimension=dimension,
        quarter__gte=int(starts_at) // QUARTER_S,
        quarter__lt=-(-int(min(ends_at, 2**40)) // QUARTER_S),
    )
