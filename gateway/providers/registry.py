"""Which providers are configured, and the endpoint at which a model is reached. Pure: settings come in as a mapping.

Settings per provider: `KAIROS_PROVIDER_<NAME>_API_KEY`, `_BASE_URL` and, for wiring, `_PROTOCOL` (openai_chat,
anthropic_messages, gemini). A provider is configured when it has a key or a base URL. A name that is not in `quirks`
and has a base URL is a generic OpenAI-compatible provider; its models are addressed as `<name>/<model>`.

Base URLs are what the provider's own SDK takes:
    openai_chat         a URL without a path gets the provider's version path (mostly `/v1`); else it is used as it is
    anthropic_messages  `/v1/messages` follows; a trailing `/v1` is taken off first, so both spellings work
    gemini              `/models/…` follows a trailing `/v1`, `/v1beta`, …; without one `/v1beta` is put in
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from gateway.providers import embeddings, quirks
from gateway.providers.anthropic_messages import ADAPTER as ANTHROPIC_MESSAGES
from gateway.providers.gemini import ADAPTER as GEMINI
from gateway.providers.openai_chat import ADAPTER as OPENAI_CHAT
from gateway.providers.protocol import Adapter, Endpoint
from gateway.providers.quirks import Quirks

PREFIX = "KAIROS_PROVIDER_"
_SETTING = re.compile(r"KAIROS_PROVIDER_([A-Z0-9][A-Z0-9_-]*?)_(BASE_URL|API_KEY|PROTOCOL)", re.IGNORECASE)
_VERSION = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?$")


class ProviderMisconfigured(ValueError):
    """A provider's settings contradict each other or are unusable; the message names the setting and what to do."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A configured provider. `base_url` is complete: an adapter's path is simply appended."""

    name: str
    row: Quirks
    protocol: str
    base_url: str
    api_key: str = field(repr=False, default="")

    @property
    def is_generic(self) -> bool:
        """Whether nothing is known about it beyond its base URL."""
        return self.row is quirks.GENERIC

    def endpoint(self, *, model: str, upstream_model: str) -> Endpoint:
        """Return where a model is reached. `model` is our name for it, `upstream_model` the provider's."""
        protocol, base_url = self.protocol, self.base_url
        if self.row is quirks.BEDROCK and protocol == quirks.OPENAI_CHAT and "anthropic." in upstream_model:
            # Bedrock speaks Anthropic's protocol for Claude, beside its OpenAI-shaped path.
            protocol, base_url = quirks.ANTHROPIC_MESSAGES, _VERSION.sub("", base_url) + "/anthropic"
        return Endpoint(
            model=model,
            provider=self.name,
            upstream_model=upstream_model,
            protocol=protocol,
            base_url=base_url,
            api_key=self.api_key,
        )


class Registry:
    """The configured providers of this process."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = dict(providers)

    def names(self) -> tuple[str, ...]:
        """Return the names of the configured providers, sorted."""
        return tuple(sorted(self._providers))

    def get(self, name: str) -> Provider | None:
        """Return a configured provider by any spelling of its name."""
        row = quirks.known(name)
        found = self._providers.get(row.provider if row else name)
        if found is not None:
            return found
        return next((p for p in self._providers.values() if quirks.squeeze(p.name) == quirks.squeeze(name)), None)

    def endpoint_for(self, *, model: str, provider: str, upstream_model: str) -> Endpoint | None:
        """Return where a catalog model is reached, or None when its provider is not configured.

        `model` is our name for it, `upstream_model` the provider's.
        """
        configured = self._providers.get(provider)
        return None if configured is None else configured.endpoint(model=model, upstream_model=upstream_model)

    def addressed(self, model: str) -> Endpoint | None:
        """Return the endpoint that `<provider>/<model>` spells out, or None.

        Only for providers without a catalog of ours: generic ones and OpenRouter.
        """
        name, slash, upstream_model = model.partition("/")
        configured = self.get(name) if slash and upstream_model else None
        if configured is None or not (configured.is_generic or configured.row is quirks.OPENROUTER):
            return None
        return configured.endpoint(model=f"{configured.name}/{upstream_model}", upstream_model=upstream_model)


def build(settings: Mapping[str, str]) -> Registry:
    """Return the registry that the `KAIROS_PROVIDER_*` settings describe; all other names are ignored.

    Raises:
        ProviderMisconfigured: a base URL is missing or not http(s), or a protocol is unknown.
    """
    found: dict[str, dict[str, str]] = {}
    for variable, value in settings.items():
        match = _SETTING.fullmatch(variable)
        if match and value.strip():
            found.setdefault(quirks.squeeze(match[1]), {"NAME": match[1]})[match[2].upper()] = value.strip()
    providers: dict[str, Provider] = {}
    for parts in found.values():
        if "API_KEY" in parts or "BASE_URL" in parts:
            provider = _provider(parts)
            if provider.name in providers:
                raise ProviderMisconfigured(
                    f"{PREFIX}{parts['NAME']}_*: {provider.name} is configured under two names; keep one."
                )
            providers[provider.name] = provider
    return Registry(providers)


def keyed(name: str, *, api_key: str, base_url: str = "", known: Registry | None = None) -> Provider:
    """Return a provider as a customer reaches it with a key of their own.

    Without a base URL it is the address that the operator wired in (`known`), else the provider's own.

    Raises:
        ProviderMisconfigured: the provider has no address, or the key or the address cannot be used.
    """
    configured = None if known is None else known.get(name)
    if not base_url and configured is not None:
        return replace(configured, api_key=_api_key(api_key, variable=name))
    return _provider({"NAME": name, "BASE_URL": base_url, "API_KEY": api_key})


def _provider(parts: Mapping[str, str]) -> Provider:
    variable = f"{PREFIX}{parts['NAME']}"
    row = quirks.known(parts["NAME"]) or quirks.GENERIC
    protocol = parts.get("PROTOCOL", row.protocol).lower()
    if protocol not in quirks.PROTOCOLS:
        raise ProviderMisconfigured(f"{variable}_PROTOCOL must be one of {', '.join(quirks.PROTOCOLS)}.")
    url = parts.get("BASE_URL") or (row.base_url if protocol == row.protocol else "")
    if not url:
        raise ProviderMisconfigured(
            f"{variable}_BASE_URL is needed: this provider has no address of its own for {protocol}."
        )
    return Provider(
        name=row.provider or parts["NAME"].lower().replace("_", "-"),
        row=row,
        protocol=protocol,
        base_url=_base_url(url, variable=variable, protocol=protocol, row=row),
        api_key=_api_key(parts.get("API_KEY", ""), variable=variable),
    )


def _base_url(url: str, *, variable: str, protocol: str, row: Quirks) -> str:
    try:
        parts = urlsplit(url)
        is_usable = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        is_usable = False
    if not is_usable or any(character <= " " for character in url):
        raise ProviderMisconfigured(f"{variable}_BASE_URL must be a whole http:// or https:// address.")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ProviderMisconfigured(
            f"{variable}_BASE_URL must not hold a user, a query or a fragment; put the key in {variable}_API_KEY."
        )
    url = url.rstrip("/")
    if protocol == quirks.ANTHROPIC_MESSAGES:
        return _VERSION.sub("", url)
    if protocol == quirks.GEMINI:
        return url if _VERSION.search(url) else url + "/v1beta"
    return url if parts.path.strip("/") else url + (row.version_path or "/v1")


def _api_key(key: str, *, variable: str) -> str:
    # A line break or a blank inside a key would split the header that carries it.
    if not key.isascii() or any(character <= " " or character == "\x7f" for character in key):
        raise ProviderMisconfigured(f"{variable}_API_KEY holds blanks, line breaks or non-ASCII characters.")
    return key


ADAPTERS: dict[str, Adapter] = {
    **{adapter.name: adapter for adapter in (OPENAI_CHAT, ANTHROPIC_MESSAGES, GEMINI)},
    **embeddings.ADAPTERS,
}
