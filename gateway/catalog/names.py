"""The grammar of model names at the gateways whose clients we serve: suffixes, dates, automatic names. Pure.

What a name means is `gateway.catalog.models`' business; here a name is only taken apart.
"""

from __future__ import annotations

import re
from typing import Final

# The router chooses: ours, then OpenRouter's.
AUTO: Final = ("auto", "kr-auto", "kairos/auto", "kairosroute/auto", "openrouter/auto", "openrouter/auto-beta")

HONOURED_SUFFIXES: Final = frozenset({"floor", "nitro", "free", "thinking", "extended"})
# Recognised, so that a client of another gateway is served and told, rather than refused.
IGNORED_SUFFIXES: Final = frozenset({"online", "exacto"})
_SUFFIXES: Final = HONOURED_SUFFIXES | IGNORED_SUFFIXES

_DATE: Final = re.compile(
    r"^(?P<base>.+?)(?P<date>[-@](?:20\d{2}-(?:0[1-9]|1[0-2])-[0-3]\d|20\d{2}(?:0[1-9]|1[0-2])[0-3]\d))$"
)


# A version: numbers with dots or dashes, `v` before them or not; a size such as 120b is none.
_VERSION_PART: Final = re.compile(r"^v?\d+(?:\.\d+)*$")
_YEAR_MONTH: Final = 1000  # 2512 is December 2025, and older than version 4
_LATEST: Final = "-latest"


def family_latest(name: str) -> tuple[str, str] | None:
    """Return vendor and family of OpenRouter's `~author/family-latest`, None for other names."""
    if not (name.startswith("~") and name.endswith(_LATEST)):
        return None
    vendor, slash, family = name[1 : -len(_LATEST)].lower().partition("/")
    return (vendor, family) if slash and vendor and family else None


def split_version(name: str) -> tuple[str, tuple[float, ...]]:
    """Return a model's name without its version, and the version to compare: `claude-sonnet-4-6` → `claude-sonnet`."""
    rest, version = [], []
    for part in name.lower().split("-"):
        if _VERSION_PART.match(part):
            version += [float(number) for number in part.removeprefix("v").split(".")]
        else:
            rest.append(part)
    return "-".join(rest), tuple(0.0 if number >= _YEAR_MONTH else number for number in version)


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
