"""A row of a dialect's table: a field or header, how it is read, and what the documentation says of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway import errors
from gateway.dialects.values import Malformed
from gateway.dialects.wishes import Wishes

Reader = Callable[[Wishes, Any], None]

HONOURED = "honoured"
GRANTED = "granted"  # what it asks for happens anyway
NOT_APPLIED = "not applied"  # named in the receipt


@dataclass(frozen=True, slots=True)
class Row:
    """One field or header. `inner`: the fields of an object, each read by its own row."""

    says: str
    effect: str = HONOURED
    read: Reader | None = None
    inner: Mapping[str, Row] = field(default_factory=dict)


def honoured(says: str, read: Reader) -> Row:
    """Return the row of what is read into the call's wishes."""
    return Row(says, HONOURED, read)


def granted(says: str) -> Row:
    """Return the row of what happens anyway."""
    return Row(says, GRANTED)


def not_applied(says: str) -> Row:
    """Return the row of what is recognised and named in the receipt."""
    return Row(says, NOT_APPLIED)


def structured(says: str, inner: Mapping[str, Row], read: Reader | None = None) -> Row:
    """Return the row of an object. `read` looks at the whole object first, `inner` at its fields."""
    return Row(says, HONOURED, read, inner)


def prefers(name: str, convert: Callable[[Any], Any]) -> Reader:
    """Return a reader that asks for one field of `Preferences`."""
    return lambda wishes, value: wishes.prefer(**{name: convert(value)})


def names(name: str, convert: Callable[[Any], str]) -> Reader:
    """Return a reader that fills one field of `Attribution`."""
    return lambda wishes, value: wishes.name(**{name: convert(value)})


def tags(name: str, convert: Callable[[Any], Any]) -> Reader:
    """Return a reader that adds one tag."""
    return lambda wishes, value: wishes.tag(name, convert(value))


def read_fields(wishes: Wishes, given: Mapping[str, Any], rows: Mapping[str, Row], *, path: str = "") -> None:
    """Read the fields of an object by their rows, in the order of the rows. Null asks for nothing.

    Below the top of a body (with a `path`) fields without a row are named; at the top they go to the provider.

    Raises:
        errors.InvalidRequest: a value is not what its field takes; the message names it.
    """
    for name, row in rows.items():
        value = given.get(name)
        if value is not None:
            _read_field(wishes, value, row, f"{path}{name}")
    if path:
        for name in given:
            if name not in rows and given[name] is not None:
                wishes.deny(f"{path}{name}")


def _read_field(wishes: Wishes, value: Any, row: Row, name: str) -> None:
    if row.effect == NOT_APPLIED:
        wishes.deny(name)
    try:
        if row.read is not None:
            row.read(wishes, value)
        if row.inner:
            if not isinstance(value, dict):
                raise Malformed("an object")
            read_fields(wishes, value, row.inner, path=f"{name}.")
    except Malformed as wrong:
        raise errors.InvalidRequest(f"`{name}` must be {wrong.expected}.", param=name, code="invalid_type") from None


def read_header(wishes: Wishes, value: str, row: Row, name: str) -> None:
    """Read one header of a foreign gateway; one that cannot be read is named, not refused."""
    if row.effect == NOT_APPLIED:
        wishes.deny(name)
    if row.read is not None:
        try:
            row.read(wishes, value)
        except (Malformed, errors.InvalidRequest):
            wishes.deny(name)
