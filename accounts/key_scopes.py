"""What an API key may be used for: the scopes that a key can be limited to. Pure."""

from __future__ import annotations

from collections.abc import Iterable

CHAT = "chat"
MODELS = "models"
RECEIPTS = "receipts"
FEEDBACK = "feedback"
KEYS = "keys"

SCOPES = (CHAT, MODELS, RECEIPTS, FEEDBACK, KEYS)
# Never meant by "every scope": a key that makes keys is made on purpose.
EXPLICIT = frozenset({KEYS})

DESCRIPTIONS = {
    CHAT: "Call models",
    MODELS: "List models and prices",
    RECEIPTS: "Read receipts",
    FEEDBACK: "Send feedback on answers",
    KEYS: "Make, change and revoke keys of its workspace",
}


class UnknownScope(ValueError):
    """A scope that does not exist; the message names those that do."""


def normalize(scopes: Iterable[str]) -> list[str]:
    """Return `scopes` without repeats in the order of `SCOPES`; an empty list means all but those of `EXPLICIT`.

    Raises:
        UnknownScope: one of them is not in `SCOPES`.
    """
    wanted = set(scopes)
    unknown = sorted(wanted - set(SCOPES))
    if unknown:
        raise UnknownScope(f"There is no scope {unknown[0]!r}. Choose from: {', '.join(SCOPES)}.")
    return [scope for scope in SCOPES if scope in wanted]


def allows(scopes: Iterable[str], scope: str) -> bool:
    """Return whether a key limited to `scopes` may be used for `scope`; no scopes means all but those of `EXPLICIT`."""
    granted = frozenset(scopes)
    return scope in granted or (not granted and scope not in EXPLICIT)
