"""How a webhook proves where it comes from: an HMAC over its time and its body, in one header. Pure.

`KairosRoute-Signature: t=<seconds since the epoch>,v1=<hex>[,v1=<hex>]`, each `v1` the HMAC-SHA256 of `<t>.<body>`
under a secret; two while a secret is being rotated. The form is that of Stripe's webhook signatures
(docs.stripe.com/webhooks, "Verify webhook signatures manually"), so receivers that check those need no new code.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

HEADER = "KairosRoute-Signature"
TOLERANCE_S = 300

_ITEM = re.compile(r"(t|v1)=([0-9a-f]+)")


def sign(body: bytes, *, secrets: Iterable[str], at_s: int) -> str:
    """Return the header's value for a body that is sent at `at_s`, signed under every one of the secrets."""
    signatures = [f"v1={_signature(body, secret=secret, at_s=at_s)}" for secret in secrets]
    return ",".join([f"t={at_s}", *signatures])


def is_genuine(body: bytes, header: str, *, secret: str, now_s: float, tolerance_s: int = TOLERANCE_S) -> bool:
    """Return whether one of the signatures was made under `secret`, and lately: what a receiver does."""
    items = [match.groups() for part in header.split(",") if (match := _ITEM.fullmatch(part.strip()))]
    times = [value for name, value in items if name == "t" and value.isdigit()]
    if len(times) != 1 or abs(now_s - int(times[0])) > tolerance_s:
        return False
    expected = _signature(body, secret=secret, at_s=int(times[0]))
    return any(hmac.compare_digest(value, expected) for name, value in items if name == "v1")


def _signature(body: bytes, *, secret: str, at_s: int) -> str:
    return hmac.new(secret.encode(), b"%d." % at_s + body, hashlib.sha256).hexdigest()
