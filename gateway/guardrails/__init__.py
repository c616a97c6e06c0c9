"""What may pass and what may be kept: detectors of sensitive text, and what a workspace does with their findings. Pure.

    protocol    the seam: what a detector is
    personal    built-in detectors: e-mail addresses, cards, IBANs, phone numbers, social security numbers, secrets
    redaction   findings replaced in texts and JSON values, before anything is stored

A detector of your own is an object with the protocol's two members in `DETECTORS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from gateway import errors
from gateway.guardrails import personal
from gateway.guardrails.protocol import Detector

# Letters at a time: some milliseconds of searching. Parts overlap by more than anything that is looked for is long.
_PART = 32_768
_OVERLAP = 10_000

DETECTORS: Mapping[str, Detector] = {detector.category: detector for detector in personal.DETECTORS}


def chosen(categories: Collection[str]) -> tuple[Detector, ...]:
    """Return the detectors of these categories in their fixed order; names that are none are left out."""
    return tuple(detector for category, detector in DETECTORS.items() if category in categories)


def searching(said: Any, categories: Collection[str]) -> Iterator[None]:
    """Look through a call's messages or texts, a part at a time: whoever serves others meanwhile can do so in between.

    Raises:
        errors.PermissionDenied: what the workspace keeps from providers was found; the error names the categories and
            never what was found.
    """
    detectors = chosen(categories)
    found: set[str] = set()
    looked_at = 0
    for text in _texts(said):
        for start in range(0, max(1, len(text) - _OVERLAP), _PART):
            part = text if len(text) <= _PART + _OVERLAP else text[start : start + _PART + _OVERLAP]
            is_last = start + len(part) >= len(text)
            for detector in detectors:
                # What touches an edge may be a piece of something else; a part beside this one holds it whole.
                if detector.category not in found and any(
                    (first > 0 or start == 0) and (end < len(part) or is_last) for first, end in detector.find(part)
                ):
                    found.add(detector.category)
            looked_at += len(part)
            if looked_at >= _PART:
                looked_at = 0
                yield
    if found:
        named = sorted(found)
        raise errors.PermissionDenied(
            f"This workspace lets no {' and no '.join(DETECTORS[name].title for name in named)} pass to a provider."
            " Take it out of the messages, or change the workspace's guardrails.",
            code="guardrail_blocked",
            metadata={"error_type": "content_policy_violation", "categories": named},
        )


def _texts(value: Any) -> Iterable[str]:
    """Yield every string of a JSON value, tool calls' arguments among them; data URLs are media, not text."""
    if type(value) is str:
        if not value.startswith("data:"):
            yield value
    elif type(value) is dict:
        for inner in value.values():
            yield from _texts(inner)
    elif type(value) is list or type(value) is tuple:
        for inner in value:
            yield from _texts(inner)
