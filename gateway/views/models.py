"""The public pages of the catalog: the models with prices and limits, one model with its endpoints, the JSON of both.

They need no sign-in: what models cost and what providers do with prompts is nobody's secret. Members see them beside
the sidebar of the organization that they opened last.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import access
from analytics.exports import csv
from gateway.catalog import listing, loader
from gateway.catalog.models import Catalog, Model, Provider
from gateway.catalog.prices import PriceBook, PriceRow
from gateway.routing import gates, parameters
from gateway.views.forms import ModelSearch

CSV_COLUMNS = (
    "id", "provider", "vendor", "kind", "context_tokens", "max_output_tokens", "input_usd_per_mtok",
    "cached_usd_per_mtok", "output_usd_per_mtok", "capabilities", "may_train", "zero_data_retention", "retires_on",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shown:
    """A model as the pages show it: with its price of now, None where none is known."""

    model: Model
    provider: Provider
    row: PriceRow | None
    retires_soon: bool

    @property
    def keeps_nothing(self) -> bool | None:
        return False if self.model.needs_retention else self.provider.zero_data_retention


@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """Show the models that the search leaves."""
    form, found = _search(request)
    context = {
        "layout": _layout(request),
        "form": form,
        "models": found,
        "total": len(_prices()[0]),
        "retiring": [one for one in found if one.retires_soon],
        "query": request.GET.urlencode(),
        "notice_days": gates.RETIREMENT_NOTICE_DAYS,
    }
    return render(request, "gateway/models.html", context, status=200 if form.is_valid() else 400)


@require_safe
def models_json(request: HttpRequest) -> HttpResponse:
    """Answer the same models in the structure of `GET /v1/models`."""
    form, found = _search(request)
    if not form.is_valid():
        return JsonResponse({"error": {"message": _problems(form), "param": None}}, status=400)
    catalog, book = _prices()
    document = listing.document(
        [one.model for one in found],
        catalog,
        book,
        at=timezone.now().timestamp(),
        parameters_of=parameters.supported,
    )
    return JsonResponse(document)


@require_safe
def models_csv(request: HttpRequest) -> HttpResponseBase:
    """Download the same models as a table."""
    form, found = _search(request)
    if not form.is_valid():
        return HttpResponse(_problems(form), "text/plain", status=400)
    return csv.respond(request, filename="models.csv", header=CSV_COLUMNS, blocks=[[_csv_row(one) for one in found]])


@require_safe
def model(request: HttpRequest, name: str) -> HttpResponse:
    """Show one model, by any of its names, with every endpoint that serves it."""
    catalog, _ = _prices()
    resolution = catalog.resolve(name)
    if not resolution.models:
        nearest = f" Did you mean {', '.join(resolution.nearest)}?" if resolution.nearest else ""
        raise Http404(f"There is no model “{name[:80]}”.{nearest}")
    first = resolution.models[0]
    if name != first.family:
        return redirect("model", first.family)
    shown = [_shown(one) for one in catalog.resolve(first.family).models]
    ours = [one for one in shown if one.model.family == first.family] or [_shown(first)]
    kin = [_shown(one) for one in catalog if one.family == first.family and one not in [s.model for s in ours]]
    context = {
        "layout": _layout(request),
        "model": first,
        "endpoints": [*ours, *kin],
        "parameters": sorted(parameters.supported(first)),
        "retiring": [one for one in (*ours, *kin) if one.retires_soon],
    }
    return render(request, "gateway/model.html", context)


def _layout(request: HttpRequest) -> str:
    """Return the frame of the page: with the sidebar for members, without one for everybody else."""
    membership = access.current_membership(request)
    if membership is None:
        return "base_public.html"
    # The sidebar shows what the role of this membership may open.
    request.membership = membership  # type: ignore[attr-defined]
    return "base.html"


def _problems(form: ModelSearch) -> str:
    return " ".join(str(problem) for problems in form.errors.values() for problem in problems)


def _search(request: HttpRequest) -> tuple[ModelSearch, list[Shown]]:
    catalog, _ = _prices()
    form = ModelSearch(request.GET, catalog=catalog)
    shown = (_shown(model) for model in catalog)
    return form, _matching(form, shown) if form.is_valid() else []


def _matching(form: ModelSearch, shown: Iterable[Shown]) -> list[Shown]:
    words = form.cleaned_data["q"].lower().split()
    provider, capability = form.cleaned_data["provider"], form.cleaned_data["capability"]
    kind, policy = form.cleaned_data["kind"], form.cleaned_data["policy"]
    most_nanousd = form.most_nanousd()
    return [
        one
        for one in shown
        if all(word in f"{one.model.id} {one.model.family} {one.model.display_name}".lower() for word in words)
        and provider in ("", one.model.provider)
        and (not capability or capability in one.model.capabilities)
        and kind in ("", one.model.kind)
        and (policy != "zdr" or one.keeps_nothing is True)
        and (policy != "no_training" or one.provider.may_train is False)
        and (most_nanousd is None or (one.row is not None and one.row.rates.input <= most_nanousd))
    ]


def _shown(model: Model) -> Shown:
    catalog, book = _prices()
    now = timezone.now()
    return Shown(
        model=model,
        provider=catalog.providers[model.provider],
        row=book.row(model.id, now),
        retires_soon=gates.retires_within(model, day=now.date().isoformat()),
    )


def _csv_row(one: Shown) -> list[str | int | None]:
    rates = None if one.row is None else one.row.rates
    return [
        one.model.id,
        one.model.provider,
        one.model.vendor,
        one.model.kind,
        one.model.context_tokens,
        one.model.max_output_tokens,
        *(
            None if rates is None else listing.usd_per_mtok(price)
            for price in ((rates.input, rates.cached_read, rates.output) if rates else (0, 0, 0))
        ),
        " ".join(sorted(one.model.capabilities)),
        _word(one.provider.may_train),
        _word(one.keeps_nothing),
        one.model.deprecated_on,
    ]


def _word(is_so: bool | None) -> str:
    return "unknown" if is_so is None else "yes" if is_so else "no"


def _prices() -> tuple[Catalog, PriceBook]:
    return _load(settings.DATA_DIR / "prices")


@functools.lru_cache(maxsize=2)
def _load(directory: Path) -> tuple[Catalog, PriceBook]:
    """Return the catalog and the price book, read once a process."""
    return loader.load(directory, whole_providers=loader.WHOLE_PROVIDERS)
