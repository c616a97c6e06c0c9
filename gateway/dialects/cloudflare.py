"""What clients of Cloudflare's AI Gateway send: `cf-aig-*` headers. Pure.

Source: Cloudflare's pages on request headers of the AI Gateway (autumn 2026).
"""

from __future__ import annotations

from gateway.dialects import values
from gateway.dialects.rows import Row, granted, honoured, not_applied
from gateway.dialects.wishes import Wishes

ECHO = "cloudflare"


def _attempts(wishes: Wishes, value: str) -> None:
    wishes.prefer(retries=values.whole(value, least=1, most=10) - 1)


def _skip(wishes: Wishes, value: str) -> None:
    if values.flag(value):
        wishes.prefer(cache_ttl_s=None)


def _collect(wishes: Wishes, value: str) -> None:
    if not values.flag(value):
        wishes.prefer(keeps_content=False)


HEADERS: dict[str, Row] = {
    "cf-aig-metadata": honoured("tags", lambda wishes, value: wishes.tag_all(values.json_object(value))),
    "cf-aig-cache-ttl": honoured(
        "the response cache, for so many seconds", lambda wishes, value: wishes.prefer(cache_ttl_s=values.age_s(value))
    ),
    "cf-aig-skip-cache": honoured("`true`: not the response cache", _skip),
    "cf-aig-collect-log": honoured("`false`: nothing of what is said is stored; the record stays", _collect),
    "cf-aig-collect-log-payload": honoured("`false`: nothing of what is said is stored", _collect),
    "cf-aig-max-attempts": honoured("attempts at the same endpoint", _attempts),
    "cf-aig-request-timeout": honoured(
        "the call's time-out, in milliseconds",
        lambda wishes, value: wishes.prefer(timeout_s=values.seconds(value, per_second=1000)),
    ),
    "cf-aig-retry-delay": not_applied("waits between attempts follow the provider's Retry-After"),
    "cf-aig-backoff": not_applied("waits between attempts follow the provider's Retry-After"),
    "cf-aig-cache-key": honoured(
        "a room of the cache of its own", lambda wishes, value: wishes.prefer(cache_namespace=values.text(value))
    ),
    "cf-aig-custom-cost": not_applied("prices come from the price list or your contract, not from a call"),
    "cf-aig-authorization": granted("a key of Cloudflare's; ours is read from `Authorization`"),
}
