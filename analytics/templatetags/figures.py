"""Filters and tags that show figures: money, counts, durations, moments, sparklines, shares.

The formats themselves stand in `analytics.money`; here is only what templates need.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from analytics import money
from analytics.log_query import NONE, LogQuery

register = template.Library()

for _name, _format in money.FORMATS.items():
    register.filter(_name, _format)


@register.filter
def percent_of(part: int, whole: int) -> str:
    """Return `part` as a share of `whole`."""
    return money.percent(part, whole)


@register.filter
def money_tag(nanousd: int | None) -> SafeString:
    """Return an amount that tells all its digits on hover."""
    return format_html('<span title="{}">{}</span>', money.usd_exact(nanousd), money.usd(nanousd))


@register.filter
def moment(at: dt.datetime | None) -> SafeString | str:
    """Return a moment as lists show it: the time today, else with the day; the whole of it on hover."""
    if at is None:
        return "—"
    utc = at.astimezone(dt.UTC)
    now = timezone.now()
    words = f"{utc:%H:%M:%S}" if utc.date() == now.date() else f"{utc.day} {utc:%b %H:%M:%S}"
    if utc.year != now.year:
        words = f"{utc.day} {utc:%b %Y %H:%M:%S}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', utc.isoformat(), f"{utc:%Y-%m-%d %H:%M:%S.%f} UTC", words
    )


@register.simple_tag
def query_string(query: LogQuery, **changes: Any) -> str:
    """Return `?…` for the query with some filters changed; an empty value removes a filter."""
    encoded = query.changed(**changes).encode()
    return f"?{encoded}" if encoded else "?"


@register.simple_tag
def filter_string(query: LogQuery, name: str, value: str) -> str:
    """Return `?…` for the query narrowed to one value of a filter; no value asks for the calls that lack it."""
    return f"?{query.changed(**{name: value or NONE}).encode()}"


@register.simple_tag
def sparkline(values: Sequence[float], label: str = "") -> SafeString:
    """Return a small line as inline SVG; nothing when there are fewer than two values or all are zero."""
    if len(values) < 2 or not any(values):
        return SafeString("")
    values = _coarser(values)
    width, height, inset = 100, 24, 2
    high = max(values)
    low = min(0, *values)
    span = (high - low) or 1
    points = [
        (
            round(index * width / (len(values) - 1), 1),
            round(height - inset - (value - low) / span * (height - 2 * inset), 1),
        )
        for index, value in enumerate(values)
    ]
    line = " ".join(f"{x},{y}" for x, y in points)
    return format_html(
        '<svg class="sparkline" viewBox="0 0 {0} {1}" preserveAspectRatio="none" role="img" aria-label="{2}">'
        '<polygon class="sparkline__area" points="0,{1} {3} {0},{1}"/>'
        '<polyline class="sparkline__line" points="{3}"/></svg>',
        width,
        height,
        label or "Trend over the range",
        line,
    )


def _coarser(values: Sequence[float], most: int = 30) -> list[float]:
    """Return at most `most` values, each the mean of its neighbours: more than the small drawing can show is noise."""
    step = -(-len(values) // most)
    groups = [values[start : start + step] for start in range(0, len(values), step)]
    return [sum(group) / len(group) for group in groups]


@register.simple_tag
def share_bar(part: int, whole: int) -> SafeString:
    """Return a bar as wide as the share of `part` in `whole`."""
    width = 0 if whole <= 0 else max(0, min(100, round(part / whole * 100)))
    return format_html(
        '<svg class="share__bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="share__track" width="100" height="8" rx="2"/>'
        '<rect class="share__fill" width="{}" height="8" rx="2"/></svg>',
        width,
    )


@register.simple_tag
def burn_bar(used: int, allowed: int, tone: str) -> SafeString:
    """Return a bar as wide as the used share of an allowance, coloured by its tone: fine, warning, danger."""
    width = 0 if allowed <= 0 else max(0, min(100, round(used / allowed * 100)))
    return format_html(
        '<svg class="share__bar burn__bar burn__bar--{}" viewBox="0 0 100 8" preserveAspectRatio="none" role="img"'
        ' aria-label="{} % used"><rect class="share__track" width="100" height="8" rx="2"/>'
        '<rect class="share__fill" width="{}" height="8" rx="2"/></svg>',
        tone,
        width,
        width,
    )
