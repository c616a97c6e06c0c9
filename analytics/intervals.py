"""An effect as pages show it: both sides, the difference and its interval in words, and the interval's geometry. Pure.

What an effect is stands in `statistics.effects`; the drawing itself in `templates/analytics/_interval.html`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from analytics import money
from analytics.statistics.effects import Effect, Scale

SHARE = "share"
SCORE = "score"
CHARACTERS = "characters"
TOKENS = "tokens"
USD = "usd"
DURATION = "duration"

# What `cells` gives, by name; empty cells where a side was too small to test.
COLUMNS = (
    "calls_control",
    "calls_treatment",
    "units_control",
    "units_treatment",
    "mean_control",
    "mean_treatment",
    "value",
    "lower",
    "upper",
    "p_value",
    "anytime_lower",
    "anytime_upper",
    "anytime_p_value",
    "relative",
    "relative_lower",
    "relative_upper",
)
WIDTH = 160  # of the drawing, in its own units
_MINUS = "\u2212"


@dataclass(frozen=True, slots=True)
class Drawing:
    """Where the parts of an interval stand between 0 and WIDTH; zero is in the middle."""

    band_start: float
    band_width: float
    whisker_start: float
    whisker_end: float
    bar_start: float
    bar_width: float
    point: float
    label: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One effect in words. `relative` is empty where the difference is relative already or has no base."""

    control: str
    treatment: str
    difference: str
    interval: str
    anytime_interval: str
    relative: str
    p_value: str
    drawing: Drawing


def restored(stored: dict[str, Any]) -> Effect:
    """Return the effect that a job stored as JSON."""
    return Effect(**(stored | {"scale": Scale(stored["scale"])}))


def cells(stored: dict[str, Any] | None) -> list[float | int | None]:
    """Return the numbers of a stored effect in the order of COLUMNS, unrounded."""
    return [None if stored is None else stored[name] for name in COLUMNS]


def shown(effect: Effect, *, unit: str, margin: float | None) -> Shown:
    """Return the effect in words; `margin` is on the scale of the test and drawn as the band around zero."""
    relative = ""
    if effect.scale is not Scale.LOG and effect.relative is not None:
        bounds = " to ".join(money.signed_percent(bound) for bound in (effect.relative_lower, effect.relative_upper))
        relative = f"{money.signed_percent(effect.relative)} ({bounds})"
    value, lower, upper, any_lower, any_upper = (
        _change(effect, bound, unit)
        for bound in (effect.value, effect.lower, effect.upper, effect.anytime_lower, effect.anytime_upper)
    )
    interval = f"{lower} to {upper}"
    return Shown(
        control=level(effect.mean_control, unit),
        treatment=level(effect.mean_treatment, unit),
        difference=value,
        interval=interval,
        anytime_interval=f"{any_lower} to {any_upper}",
        relative=relative,
        p_value=p_value(effect.anytime_p_value),
        drawing=_drawing(effect, margin, f"{value}, 95% interval {interval}; at any time {any_lower} to {any_upper}"),
    )


def level(value: float, unit: str) -> str:
    """Return one side's mean."""
    if unit == SHARE:
        return _percent(value)
    if unit == USD:
        return money.usd(round(value))
    if unit == DURATION:
        return money.duration(value)
    if unit == SCORE:
        return f"{value:.2f}".replace("-", _MINUS)
    return f"{value:,.0f} {unit}"


def p_value(value: float | None) -> str:
    """Return a p-value in at most three digits, a dash where there is none."""
    if value is None:
        return "\u2013"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"


def _percent(share: float) -> str:
    """Never a flat 0 or 100 for what is not exactly that."""
    if share <= 0.0 or share >= 1.0:
        return f"{share:.0%}"
    return f"{min(max(share, 0.001), 0.999):.1%}"


def _change(effect: Effect, value: float, unit: str) -> str:
    if effect.scale is Scale.LOG:
        return money.signed_percent(value)
    sign = _MINUS if value < 0 else "+" if value > 0 else ""
    if unit == SHARE:
        return f"{sign}{abs(value) * 100:.1f} points"
    return f"{sign}{level(abs(value), unit)}"


def _drawing(effect: Effect, margin: float | None, label: str) -> Drawing:
    band = 0.0 if margin is None else math.expm1(margin) if effect.scale is Scale.LOG else margin
    reach = 1.05 * max(abs(effect.anytime_lower), abs(effect.anytime_upper), band) or 1.0
    # A ratio's bound can be astronomic; beyond three times the fixed interval the whisker only has to leave the frame.
    reach = min(reach, 3.0 * max(abs(effect.lower), abs(effect.upper), band) or 1.0)

    def place(value: float) -> float:
        return round(min(max(WIDTH / 2 * (1.0 + value / reach), 0.0), WIDTH), 1)

    bar_start, bar_end = place(effect.lower), place(effect.upper)
    return Drawing(
        band_start=place(-band),
        band_width=round(place(band) - place(-band), 1),
        whisker_start=place(effect.anytime_lower),
        whisker_end=place(effect.anytime_upper),
        bar_start=bar_start,
        bar_width=round(max(bar_end - bar_start, 1.0), 1),
        point=place(effect.value),
        label=label,
    )
