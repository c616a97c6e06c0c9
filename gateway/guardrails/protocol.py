"""The seam of guardrails: what a detector of sensitive text is. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Detector(Protocol):
    """Finds one category of text. Stateless."""

    @property
    def category(self) -> str:
        """The name in settings, errors and redacted text: `[email]`."""
        ...

    @property
    def title(self) -> str:
        """What people read: "e-mail address"."""
        ...

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where each finding starts and ends, in order and without overlaps."""
        ...
