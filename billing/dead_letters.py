"""Look at the lines that the log store refused, and load them again once the reason is gone."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

from django.db.models import Count

from analytics import spool
from analytics.spool import frames
from billing import models, segments

LETTERS_A_SEGMENT = 5000


@dataclass(frozen=True, slots=True)
class Reason:
    """How many lines of a kind were refused for one reason."""

    kind: str
    reason: str
    letters: int


@dataclass(frozen=True, slots=True)
class Retry:
    """How many lines were loaded again, and how many of them were refused again."""

    loaded: int
    refused: int


def reasons() -> list[Reason]:
    """Return the reasons, the most frequent first."""
    rows = models.DeadLetter.objects.values("kind", "reason").annotate(letters=Count("id"))
    return [Reason(**row) for row in rows.order_by("-letters", "kind", "reason")]


def retry() -> Retry:
    """Load every dead letter again, as segments of their own; what is refused again is a dead letter of those.

    A retry that dies halfway is finished by the next one: the segment's name follows from its letters.

    Raises:
        loader.StoreError, django.db.Error: a store does not answer; letters that were not loaded are still there.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[models.DeadLetter]] = defaultdict(list)
    for letter in models.DeadLetter.objects.order_by("id"):
        groups[letter.kind, tuple(letter.columns)].append(letter)
    loaded = refused = 0
    for (kind, columns), letters in groups.items():
        for start in range(0, len(letters), LETTERS_A_SEGMENT):
            chunk = letters[start : start + LETTERS_A_SEGMENT]
            segment_id = _load(kind, columns, chunk)
            models.DeadLetter.objects.filter(id__in=[letter.id for letter in chunk]).delete()
            segment = models.LoadedSegment.objects.get(segment_id=segment_id)
            refused += segment.dead_letters
            loaded += len(chunk) - segment.dead_letters
    return Retry(loaded=loaded, refused=refused)


def _load(kind: str, columns: tuple[str, ...], letters: list[models.DeadLetter]) -> str:
    names = ",".join(f"{letter.segment_id}:{letter.position}" for letter in letters)
    segment_id = f"retry-{hashlib.sha256(names.encode()).hexdigest()[:32]}"
    data = frames.encode_header(segment_id, "retry", {kind: list(columns)})
    data += b"".join(frames.encode(kind.encode("ascii"), bytes(letter.line)) for letter in letters)
    body, sha256 = spool.pack(data)
    segments.load(segment_id=segment_id, body=body, sha256=sha256)
    return segment_id
