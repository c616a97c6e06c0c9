"""Figures for the pages, as the JSON that Plotly draws, and the same numbers as rows for the table below each.

Colours are names of design tokens (`chart-1` … `chart-other`); `charts.js` puts the theme's values in. A bar's height
is the only place where an amount becomes a float; what hovering shows is the exact text. Texts hold no markup but
`<br>` and `<extra>`: Plotly would make style attributes of it, which the content security policy forbids.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics import money

SERIES = 7
OTHER = "Other"
_OTHER_COLOUR = "chart-other"


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at a moment, drawn as a line through a chart over time."""

    at: dt.datetime
    words: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a stacked chart: amounts in nano-USD by bucket."""

    name: str
    amounts: tuple[int, ...]
    colour: str
    value: str | None = None  # what the dimension's filter takes; None for the rest

    @property
    def total(self) -> int:
        return sum(self.amounts)


@dataclass(frozen=True, slots=True)
class Stack:
    """A stacked chart over time: `figure` for Plotly, `buckets` and `series` for the table."""

    buckets: tuple[dt.datetime, ...]
    series: tuple[Series, ...]
    figure: Mapping[str, Any]
    is_empty: bool

    @property
    def total(self) -> int:
        return sum(one.total for one in self.series)

    def rows(self) -> list[tuple[dt.datetime, tuple[int, ...], int]]:
        """Return a row for each bucket: its start, the amount of each series, their sum."""
        found = []
        for index, at in enumerate(self.buckets):
            amounts = tuple(one.amounts[index] for one in self.series)
            found.append((at, amounts, sum(amounts)))
        return found


def stack(
    points: Iterable[tuple[dt.datetime, str | None, int]],
    *,
    buckets: Sequence[dt.datetime],
    bucket_seconds: int,
    names: Mapping[str, str] | None = None,
    markers: Sequence[Marker] = (),
) -> Stack:
    """Return stacked bars of cost over time: the dearest values in colours of their own, the rest as "Other".

    `points` are (bucket, value, nano-USD); a value of None belongs to the rest. Every point counts: the bars add up to
    what was given.
    """
    place = {at: index for index, at in enumerate(buckets)}
    amounts: dict[str | None, list[int]] = {}
    for at, value, cost in points:
        if at in place:
            amounts.setdefault(value, [0] * len(buckets))[place[at]] += cost
    rest = amounts.pop(None, None)
    ranked = sorted(
        (value for value in amounts if any(amounts[value])), key=lambda value: (-sum(amounts[value]), value or "")
    )
    shown, others = ranked[:SERIES], ranked[SERIES:]
    if others or rest is not None:
        columns = [amounts[value] for value in others] + ([rest] if rest is not None else [])
        rest = [sum(column) for column in zip(*columns, strict=True)]
    series = [
        Series((names or {}).get(value or "", value or "(none)"), tuple(amounts[value]), f"chart-{index}", value)
        for index, value in enumerate(shown, start=1)
    ]
    if rest is not None and any(rest):
        series.append(Series(OTHER, tuple(rest), _OTHER_COLOUR))
    return Stack(
        buckets=tuple(buckets),
        series=tuple(series),
        figure=_stack_figure(series, buckets, bucket_seconds, markers),
        is_empty=not any(one.total for one in series),
    )


def bars(rows: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Return horizontal bars, the first row on top; rows are (label, nano-USD)."""
    labels = [label for label, _ in rows][::-1]
    amounts = [amount for _, amount in rows][::-1]
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": [_dollars(amount) for amount in amounts],
                "y": [str(position) for position in range(len(labels))],
                "customdata": [[label, money.usd_exact(amount)] for label, amount in zip(labels, amounts, strict=True)],
                "text": [money.usd(amount) for amount in amounts],
                "textposition": "outside",
                "cliponaxis": False,
                "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
                "marker": {"color": "chart-1"},
            }
        ],
        "layout": {
            "bargap": 0.35,
            "margin": {"l": 8, "r": 64, "t": 4, "b": 4},
            "xaxis": {"visible": False, "fixedrange": True},
            "yaxis": {
                "tickmode": "array",
                "tickvals": [str(position) for position in range(len(labels))],
                "ticktext": [_short(label) for label in labels],
                "type": "category",
                "automargin": True,
                "fixedrange": True,
                "showgrid": False,
                "ticks": "",
            },
        },
    }


def _stack_figure(
    series: Sequence[Series], buckets: Sequence[dt.datetime], bucket_seconds: int, markers: Sequence[Marker]
) -> dict[str, Any]:
    # A bar stands in the middle of its bucket: Plotly centres it on its x.
    half = dt.timedelta(seconds=bucket_seconds / 2)
    middles = [_plain(at + half) for at in buckets]
    words = [_bucket_words(at, bucket_seconds) for at in buckets]
    layout: dict[str, Any] = {
        "barmode": "stack",
        "bargap": 0.18,
        "xaxis": {
            "type": "date",
            "range": [_plain(buckets[0]), _plain(buckets[-1] + 2 * half)] if buckets else None,
            "tickformat": "%-d %b" if bucket_seconds >= 3 * 3600 else "%H:%M",
        },
        "yaxis": {
            "tickprefix": "$",
            "tickformat": _tick_format(max((sum(column) for column in _columns(series)), default=0)),
            "rangemode": "tozero",
            "fixedrange": True,
        },
        "showlegend": False,
        "shapes": [
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": _plain(marker.at),
                "x1": _plain(marker.at),
                "y0": 0,
                "y1": 1,
                "line": {"color": "text-muted", "width": 1, "dash": "dot"},
            }
            for marker in markers
        ],
        "annotations": [
            {
                "x": _plain(marker.at),
                "y": 1,
                "xref": "x",
                "yref": "paper",
                "yanchor": "bottom",
                "text": str(number),
                "hovertext": marker.words,
                "showarrow": False,
                "font": {"size": 10, "color": "text-muted"},
                "bordercolor": "line-strong",
                "bgcolor": "surface",
                "borderpad": 2,
            }
            for number, marker in enumerate(markers, start=1)
        ],
    }
    return {
        "data": [
            {
                "type": "bar",
                "name": one.name,
                "x": middles,
                "y": [_dollars(amount) for amount in one.amounts],
                "width": bucket_seconds * 1000 * 0.82,
                "customdata": [
                    [when, money.usd_exact(amount)] for when, amount in zip(words, one.amounts, strict=True)
                ],
                "hovertemplate": "%{customdata[0]}<br>%{fullData.name}  %{customdata[1]}<extra></extra>",
                "marker": {"color": one.colour},
            }
            for one in series
        ],
        "layout": layout,
    }


def _columns(series: Sequence[Series]) -> Iterable[tuple[int, ...]]:
    return zip(*(one.amounts for one in series), strict=True)


def _tick_format(highest_nanousd: int) -> str:
    if highest_nanousd >= 8 * money.NANO:
        return ",.0f"
    if highest_nanousd >= money.NANO // 20:
        return ",.2f"
    return ",.4~f" if highest_nanousd >= money.NANO // 2000 else ",.6~f"


def _dollars(nanousd: int) -> float:
    return nanousd / money.NANO


def _plain(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _bucket_words(at: dt.datetime, seconds: int) -> str:
    if seconds >= 86400:
        return f"{at:%a} {at.day} {at:%b}" if seconds == 86400 else f"week of {at.day} {at:%b}"
    end = at + dt.timedelta(seconds=seconds)
    return f"{at:%a} {at.day} {at:%b}, {at:%H:%M}\u2013{end:%H:%M}"


def _short(label: str) -> str:
    return label if len(label) <= 34 else f"{label[:33]}…"
