"""Identifiers with a prefix that names what they point at, such as `org_4kq0…`. Pure."""

from __future__ import annotations

import hashlib
import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case


def new(prefix: str) -> str:
    """Return `prefix_` and 20 random characters of base 32 (100 bits)."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(20))}"


def derived(prefix: str, text: str) -> str:
    """Return the identifier that always follows from `text`: 20 characters as `new` has them."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:13], "big")
    return f"{prefix}_{''.join(_ALPHABET[number >> 5 * place & 31] for place in range(20))}"


def organization() -> str:
    return new("org")


def workspace() -> str:
    return new("ws")


def api_key() -> str:
    return new("key")


def provider_credential() -> str:
    return new("cred")


def invitation() -> str:
    return new("inv")


def sign_in_link() -> str:
    return new("link")


def audit_event() -> str:
    return new("aud")


def policy() -> str:
    return new("pol")


def experiment() -> str:
    return new("exp")


def limit() -> str:
    return new("lim")


def contract_price() -> str:
    return new("price")


def route_change() -> str:
    return new("chg")


def collector() -> str:
    return new("otel")


def webhook_endpoint() -> str:
    return new("hook")


def webhook_event() -> str:
    return new("evt")


def webhook_delivery() -> str:
    return new("dlv")
