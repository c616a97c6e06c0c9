"""Which fault a simulated call asks for. Pure.

A fault is asked for by the body field `kairosroute_fault` (the pipeline lets it through for test keys only), a string
or an object `{"kind": …, "retry_after": …, "after_chunks": …, "seconds": …}`, or by a mark in a message's text:
`[[fault:429 retry_after=7]]`, `[[fault:stall after_chunks=3 seconds=30]]`.

    400 401 403 404 408 413 422 429 500 502 503 504 529   that status with an OpenAI-shaped error
    timeout      nothing is ever answered               slow_first_token   the first token waits `seconds` (10)
    stall        silence after `after_chunks` chunks     truncate           the body ends there, as if it were complete
    disconnect   the connection breaks there             malformed          a broken line there (or a broken body)
    error_event  an error object there                   no_usage           everything but the usage
    empty        an answer without output                flaws              the model's own mistakes, at its rates
    refuse       a refusal
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.providers import shape

FIELD = "kairosroute_fault"
STATUSES = frozenset({400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529})
KINDS = frozenset(
    {
        "timeout",
        "slow_first_token",
        "stall",
        "truncate",
        "disconnect",
        "malformed",
        "error_event",
        "no_usage",
        "empty",
        "flaws",
        "refuse",
    }
)
NEVER_SECONDS = 3600.0

_MARK = re.compile(r"\[\[fault:([a-z0-9_]+)((?: [a-z_]+=[0-9.]+)*)\]\]")


@dataclass(frozen=True, slots=True)
class Fault:
    """A wanted fault. `kind` is a word of `KINDS`, a status as text, or empty for none."""

    kind: str = ""
    after_chunks: int = 3
    seconds: float | None = None
    retry_after: float | None = None

    @property
    def status(self) -> int:
        """The HTTP status that the fault means; 200 for faults of the body."""
        return int(self.kind) if self.kind.isdigit() else 200


NONE = Fault()


def wanted(body: Mapping[str, Any]) -> Fault:
    """Return the fault that a body asks for; unknown words ask for none.

    The field wins over marks, the last mark over earlier ones.
    """
    asked = body.get(FIELD)
    if isinstance(asked, (str, int)):
        return _fault(str(asked), {})
    if isinstance(asked, Mapping):
        return _fault(str(asked.get("kind", "")), asked)
    for message in reversed(body.get("messages") or []):
        if isinstance(message, dict) and message.get("role") in ("user", "system", "developer"):
            marks = _MARK.findall(shape.content_text(message.get("content")))
            if marks:
                kind, options = marks[-1]
                return _fault(kind, dict(option.split("=", 1) for option in options.split()))
    return NONE


def _fault(kind: str, options: Mapping[str, Any]) -> Fault:
    is_known = kind in KINDS or (kind.isdigit() and int(kind) in STATUSES)
    if not is_known:
        return NONE
    after = _number(options.get("after_chunks"))
    return Fault(
        kind=kind,
        after_chunks=3 if after is None else int(after),
        seconds=_number(options.get("seconds")),
        retry_after=_number(options.get("retry_after")),
    )


def _number(value: object) -> float | None:
    try:
        number = float(str(value)) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number <= NEVER_SECONDS else None
