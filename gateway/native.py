"""What a client said in a provider's own protocol, and what such a provider answered: kept beside the canonical form.

Where a client and an endpoint speak the same protocol, the client's own body goes out and the provider's own answer
comes back, so that what the canonical form has no word for survives: signatures, cache breakpoints, server tools,
citations. The canonical form is made all the same, because routing, records, signals and a fallback to another protocol
read it. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import InvalidRequest

# The fields of a body in which the conversation stands, and the names under which media and ciphers do.
_SPOKEN = ("system", "messages", "instructions", "input")
_OPAQUE = frozenset({"data", "signature", "encrypted_content", "file_data", "image_url", "url"})


class NativeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A call as its client wrote it. `raw` is the body without the gateway's own fields, `body` the same decoded.

    `headers` go along to the provider. `needs` names what only this protocol can carry, so that no other endpoint may
    serve the call; `lost` names the fields that another endpoint serves the call without.
    """

    protocol: str
    raw: bytes
    body: Mapping[str, Any]
    headers: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"NativeRequest({self.protocol})"  # prompts stay out of logs

    def texts(self) -> list[str]:
        """Return every text of the conversation, in blocks that the canonical form has no word for too."""
        found: list[str] = []
        level: list[Any] = [self.body.get(name) for name in _SPOKEN]
        while level:
            value = level.pop()
            if isinstance(value, str):
                found.append(value)
            elif isinstance(value, list):
                level += value
            elif isinstance(value, dict):
                level += [inner for name, inner in value.items() if name not in _OPAQUE]
        return found

    def unspoken(self) -> NativeRequest:
        """Return what the client wrote for looking up only: no provider gets it in these words."""
        return msgspec.structs.replace(self, protocol="")

    def require_translatable(self) -> None:
        """Raise for a call that only this protocol can carry.

        Raises:
            InvalidRequest: it is one; the message names what it needs.
        """
        if self.needs:
            raise InvalidRequest(
                f"{', '.join(self.needs[:5])}: only a provider that speaks this API itself can serve that, and none"
                " that serves the model here does. Name a model of such a provider, or leave it out.",
                param=self.needs[0],
                code="unsupported_by_model",
            )


class NativeAnswer(msgspec.Struct, frozen=True, gc=False):
    """A provider's whole answer, byte for byte."""

    protocol: str
    raw: bytes

    def __repr__(self) -> str:
        return f"NativeAnswer({self.protocol})"


class NativeEvents:
    """The events of a provider's stream, byte for byte, until the client's writer takes them."""

    __slots__ = ("_events", "protocol")

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self._events: list[bytes] = []

    def add(self, event: bytes) -> None:
        """Keep an event, given without the blank line that ends it."""
        self._events.append(event)

    def take(self) -> list[bytes]:
        """Return the events since the last time."""
        taken, self._events = self._events, []
        return taken


def of(native: NativeRequest | None, protocol: str) -> NativeRequest | None:
    """Return the native form of a call for an endpoint that speaks `protocol`, None where it has to be translated."""
    return native if native is not None and native.protocol == protocol else None


def bound_to(native: NativeRequest | None) -> str:
    """Return the one protocol whose endpoints may serve a call; empty where any may."""
    return native.protocol if native is not None and native.needs else ""
