"""A model that was considered for a call, and what became of it. Pure."""

from __future__ import annotations

import msgspec


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A model at a provider that was considered. `gate` names what stopped it; empty: it passed.

    `cost_nanousd` is what the call was estimated to cost there, None where that was not worked out.
    """

    model: str
    provider: str
    gate: str = ""
    reason: str = ""
    cost_nanousd: int | None = None
