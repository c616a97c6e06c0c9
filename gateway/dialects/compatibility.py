"""All fields and headers of all dialects in two tables, and the reading of one call by them. Pure.

Every field and header stands in one dialect's table once, with how it is read or that the receipt names it; unknown
headers of a known gateway are named too. Unknown body fields are not read here: they go to the provider.

Precedence, from weak to strong: the headers in the order of `_GATEWAYS`, the body's fields in the order of `_BODIES`,
the body's `user` and `metadata`, the body's `kairosroute` object.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from gateway import errors
from gateway.dialects import (
    cloudflare,
    correlation,
    helicone,
    kairosroute,
    litellm,
    martian,
    openrouter,
    portkey,
    rows,
    vercel,
)
from gateway.dialects.rows import Row
from gateway.dialects.values import Malformed
from gateway.dialects.wishes import Wishes

# Title, table, the prefix of the gateway's headers, and whose answer headers its clients get.
_GATEWAYS: tuple[tuple[str, dict[str, Row], str, str], ...] = (
    ("The OpenAI SDK, tracing, coding agents", correlation.HEADERS, "", ""),
    ("Cloudflare", cloudflare.HEADERS, "cf-aig-", cloudflare.ECHO),
    ("Helicone", helicone.HEADERS, "helicone-", helicone.ECHO),
    ("Portkey", portkey.HEADERS, "x-portkey-", portkey.ECHO),
    ("LiteLLM", litellm.HEADERS, "x-litellm-", litellm.ECHO),
    ("OpenRouter", openrouter.HEADERS, "x-openrouter-", ""),
    ("KairosRoute", kairosroute.HEADERS, "x-kairosroute-", ""),
)
_BODIES: tuple[tuple[str, dict[str, Row]], ...] = (
    ("Martian", martian.FIELDS),
    ("Vercel", vercel.FIELDS),
    ("LiteLLM", litellm.FIELDS),
    ("OpenRouter", openrouter.FIELDS),
    ("KairosRoute", kairosroute.FIELDS),
)
_PROPERTY = "helicone-property-"
_OWN = "X-KairosRoute-"
# Earlier spellings of our own headers, which research and drafts used.
_FORMER = "x-kairos-"

# What every client, proxy and load balancer sends: a call with nothing else is not looked at any closer.
_INERT = """
accept accept-charset accept-encoding accept-language anthropic-beta anthropic-dangerous-direct-browser-access
anthropic-version api-key authorization baggage cache-control cdn-loop cf-connecting-ip cf-ipcountry cf-ray
cf-visitor connection content-encoding content-length content-type cookie date dnt expect forwarded from host
keep-alive openai-beta origin pragma priority referer sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform
sec-fetch-dest sec-fetch-mode sec-fetch-site te tracestate transfer-encoding true-client-ip upgrade user-agent
via x-api-key x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-forwarded-server
x-goog-api-client x-goog-api-key x-real-ip x-request-id x-stainless-arch x-stainless-async
x-stainless-helper-method x-stainless-lang x-stainless-os x-stainless-package-version x-stainless-poll-helper
x-stainless-read-timeout x-stainless-retry-count x-stainless-runtime x-stainless-runtime-version
x-stainless-timeout x-amzn-trace-id x-envoy-attempt-count
"""
INERT = frozenset(name.encode() for name in _INERT.split())


def _index(tables: Any) -> dict[str, tuple[str, Row]]:
    found: dict[str, tuple[str, Row]] = {}
    for _, table, *_ in tables:
        for name, row in table.items():
            if name.lower() in found:
                raise ValueError(f"{name} stands in two tables")
            found[name.lower()] = (name, row)
    return found


_ECHO_OF = {name.lower(): echo for _, table, _, echo in _GATEWAYS for name in table if echo}
_HEADERS = {
    name.encode(): (position, *entry, _ECHO_OF.get(name, ""))
    for position, (name, entry) in enumerate(_index(_GATEWAYS).items())
}
_FIELDS = {name: row for _, table in _BODIES for name, row in table.items()}
_index(_BODIES)
_FAMILIES = {prefix.encode(): echo for _, _, prefix, echo in _GATEWAYS if prefix} | {_FORMER.encode(): ""}
_PREFIXES = tuple(_FAMILIES)
FIELD_NAMES = frozenset(_FIELDS)


def read_headers(wishes: Wishes, headers: Mapping[bytes, bytes]) -> None:
    """Read what the headers ask for; those of other gateways that cannot be read are named.

    Raises:
        errors.InvalidRequest: a header of our own cannot be read; the message names it.
    """
    found: list[tuple[int, str, Row, str, bytes]] = []
    for name in headers:
        if name in INERT:
            continue
        entry = _HEADERS.get(name)
        if entry is not None:
            found.append((*entry, headers[name]))
        elif name.startswith(_PREFIXES):
            _read_unlisted(wishes, name, headers[name])
    retries = headers.get(correlation.RETRY_COUNT, b"0")
    if retries != b"0":
        found.append((*_HEADERS[correlation.RETRY_COUNT], retries))
    if len(found) > 1:
        found.sort(key=_position)
    for _, shown, row, echo, raw in found:
        if echo:
            wishes.echo(echo)
        value = raw.decode("utf-8", "replace").strip()
        if not value:
            continue
        if shown.startswith(_OWN):
            _read_own(wishes, value, row, shown)
        else:
            rows.read_header(wishes, value, row, shown)


_position = itemgetter(0)


def _read_unlisted(wishes: Wishes, name: bytes, value: bytes) -> None:
    """Read a tag that the header itself names, or name what the gateway's clients send and nobody here knows."""
    wishes.echo(next((echo for prefix, echo in _FAMILIES.items() if name.startswith(prefix)), ""))
    shown = name.decode("latin-1")
    if shown.startswith(_PROPERTY):
        helicone.read_property(wishes, shown.removeprefix(_PROPERTY), value.decode("utf-8", "replace"))
    else:
        wishes.deny(shown)


def _read_own(wishes: Wishes, value: str, row: Row, name: str) -> None:
    assert row.read is not None
    try:
        row.read(wishes, value)
    except Malformed as wrong:
        raise errors.InvalidRequest(
            f"The header `{name}` must be {wrong.expected}.", param=name, code="invalid_header"
        ) from None


def read_body(wishes: Wishes, body: Mapping[str, Any]) -> None:
    """Read what the body's top-level fields ask for beside OpenAI's own.

    Raises:
        errors.InvalidRequest: a value is not what its field takes; the message names it.
    """
    rows.read_fields(wishes, body, _FIELDS)


def documented() -> list[tuple[str, str, list[tuple[str, Row]]]]:
    """Return the tables for docs/reference/compatibility.md: gateway, kind (body fields, headers), rows in order."""
    tables: list[tuple[str, str, list[tuple[str, Row]]]] = []
    for title, table in _BODIES:
        tables.append((title, "body fields", _flat(table)))
    for title, headers, *_ in _GATEWAYS:
        listed = list(headers.items())
        if headers is helicone.HEADERS:
            listed.append(("Helicone-Property-<Name>", Row("tag `<name>`, in lower case")))
        tables.append((title, "headers", listed))
    return tables


def _flat(table: Mapping[str, Row], path: str = "") -> list[tuple[str, Row]]:
    found: list[tuple[str, Row]] = []
    for name, row in table.items():
        found.append((f"{path}{name}", row))
        found += _flat(row.inner, f"{path}{name}.")
    return found
