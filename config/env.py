"""Read the environment: the only module that touches `os.environ`.

A variable NAME may be given as NAME_FILE, the path of a file that holds the value (secrets mounted
by an orchestrator). No defaults with meaning live here; they stand where the value is used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


class InvalidSetting(Exception):
    """A variable is missing or malformed; the message says what to set."""


def text(name: str, default: str | None = None, *, environ: Mapping[str, str] | None = None) -> str:
    """Return NAME, else the content of NAME_FILE, else `default`.

    Raises:
        InvalidSetting: the variable is not set and has no default, or its file cannot be read.
    """
    source = os.environ if environ is None else environ
    if source.get(name):
        return source[name]
    path = source.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InvalidSetting(f"{name}_FILE names {path}, which cannot be read: {error.strerror}") from error
    if default is None:
        raise InvalidSetting(f"Set {name}, or {name}_FILE with the path of a file that holds it.")
    return default


def integer(name: str, default: int) -> int:
    """Return NAME as an integer, `default` when it is not set."""
    value = text(name, str(default))
    try:
        return int(value)
    except ValueError as error:
        raise InvalidSetting(f"{name} must be a whole number; it is {value!r}.") from error


def flag(name: str, default: bool = False) -> bool:
    """Return NAME as a boolean: 1, true, yes, on (any case) are true; 0, false, no, off are false."""
    value = text(name, "1" if default else "0").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise InvalidSetting(f"{name} must be true or false; it is {value!r}.")


def with_prefix(prefix: str) -> dict[str, str]:
    """Return every variable whose name starts with `prefix`, resolved through NAME_FILE, keyed by its full name."""
    names = {name.removesuffix("_FILE") for name in os.environ if name.startswith(prefix)}
    return {name: text(name, "") for name in sorted(names)}
