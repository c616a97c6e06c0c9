"""Which addresses of the network a customer may send us to, and what an operator allows beyond them. Pure.

A customer's webhook, collector or model server is reached from inside of our network: without a rule it could be our
own database or the cloud's metadata service. Allowed is what the public internet routes; everything else needs the
operator's word. Names are not looked up here; `accounts.outbound` does.

Sources: IANA's IPv4 and IPv6 special-purpose address registries (RFC 6890); the metadata addresses of AWS, GCP, Azure,
Oracle and Alibaba from their documentation.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Not routed, or not for one host. `is_global` says most of it, but its answers differ between releases of Python.
_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("127.0.0.0/8", "this machine"),
        ("::1/128", "this machine"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata service"),
        ("fe80::/10", "link-local"),
        ("168.63.129.16/32", "a cloud's metadata service"),  # Azure, on a public address
        ("100.100.100.200/32", "a cloud's metadata service"),  # Alibaba
        ("192.0.0.192/32", "a cloud's metadata service"),  # Oracle
        ("fd00:ec2::254/128", "a cloud's metadata service"),  # AWS
        ("fd20:ce::254/128", "a cloud's metadata service"),  # Google
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("fc00::/7", "private"),
        ("fec0::/10", "private"),
        ("100.64.0.0/10", "shared by a carrier"),
        ("0.0.0.0/8", "unspecified"),
        ("::/128", "unspecified"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved for documentation"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("2001:db8::/32", "reserved for documentation"),
        ("3fff::/20", "reserved for documentation"),
        ("192.88.99.0/24", "a relay"),
        ("198.18.0.0/15", "reserved for tests"),
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("2001::/23", "reserved"),  # Teredo, ORCHID, benchmarks
        ("2002::/16", "a relay"),  # 6to4: an IPv4 address inside
        ("100::/64", "reserved"),
        ("64:ff9b:1::/48", "reserved"),
        ("5f00::/16", "reserved"),
    )
)
# Inside these an IPv4 address decides: mapped (::ffff:127.0.0.1), compatible (::127.0.0.1), NAT64 (64:ff9b::7f00:1).
_EMBEDDING = tuple(ipaddress.IPv6Network(network) for network in ("::ffff:0:0/96", "::/96", "64:ff9b::/96"))
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


class InvalidAllowList(ValueError):
    """An operator's allow list cannot be read; the message names the entry."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an operator allows beyond the public internet: host names, `*.suffix` for all names below, networks.

    An allowed name may be spoken to in plain http and may lead to a private address; so may an allowed network.
    """

    hosts: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = field(default=())

    def has_host(self, host: str) -> bool:
        """Return whether the host, as `normalized` gives it, stands on the list."""
        if host in self.hosts or host.endswith(self.suffixes or ("\0",)):
            return True
        address = literal(host)
        return address is not None and self.has_address(address)

    def has_address(self, address: Address) -> bool:
        """Return whether a network on the list holds the address."""
        forms = {address, _embedded(address) or address}
        return any(form in network for network in self.networks for form in forms if form.version == network.version)


NOTHING_ALLOWED = Allowed()


def parse_allowed(text: str) -> Allowed:
    """Return the allow list that `name, *.suffix, address, network/bits, …` describes.

    Raises:
        InvalidAllowList: an entry is neither.
    """
    hosts: set[str] = set()
    suffixes: list[str] = []
    networks: list[Network] = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        if entry.startswith("*."):
            suffixes.append("." + _name(entry[2:], entry))
            continue
        try:
            networks.append(ipaddress.ip_network(entry.replace("[", "").replace("]", "")))
        except ValueError:
            hosts.add(_name(entry, entry))
    return Allowed(frozenset(hosts), tuple(suffixes), tuple(networks))


def _name(host: str, entry: str) -> str:
    name = normalized(host)
    if name is None or literal(name) is not None:
        raise InvalidAllowList(
            f"{entry!r} is no host name, no address and no network such as 10.20.0.0/16. Separate entries by commas;"
            " a port or a scheme is not part of one."
        )
    return name


def normalized(host: str) -> str | None:
    """Return a URL's host in its one form: lower case, punycode, no last dot; None when it is no host.

    Whatever ends in a number is an IPv4 address (WHATWG URL, "ends in a number"), and one is written in one way only:
    `127.1`, `0177.0.0.1`, `0x7f.1` and `2130706433` are none.
    """
    host = host.removesuffix(".")
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            return None
        return None if address.scope_id else str(address)
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    host = host.lower()
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            return None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return host


def literal(host: str) -> Address | None:
    """Return the address that a normalized host spells out, None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def refusal(address: Address, allowed: Allowed = NOTHING_ALLOWED, *, host: str = "") -> str:
    """Return why nothing may be sent to the address, as a word such as `private`; empty: it may.

    `host`: the name that led to it. An allowed name may lead anywhere but to a metadata service or a multicast
    address, which nobody means and only an allowed network opens.
    """
    if allowed.has_address(address):
        return ""
    plain = _embedded(address) or address
    kind = next((kind for network, kind in _REFUSED if plain.version == network.version and plain in network), "")
    if not kind and not plain.is_global:
        kind = "reserved"
    is_meant = host != "" and allowed.has_host(host) and "metadata" not in kind and kind != "multicast"
    return "" if is_meant else kind


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address) or int(address) <= 1:
        return None
    if any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
