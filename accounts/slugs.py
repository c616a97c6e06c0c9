"""Slugs: the part of a URL that names an organization or a workspace. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAXIMUM_LENGTH = 80


def unused(name: str, *, taken: Iterable[str], fallback: str) -> str:
    """Return a slug made of `name` that is not in `taken`: `acme`, then `acme-2`, `acme-3`, …

    Args:
        fallback: what to use for a name without a letter or digit of ASCII, such as `東京`.
    """
    base = from_name(name) or fallback
    occupied = set(taken)
    candidate, number = base, 1
    while candidate in occupied:
        number += 1
        suffix = f"-{number}"
        candidate = base[: MAXIMUM_LENGTH - len(suffix)].rstrip("-") + suffix
    return candidate


def from_name(name: str) -> str:
    """Return `name` in lower-case ASCII letters and digits joined by hyphens; may be empty."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-")[:MAXIMUM_LENGTH].rstrip("-")
