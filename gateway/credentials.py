"""Where a call can reach a model, and with whose key: the customer's before the operator's.

What a customer has keyed is tried first: the workspace's keys before the organization's, by their order, and among
equals by their weights. The operator's own ("managed") endpoint of a provider follows only where the customer has no
enabled key for the model there, or where all that apply say that it may (`allows_managed_fallback`): costs must not
move from the customer's contract to ours unseen. A key that cannot be used (its secret was cleared, its master key is
lost) keeps the managed one away like any other.

Keys that came with the call itself are used alone at their provider. One whose provider is not named goes to the
provider that its form gives away, else only to the maker of the model: it must not be shown to strangers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import groupby

from analytics.request_log import BYOK
from gateway import simulation
from gateway.catalog.models import Model
from gateway.context import ChatCall, Credentials, CredentialSnapshot, KeySnapshot, RequestKey
from gateway.providers import quirks, registry
from gateway.providers.protocol import GUARDED, REQUEST, Endpoint
from gateway.providers.registry import Provider, ProviderMisconfigured, Registry

# How providers' keys begin, where that names one provider. Many begin with `sk-`: that says nothing.
_FORMS = (
    ("sk-ant-", "anthropic"),
    ("sk-or-", "openrouter"),
    ("sk-proj-", "openai"),
    ("gsk_", "groq"),
    ("xai-", "x-ai"),
    ("AIza", "google"),
    ("csk-", "cerebras"),
    ("fw_", "fireworks"),
    ("tgp_", "together"),
)


class Reach:
    """The endpoints of the configured providers, and of the keys that customers bring."""

    def __init__(self, configured: Registry) -> None:
        self._configured = configured

    def endpoints(self, model: Model, call: ChatCall, key: KeySnapshot, *, call_id: str) -> tuple[Endpoint, ...]:
        """Return where the call can reach a catalog model, in the order in which it is to be tried."""
        if key.is_test:
            return (simulation.endpoint(model=model.id, upstream_model=model.upstream),)
        if call.request_keys:
            with_it = self._with_request_keys(
                call.request_keys, model.provider, model.id, model.upstream, maker=model.vendor
            )
            if with_it is not None:
                return with_it
        own = key.credentials
        remembered: tuple[Endpoint, ...] | None = None if own is None else own.endpoints.get((model.id, model.upstream))
        if remembered is not None:
            return remembered
        managed = self._configured.endpoint_for(model=model.id, provider=model.provider, upstream_model=model.upstream)
        found = self._with_stored_keys(
            own, model.provider, model.id, model.upstream, managed, unit=call.attribution.session or call_id
        )
        if own is not None and not own.is_weighted:
            own.endpoints[model.id, model.upstream] = found
        return found

    def named(self, name: str, call: ChatCall, key: KeySnapshot, *, call_id: str) -> tuple[Endpoint, ...]:
        """Return where the call can reach a model outside of the catalog, which its name spells out."""
        if key.is_test:
            return ()
        provider, slash, upstream_model = name.partition("/")
        if not slash or not upstream_model:
            return ()
        row = quirks.known(provider)
        provider = row.provider if row else provider.lower()
        if row is not None and row is not quirks.OPENROUTER:
            return ()  # its models are in the catalog, or unknown
        if call.request_keys:
            with_it = self._with_request_keys(
                call.request_keys, provider, f"{provider}/{upstream_model}", upstream_model, maker=""
            )
            if with_it is not None:
                return with_it
        return self._with_stored_keys(
            key.credentials,
            provider,
            f"{provider}/{upstream_model}",
            upstream_model,
            self._configured.addressed(name),
            unit=call.attribution.session or call_id,
        )

    def is_settled(self, call: ChatCall, key: KeySnapshot) -> bool:
        """Return whether other calls with the same credentials get the same endpoints."""
        return not call.request_keys and (key.credentials is None or not key.credentials.is_weighted)

    def _with_stored_keys(
        self,
        own: Credentials | None,
        provider: str,
        model: str,
        upstream_model: str,
        managed: Endpoint | None,
        *,
        unit: str,
    ) -> tuple[Endpoint, ...]:
        held = () if own is None else own.by_provider.get(provider, ())
        applying = [one for one in held if not one.models or _is_listed(model, one.models)]
        if own is None or not applying:
            return () if managed is None else (managed,)
        found = [
            endpoint
            for one in _in_turn(applying, unit)
            if (endpoint := self._with_stored_key(own, one, model, upstream_model)) is not None
        ]
        if managed is not None and all(one.allows_managed_fallback for one in applying):
            found.append(replace(managed, stands_in_for=applying[0].credential_id))
        return tuple(found)

    def _with_stored_key(
        self, own: Credentials, held: CredentialSnapshot, model: str, upstream_model: str
    ) -> Endpoint | None:
        if not held.is_usable:
            return None
        provider: Provider | None = own.providers.get(held.credential_id)
        if provider is None:
            try:
                provider = registry.keyed(
                    held.provider, api_key=held.api_key, base_url=held.base_url, known=self._configured
                )
            except ProviderMisconfigured:
                return None
            if held.base_url:
                provider = replace(provider, base_url=GUARDED + provider.base_url)
            own.providers[held.credential_id] = provider
        return replace(
            provider.endpoint(model=model, upstream_model=upstream_model),
            key_source=BYOK,
            credential_id=held.credential_id,
            credential_label=held.label,
        )

    def _with_request_keys(
        self, keys: Sequence[RequestKey], provider: str, model: str, upstream_model: str, *, maker: str
    ) -> tuple[Endpoint, ...] | None:
        """Return the endpoints with the keys that came for this provider; None: none did, and others may serve."""
        found = []
        for one in keys:
            if _provider_of(one, maker) != provider:
                continue
            try:
                reached = registry.keyed(provider, api_key=one.api_key, known=self._configured)
            except ProviderMisconfigured:
                continue
            endpoint = reached.endpoint(model=model, upstream_model=upstream_model)
            found.append(replace(endpoint, key_source=BYOK, credential_id=REQUEST))
        if not found and not any(one.is_exclusive for one in keys):
            return None
        return tuple(found)


def _provider_of(key: RequestKey, maker: str) -> str:
    """Return whose key it is: as the client named it, as its form says, else the maker's of the model."""
    name = key.provider or next((provider for form, provider in _FORMS if key.api_key.startswith(form)), maker)
    row = quirks.known(name)
    return row.provider if row else name.lower()


def _is_listed(model: str, names: Iterable[str]) -> bool:
    return any(fnmatchcase(model, name) for name in names)


def _in_turn(held: Sequence[CredentialSnapshot], unit: str) -> list[CredentialSnapshot]:
    """Return the keys in the order in which this call tries them.

    Among equals the first is drawn by weight, then the next among the rest: by the largest `log(u) / weight` (weighted
    sampling without replacement; Efraimidis and Spirakis 2006, algorithm A-Res). `u` follows from the session, so that
    a conversation stays with the account that holds its prompt cache.
    """
    if len(held) == 1:
        return list(held)
    found: list[CredentialSnapshot] = []
    for _, equals in groupby(held, key=lambda one: (one.is_of_workspace, one.order)):
        group = list(equals)
        if len(group) > 1:
            group.sort(key=lambda one: math.log(_drawn(unit, one.credential_id)) / one.weight, reverse=True)
        found += group
    return found


def _drawn(unit: str, credential_id: str) -> float:
    """Return a number in (0, 1] that follows from both."""
    digest = hashlib.blake2b(f"{unit}\n{credential_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 1) / 2**64
