"""The prices that an organization agreed with providers: list them, add one, end one; and as the data plane holds them.

How they change a call's price stands in `gateway.catalog.contracts`. A price is never edited: it is ended, and another
one is added, so that receipts of the past can be reproduced.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db import transaction

from accounts import audit
from accounts.models import Organization, User
from gateway.catalog.contracts import WHOLE_BASIS_POINTS, Contracts, Term
from gateway.models import ContractPrice

MAX_IN_FORCE = 200
MAX_NANOUSD_PER_MTOK = 10_000 * 1_000_000_000
_PRICES = ("input", "cached_read", "cache_write", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One agreed price. Prices are nano-USD per million tokens; None stays at the list."""

    pattern: str
    valid_from: dt.datetime
    valid_to: dt.datetime | None = None
    discount_basis_points: int | None = None
    input: int | None = None
    cached_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    note: str = ""


class InvalidContractPrice(Exception):
    """A price that cannot be. `problems` maps the input's field to what to write instead."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = dict(problems)


def add(
    *, organization: Organization, content: Content, by: User | None, actor: audit.Actor, now: dt.datetime
) -> ContractPrice:
    """Put an agreed price in force.

    Raises:
        InvalidContractPrice: it says nothing, too much, or begins in the past of settled calls.
    """
    _check(content, now)
    with transaction.atomic():
        Organization.objects.select_for_update().get(pk=organization.pk)
        if ContractPrice.objects.filter(organization=organization).count() >= MAX_IN_FORCE:
            raise InvalidContractPrice({"pattern": f"An organization has at most {MAX_IN_FORCE} contract prices."})
        price = ContractPrice.objects.create(
            organization=organization,
            pattern=content.pattern,
            discount_basis_points=content.discount_basis_points,
            input_nanousd_per_mtok=content.input,
            cached_read_nanousd_per_mtok=content.cached_read,
            cache_write_nanousd_per_mtok=content.cache_write,
            output_nanousd_per_mtok=content.output,
            valid_from=content.valid_from,
            valid_to=content.valid_to,
            note=content.note,
            created_by=by,
        )
        audit.record(
            organization_id=organization.pk,
            actor=actor,
            action="contract_price.add",
            target=price,
            now=now,
            after=_as_audited(price),
        )
    return price


def end(*, price: ContractPrice, actor: audit.Actor, now: dt.datetime) -> None:
    """Let a price end now; one that has not begun never begins. What ended before stays as it is."""
    with transaction.atomic():
        price = ContractPrice.objects.select_for_update().get(pk=price.pk)
        if price.valid_to is not None and price.valid_to <= now:
            return
        before = _as_audited(price)
        price.valid_to = max(now, price.valid_from)
        price.save(update_fields=["valid_to", "changed_at"])
        audit.record(
            organization_id=price.organization_id,
            actor=actor,
            action="contract_price.end",
            target=price,
            now=now,
            before=before,
            after=_as_audited(price),
        )


def read(organization_ids: Collection[str]) -> dict[str, Contracts]:
    """Return by organization what it agreed; an organization without terms is left out."""
    found: dict[str, list[Term]] = {}
    for row in ContractPrice.objects.filter(organization_id__in=organization_ids):
        found.setdefault(row.organization_id, []).append(term(row))
    return {organization_id: Contracts(terms) for organization_id, terms in found.items()}


def term(row: ContractPrice) -> Term:
    """Return a price as the data plane holds it."""
    return Term(
        term_id=row.id,
        pattern=row.pattern,
        valid_from=row.valid_from.timestamp(),
        valid_to=None if row.valid_to is None else row.valid_to.timestamp(),
        discount_basis_points=row.discount_basis_points,
        input=row.input_nanousd_per_mtok,
        cached_read=row.cached_read_nanousd_per_mtok,
        cache_write=row.cache_write_nanousd_per_mtok,
        output=row.output_nanousd_per_mtok,
    )


def _check(content: Content, now: dt.datetime) -> None:
    problems: dict[str, str] = {}
    star = content.pattern.find("*")
    if "/" not in content.pattern or star not in (-1, len(content.pattern) - 1) or not content.pattern.isprintable():
        problems["pattern"] = "Write a model's id such as openai/gpt-5.4, or its beginning and a star: openai/*."
    fixed = {name: getattr(content, name) for name in _PRICES if getattr(content, name) is not None}
    if (content.discount_basis_points is None) == (not fixed):
        problems["discount"] = "Give either a percentage off the list price or at least one price, not both."
    elif content.discount_basis_points is not None and not 0 < content.discount_basis_points <= WHOLE_BASIS_POINTS:
        problems["discount"] = "A discount is more than 0 and at most 100 percent."
    for name, price in fixed.items():
        if not 0 <= price <= MAX_NANOUSD_PER_MTOK:
            problems[name] = "A price is from 0 to 10,000 US dollars a million tokens."
    if content.valid_from < now - dt.timedelta(minutes=5):
        problems["valid_from"] = "Calls of the past are settled: a price begins now or later."
    if content.valid_to is not None and content.valid_to <= content.valid_from:
        problems["valid_to"] = "It has to end after it begins."
    if problems:
        raise InvalidContractPrice(problems)


def _as_audited(price: ContractPrice) -> dict[str, object]:
    return {
        "pattern": price.pattern,
        "discount_basis_points": price.discount_basis_points,
        **{name: getattr(price, f"{name}_nanousd_per_mtok") for name in _PRICES},
        "valid_from": price.valid_from.isoformat(),
        "valid_to": None if price.valid_to is None else price.valid_to.isoformat(),
        "note": price.note,
    }
