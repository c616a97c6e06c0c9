"""Where a call can reach a model, and with whose key: the customer's before the operator's.

What a customer has keyed is tried first: the workspace's keys before the organization's, by their order, and among
equals by their weights. The operator's own ("managed") endpoint of a provider follows only where the customer has no
enabled key for it, or has said that it may (`allows_managed_fallback`).
"""

from __future__ import annotations

from gateway import simulation
from gateway.catalog.models import Model
from gateway.context import ChatCall, KeySnapshot
from gateway.providers.protocol import Endpoint
from gateway.providers.registry import Registry


class Reach:
    """The endpoints of the configured providers, and of the keys that customers bring."""

    def __init__(self, configured: Registry) -> None:
        self._configured = configured

    def endpoints(self, model: Model, call: ChatCall, key: KeySnapshot, *, call_id: str) -> tuple[Endpoint, ...]:
        """Return where the call can reach a catalog model, in the order in which it is to be tried."""
        if key.is_test:
            return (simulation.endpoint(model=model.id, upstream_model=model.upstream),)
        managed = self._configured.endpoint_for(model=model.id, provider=model.provider, upstream_model=model.upstream)
        return () if managed is None else (managed,)

    def named(self, name: str, call: ChatCall, key: KeySnapshot, *, call_id: str) -> tuple[Endpoint, ...]:
        """Return where the call can reach a model outside of the catalog, which its name spells out."""
        managed = None if key.is_test else self._configured.addressed(name)
        return () if managed is None else (managed,)

    def is_settled(self, call: ChatCall, key: KeySnapshot) -> bool:
        """Return whether other calls with the same credentials get the same endpoints."""
        return not call.request_keys
