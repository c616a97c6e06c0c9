"""Filters that show prices and limits of models."""

from __future__ import annotations

from collections.abc import Iterable

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gateway.catalog import listing

register = template.Library()

_NOTHING = SafeString('<span class="is-faint">\N{EN DASH}</span>')


@register.filter
def usd_per_mtok(nanousd: int | None) -> str:
    """Return a price of a million tokens in US dollars, with cents at least; a dash where there is none."""
    if nanousd is None:
        return _NOTHING
    whole, _, fraction = listing.usd_per_mtok(nanousd).partition(".")
    return f"${int(whole):,}.{fraction.ljust(2, '0')}"


@register.filter
def tokens(count: int | None) -> str:
    """Return a number of tokens as catalogs write it: 128K, 1.05M; the exact number on hover."""
    if count is None:
        return _NOTHING
    short = f"{count / 1_000_000:.2f}".rstrip("0").rstrip(".") + "M" if count >= 1_000_000 else f"{count // 1000}K"
    return format_html('<span title="{}">{}</span>', f"{count:,} tokens", short if count >= 1000 else str(count))


@register.filter
def policy_word(is_so: bool | None) -> str:
    """Return yes, no or unknown."""
    return "unknown" if is_so is None else "yes" if is_so else "no"


@register.filter
def basis_points(count: int) -> str:
    """Return basis points as percent: 1250 → 12.5%."""
    return f"{count / 100:g}%"


@register.filter
def sorted_words(names: Iterable[str]) -> list[str]:
    """Return names in order, as words."""
    return sorted(name.replace("_", " ") for name in names)
