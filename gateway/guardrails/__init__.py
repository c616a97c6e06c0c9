"""What may pass and what may be kept: detectors of sensitive text, and what a workspace does with their findings. Pure.

    protocol    the seam: what a detector is
    personal    built-in detectors: e-mail addresses, cards, IBANs, phone numbers, social security numbers, secrets
    redaction   findings replaced in texts and JSON values, before anything is stored

A detector of your own is an object with the protocol's two members in `DETECTORS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gateway import errors
from gateway.guardrails import personal
from gateway.guardrails.protocol import Detector

DETECTORS: Mapping[str, Detector] = {detector.category: detector for detector in personal.DETECTORS}


def chosen(categories: Collection[str]) -> tuple[Detector, ...]:
    """Return the detectors of these categories in their fixed order; names that are none are left out."""
    return tuple(detector for category, detector in DETECTORS.items() if category in categories)


def require_clean(said: Any, categories: Collection[str]) -> None:
    """Refuse a call whose messages or texts hold what the workspace keeps from providers.

    Raises:
        errors.PermissionDenied: something was found; the error names the categories and never what was found.
    """
    detectors = chosen(categories)
    found = sorted(
        {
            detector.category
            for text in _texts(said)
            for detector in detectors
            if next(iter(detector.find(text)), None) is not None
        }
    )
    if found:
        raise errors.PermissionDenied(
            f"This workspace lets no {' and no '.join(DETECTORS[name].title for name in found)} pass to a provider."
            " Take it out of the messages, or change the workspace's guardrails.",
            code="guardrail_blocked",
            metadata={"error_type": "content_policy_violation", "categories": found},
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
