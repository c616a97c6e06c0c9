"""The page of contract prices: what an organization agreed with its providers instead of the list prices."""

from __future__ import annotations

import datetime as dt

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST, require_safe

from accounts import access, roles
from accounts.models import Organization
from analytics import money
from analytics.exports import csv
from gateway import contract_prices
from gateway.models import ContractPrice
from gateway.views.forms import ContractPriceForm

CSV_COLUMNS = (
    "id", "models", "discount_percent", "input_usd_per_mtok", "cached_usd_per_mtok", "cache_write_usd_per_mtok",
    "output_usd_per_mtok", "valid_from", "valid_to", "note",
)  # fmt: skip


@require_GET
@access.organization_view(roles.VIEW_COSTS)
def prices(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Show the prices, and to owners and finance the form for another one."""
    return _page(request, organization, ContractPriceForm())


@require_POST
@access.organization_view(roles.MANAGE_BILLING)
def add(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Put a price in force."""
    now = timezone.now()
    form = ContractPriceForm(request.POST)
    if not form.is_valid():
        return _page(request, organization, form, status=400)
    try:
        price = contract_prices.add(
            organization=organization,
            content=form.content(now=now),
            by=request.user,
            actor=access.actor(request),
            now=now,
        )
    except contract_prices.InvalidContractPrice as error:
        for field, problem in error.problems.items():
            form.add_error(field, problem)
        return _page(request, organization, form, status=400)
    messages.success(request, f"The price for {price.pattern} applies to calls within two seconds of its beginning.")
    return redirect("contract_prices", organization.slug)


@require_POST
@access.organization_view(roles.MANAGE_BILLING)
def end(request: access.MemberRequest, organization: Organization, price_id: str) -> HttpResponse:
    """Let a price end now."""
    price = get_object_or_404(ContractPrice, organization=organization, pk=price_id)
    contract_prices.end(price=price, actor=access.actor(request), now=timezone.now())
    messages.success(request, f"The price for {price.pattern} has ended; calls cost the list price again.")
    return redirect("contract_prices", organization.slug)


@require_safe
@access.organization_view(roles.VIEW_COSTS)
def prices_csv(request: access.MemberRequest, organization: Organization) -> HttpResponseBase:
    """Download the table."""
    rows = [_csv_row(price) for price in ContractPrice.objects.filter(organization=organization)]
    return csv.respond(request, filename=f"contract-prices-{organization.slug}.csv", header=CSV_COLUMNS, blocks=[rows])


def _page(
    request: access.MemberRequest, organization: Organization, form: ContractPriceForm, *, status: int = 200
) -> HttpResponse:
    now = timezone.now()
    context = {
        "prices": [(price, _state(price, now)) for price in ContractPrice.objects.filter(organization=organization)],
        "form": form,
        "can_manage": roles.grants(request.membership.role, roles.MANAGE_BILLING),
    }
    return render(request, "gateway/contract_prices.html", context, status=status)


def _state(price: ContractPrice, now: dt.datetime) -> str:
    if price.valid_to is not None and price.valid_to <= now:
        return "ended"
    return "planned" if price.valid_from > now else "in force"


def _csv_row(price: ContractPrice) -> list[str | None]:
    return [
        price.pk,
        price.pattern,
        None if price.discount_basis_points is None else f"{price.discount_basis_points / 100:g}",
        *(
            None if nanousd is None else money.decimal(nanousd)
            for nanousd in (
                price.input_nanousd_per_mtok,
                price.cached_read_nanousd_per_mtok,
                price.cache_write_nanousd_per_mtok,
                price.output_nanousd_per_mtok,
            )
        ),
        price.valid_from.isoformat(),
        None if price.valid_to is None else price.valid_to.isoformat(),
        price.note,
    ]
