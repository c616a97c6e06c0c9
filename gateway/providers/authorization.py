"""Turn an endpoint's key into the header that its provider reads. Pure."""

from __future__ import annotations

from gateway.errors import InvalidRequest
from gateway.providers import quirks
from gateway.providers.protocol import Endpoint

_BY_PROTOCOL = {quirks.ANTHROPIC_MESSAGES: "x-api-key", quirks.GEMINI: "x-goog-api-key", quirks.OPENAI_CHAT: "bearer"}


def headers(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """Return the authorization header of a call; none without a key. Raises `InvalidRequest` for an unusable key.

    A provider that is wired with another protocol than its own (a proxy, Claude on Bedrock) is spoken to as that
    protocol expects.
    """
    if not endpoint.api_key:
        return ()
    if not endpoint.api_key.isprintable() or not endpoint.api_key.isascii():
        # A line break in a key would start a header of its own.
        raise InvalidRequest("The provider key holds characters that no header can carry.", code="invalid_provider_key")
    row = quirks.of(endpoint.provider)
    form = row.auth if row.protocol == endpoint.protocol else _BY_PROTOCOL[endpoint.protocol]
    if form == "none":
        return ()
    if form == "bearer":
        return (("authorization", f"Bearer {endpoint.api_key}"),)
    return ((form, endpoint.api_key),)
