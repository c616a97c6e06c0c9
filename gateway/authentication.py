"""From a request's headers to the key that it carries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from accounts import key_scopes
from gateway import errors
from gateway.context import KeySnapshot
from gateway.snapshot import Snapshot

# Where clients of other gateways put their key; `Authorization` is read last, because beside one of ours it holds a
# provider's key (Helicone, Portkey).
_BEARER_HEADERS = (b"helicone-auth", b"authorization")
_PLAIN_HEADERS = (b"x-portkey-api-key", b"x-litellm-api-key", b"x-api-key", b"api-key", b"x-goog-api-key")

_sha256 = hashlib.sha256


def key_text(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the key that the headers carry.

    Raises:
        errors.AuthenticationFailed: no header carries one.
    """
    value = headers.get(b"authorization")
    if value is not None and value.startswith(b"Bearer kr_"):
        return value[7:].strip()
    for name in _PLAIN_HEADERS:
        found = headers.get(name)
        if found:
            return _without_scheme(found)
    for name in _BEARER_HEADERS:
        found = headers.get(name)
        if found:
            return _without_scheme(found)
    raise errors.AuthenticationFailed(
        "No API key. Send your KairosRoute key as `Authorization: Bearer kr_live_…`.", code="missing_api_key"
    )


def known_key(snapshot: Snapshot, headers: Mapping[bytes, bytes]) -> tuple[bytes, KeySnapshot | None]:
    """Return the key's digest, and the key when it is in memory."""
    digest = _sha256(key_text(headers)).digest()
    return digest, snapshot.keys.get(digest)


def require_usable(key: KeySnapshot | None, *, scope: str, now: float) -> KeySnapshot:
    """Return the key if it may be used for `scope` (empty: whatever it may do) at `now` (seconds since the epoch).

    Raises:
        errors.AuthenticationFailed: unknown, revoked or expired.
        errors.PermissionDenied: it lacks the scope.
    """
    if key is None:
        raise errors.AuthenticationFailed(
            "This API key is not known. Keys of KairosRoute begin with kr_live_ or kr_test_; create one under Keys."
        )
    if key.revoked_at is not None and now >= key.revoked_at:
        raise errors.AuthenticationFailed(
            "This API key was revoked. Create a new one under Keys.", code="api_key_revoked"
        )
    if key.expires_at is not None and now >= key.expires_at:
        raise errors.AuthenticationFailed(
            "This API key has expired. Create a new one under Keys.", code="api_key_expired"
        )
    if scope and scope not in key.scopes and (key.scopes or scope in key_scopes.EXPLICIT):
        raise errors.PermissionDenied(
            f"This API key has no `{scope}` scope. Create one that has it under Keys.",
            code="missing_scope",
        )
    return key


def _without_scheme(value: bytes) -> bytes:
    scheme, _, rest = value.partition(b" ")
    return rest.strip() if rest and scheme.lower() == b"bearer" else value.strip()
