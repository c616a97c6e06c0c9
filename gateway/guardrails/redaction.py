"""Findings replaced by their category, `[email]`, in texts and in every string of a JSON value. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.guardrails.protocol import Detector


def text(given: str, detectors: Sequence[Detector]) -> str:
    """Return the text with every finding replaced; earlier detectors win over later ones."""
    for detector in detectors:
        parts: list[str] = []
        at = 0
        for start, end in detector.find(given):
            parts += (given[at:start], f"[{detector.category}]")
            at = end
        if parts:
            given = "".join((*parts, given[at:]))
    return given


def value(given: Any, detectors: Sequence[Detector]) -> Any:
    """Return a JSON value with every finding in its strings replaced; keys, numbers and data URLs stay."""
    if type(given) is str:
        return given if given.startswith("data:") else text(given, detectors)
    if type(given) is dict:
        return {name: value(inner, detectors) for name, inner in given.items()}
    if type(given) is list:
        return [value(inner, detectors) for inner in given]
    return given


def beginning(given: Any, most: int) -> tuple[Any, bool]:
    """Return a JSON value with the first `most` letters of its strings, and whether there were more."""
    kept, left = _begun(given, most)
    return kept, left < 0


def _begun(given: Any, left: int) -> tuple[Any, int]:
    """Return the beginning, and how many letters are left; fewer than none where some were left out."""
    if type(given) is str:
        return given[: max(0, left)], left - len(given)
    if type(given) is dict:
        pairs: dict[str, Any] = {}
        for name, inner in given.items():
            pairs[name], left = _begun(inner, left)
        return pairs, left
    if type(given) is list:
        items = []
        for inner in given:
            item, left = _begun(inner, left)
            items.append(item)
        return items, left
    return given, left
