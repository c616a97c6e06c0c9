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
