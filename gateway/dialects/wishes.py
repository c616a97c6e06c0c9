"""What the readers of one call gather, until it becomes preferences, attribution and trace. Pure.

A later wish replaces an earlier one of the same kind, so the order of reading is the precedence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.context import NOBODY, Attribution, RequestKey
from gateway.dialects import values
from gateway.preferences import NO_PREFERENCES, NO_TRACE, Preferences, Trace

MAX_TAGS = 32
# A record must fit the room that the spool keeps for it.
_MOST_NAMED = 16
_LONGEST_NAME = 64


# How keys begin, ours and providers': put where they do not belong, they must not get into records.
_KEYS = ("sk-", "kr_live_", "kr_test_", "gsk_", "xai-", "AIza", "Bearer ")
_KEYS_LONGER_THAN = 24


def _without_key(text: str) -> str:
    """Return a text that will be kept, from where a key begins in it as `[key]`."""
    if len(text) > _KEYS_LONGER_THAN:
        for begins in _KEYS:
            at = text.find(begins)
            if at >= 0 and len(text) - at >= _KEYS_LONGER_THAN and (at == 0 or not text[at - 1].isalnum()):
                return text[:at] + "[key]"
    return text


class Wishes:
    """One per call. `headers` are the request's, for readers that need a second one; `is_test`: by a test key."""

    __slots__ = (
        "_echoes",
        "_named",
        "_preferences",
        "_tags",
        "_trace",
        "_who",
        "headers",
        "is_test",
        "model",
        "request_keys",
    )

    def __init__(self, headers: Mapping[bytes, bytes], *, is_test: bool) -> None:
        self.headers = headers
        self.is_test = is_test
        self.model = ""  # in the place of the body's
        self.request_keys: list[RequestKey] = []
        self._preferences: dict[str, Any] = {}
        self._who: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._trace: dict[str, Any] = {}
        self._echoes: set[str] = set()
        self._named: dict[str, None] = {}

    def prefer(self, **wishes: Any) -> None:
        """Ask for fields of `Preferences`."""
        self._preferences.update(wishes)

    def asked(self, name: str) -> Any:
        """Return what was asked for so far, None where nothing was."""
        return self._preferences.get(name)

    def name(self, **who: str) -> None:
        """Say who is charged: fields of `Attribution`; an empty name says nothing."""
        self._who.update({field: value for field, value in who.items() if value})

    def tag(self, name: str, value: Any) -> None:
        """Add one tag. What is no text, number, true or false is left out; so is what goes beyond the bound."""
        if (name in self._tags or len(self._tags) < MAX_TAGS) and type(value) in (str, int, float, bool) and name:
            self._tags[name[:64]] = _without_key(str(value)[: values.LONGEST_TEXT])

    def tag_all(self, given: Mapping[str, Any]) -> None:
        """Add tags."""
        for name, value in given.items():
            self.tag(name, value)

    def follow(self, **trace: Any) -> None:
        """Say how the call hangs together with what the client observes: fields of `Trace`."""
        self._trace.update({field: value for field, value in trace.items() if value})

    def echo(self, whose: str) -> None:
        """Answer with this gateway's headers or objects too; an empty name asks for nothing."""
        if whose:
            self._echoes.add(whose)

    def deny(self, name: str) -> None:
        """Name something that was asked for and will not be done."""
        self._named[_without_key(name[:_LONGEST_NAME])] = None

    def bring_key(self, provider: str, api_key: str, *, is_exclusive: bool = True) -> None:
        """Pay this call with a provider key of the client's; `is_exclusive`: with these keys, or not at all."""
        if api_key:
            self.request_keys.append(RequestKey(provider=provider, api_key=api_key, is_exclusive=is_exclusive))

    def preferences(self) -> Preferences:
        """Return what is asked of routing and serving; the shared constant where that is nothing."""
        if self._echoes:
            self._preferences["echoes"] = frozenset(self._echoes)
        return Preferences(**self._preferences) if self._preferences else NO_PREFERENCES

    def attribution(self) -> Attribution:
        """Return who is charged; the shared constant where nobody was named."""
        return Attribution(**self._who, tags=self._tags) if self._who or self._tags else NOBODY

    def trace(self) -> Trace:
        """Return the trace; the shared constant where there is none."""
        return Trace(**self._trace) if self._trace else NO_TRACE

    def not_applied(self) -> tuple[str, ...]:
        """Return the names of what will not be done, as many as a receipt has room for."""
        named = tuple(self._named)
        if len(named) <= _MOST_NAMED:
            return named
        return (*named[:_MOST_NAMED], f"and {len(named) - _MOST_NAMED} more")
