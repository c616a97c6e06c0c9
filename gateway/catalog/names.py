"""The grammar of model names at the gateways whose clients we serve: suffixes, dates, automatic names. Pure.

What a name means is `gateway.catalog.models`' business; here a name is only taken apart.
"""

from __future__ import annotations

import re
from typing import Final

# The router chooses: ours, then OpenRouter's.
AUTO: Final = ("auto", "kr-auto", "kairos/auto", "kairosroute/auto", "openrouter/auto", "openrouter/auto-beta")

HONOURED_SUFFIXES: Final = frozenset({"floor"})
# Recognised, so that a client of another gateway is served and told, rather than refused.
IGNORED_SUFFIXES: Final = frozenset({"nitro", "free", "thinking", "extended", "online", "exacto"})
_SUFFIXES: Final = HONOURED_SUFFIXES | IGNORED_SUFFIXES

_DATE: Final = re.compile(
    r"^(?P<base>.+?)(?P<date>[-@](?:20\d{2}-(?:0[1-9]|1[0-2])-[0-3]\d|20\d{2}(?:0[1-9]|1[0-2])[0-3]\d))$"
)


def split_suffix(name: str) -> tuple[str, str]:
    """Return the name and its variant suffix in lower case: `gpt-5.4:floor` → `("gpt-5.4", "floor")`."""
    base, colon, suffix = name.rpartition(":")
    suffix = suffix.lower()
    if colon and base and suffix in _SUFFIXES:
        return base, suffix
    return name, ""


def split_date(name: str) -> tuple[str, str]:
    """Return the name and its date as a provider writes it: `claude-haiku-4-5@20251001` → `(…, "-20251001")`."""
    match = _DATE.match(name)
    if match is None:
        return name, ""
    return match["base"], "-" + match["date"][1:]
