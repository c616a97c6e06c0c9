"""Which endpoints can take a call that needs its client's own protocol. Pure."""

from __future__ import annotations

from dataclasses import replace

from gateway import native as natives
from gateway.native import NativeRequest
from gateway.routing.decision import Decision


def only_native(decision: Decision, native: NativeRequest) -> Decision:
    """Return the decision without the endpoints that speak another protocol than the call.

    Raises:
        errors.InvalidRequest: none is left; the message names what the call needs.
    """
    endpoints = tuple(found for found in decision.endpoints if natives.of(native, found.protocol) is not None)
    if not endpoints:
        native.require_translatable()
    return replace(decision, endpoints=endpoints)
