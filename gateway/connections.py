"""Try a provider key: one cheap request through the guarded client, and its outcome in words.

It asks for the list of models, which costs nothing and needs a valid key at every provider but OpenRouter, where the
key itself is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson
from django.conf import settings

from accounts import outbound, provider_credentials
from accounts.addresses import Allowed
from accounts.encryption import KeyringError
from accounts.models import ProviderCredential
from accounts.outbound import Guard
from accounts.provider_credentials import InvalidCredential
from gateway.errors import InvalidRequest
from gateway.providers import authorization, quirks, registry
from gateway.providers.registry import Provider, ProviderMisconfigured

TIMEOUT_S = 10.0
_MAX_BYTES = 4 * 1024 * 1024

PASSED = ProviderCredential.TestResult.PASSED
REFUSED = ProviderCredential.TestResult.REFUSED
UNREACHABLE = ProviderCredential.TestResult.UNREACHABLE


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a test found: one of `ProviderCredential.TestResult`, and a sentence for people."""

    result: str
    message: str

    @property
    def has_passed(self) -> bool:
        return self.result == PASSED


def probe(credential: ProviderCredential, *, guard: Guard | None = None) -> Outcome:
    """Ask the provider for its models with the key. The outcome holds nothing of it, whatever is answered."""
    configured = registry.build(settings.PROVIDER_SETTINGS)
    try:
        provider = registry.keyed(
            credential.provider,
            api_key=provider_credentials.open_secret(credential),
            base_url=credential.base_url,
            known=configured,
        )
        headers = _headers(provider)
    except InvalidCredential as error:
        return Outcome(REFUSED, str(error))
    except KeyringError:
        return Outcome(REFUSED, "The stored key cannot be decrypted. Replace it.")
    except ProviderMisconfigured:
        return Outcome(UNREACHABLE, "This provider has no address of its own. Give the address of your resource.")
    except InvalidRequest:
        return Outcome(REFUSED, "The key holds characters that cannot be sent. Replace it.")
    url = _url(provider)
    try:
        reached = guard or (outbound.guard() if credential.base_url else _trusting(url))
        answer = reached.request("GET", url, headers=headers, timeout_s=TIMEOUT_S, max_bytes=_MAX_BYTES)
    except outbound.OutboundError as error:
        return Outcome(UNREACHABLE, str(error))
    return _outcome(answer)


def _outcome(answer: outbound.Response) -> Outcome:
    status = answer.status
    if status == 200:
        count = _count(answer.body)
        return Outcome(PASSED, f"The provider lists {count} models." if count else "The provider accepted the key.")
    if status in (401, 403):
        return Outcome(REFUSED, f"The provider refused the key (status {status}). Replace it, or check what it may do.")
    if status == 402:
        return Outcome(REFUSED, "The provider knows the key, but its account is unpaid (status 402).")
    if status == 429:
        return Outcome(PASSED, "The provider knows the key; its limit is reached at the moment (status 429).")
    if 300 <= status < 400:
        return Outcome(
            UNREACHABLE,
            f"The address redirects elsewhere (status {status}), and redirects are not followed. Give the last one.",
        )
    if status in (404, 405):
        return Outcome(
            UNREACHABLE,
            f"There is no list of models below this address ({status}). It ends where /chat/completions follows.",
        )
    return Outcome(UNREACHABLE, f"The provider answered with status {status}. Try again in a moment.")


def _headers(provider: Provider) -> dict[str, str]:
    headers = {"accept": "application/json", "user-agent": "KairosRoute"}
    headers.update(authorization.headers(provider.endpoint(model="", upstream_model="")))
    if provider.protocol == quirks.ANTHROPIC_MESSAGES:
        headers["anthropic-version"] = "2023-06-01"
    return headers


def _url(provider: Provider) -> str:
    if provider.protocol == quirks.ANTHROPIC_MESSAGES:
        return f"{provider.base_url}/v1/models"
    if provider.row is quirks.OPENROUTER:
        return f"{provider.base_url}/key"
    return f"{provider.base_url}/models"


def _trusting(url: str) -> Guard:
    """Return a guard that lets the address pass: the operator wired it in, or it is the provider's own."""
    parts = urlsplit(url)
    return Guard(Allowed(hosts=frozenset({(parts.hostname or "").lower()})))


def _count(body: bytes) -> int:
    try:
        listed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return 0
    if not isinstance(listed, dict):
        return 0
    found = listed.get("data", listed.get("models"))
    return len(found) if isinstance(found, list) else 0
