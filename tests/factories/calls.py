"""What the data plane knows of a caller, for tests."""

from __future__ import annotations

from typing import Any

from gateway.context import KeySnapshot

_DEFAULTS: dict[str, Any] = {
    "api_key_id": "key_1",
    "organization_id": "org_1",
    "workspace_id": "ws_1",
    "name": "k",
    "is_test": False,
    "scopes": frozenset(),
    "expires_at": None,
    "revoked_at": None,
    "stores_content": False,
    "content_cap_bytes": 65536,
    "content_retention_days": 30,
}


def make_key(**fields: Any) -> KeySnapshot:
    """Return a live key of Acme's first workspace that may do everything."""
    return KeySnapshot(**{**_DEFAULTS, **fields})
