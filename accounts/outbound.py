"""The one HTTP client for addresses that customers name: webhooks, collectors, metadata, tests of a connection.

Every address is checked twice, because a name can lead elsewhere a second later: `check` when it is saved, and again
when a connection is made. A name is looked up once, everything that it leads to must be allowed, and the connection
goes to the very address that was checked. Redirects are not followed, proxies of the environment are not used, time
and size are bounded. It waits: for threads and workers; `gateway.upstream` asks a `Guard` for addresses and connects
by itself.

    OutboundError(Exception)
     ├─ Refused        the address must not be reached; the message says what the customer can do
     └─ Unreachable    it did not answer as HTTP in time; worth trying again

Messages name the host, never the path: a webhook's path is often its secret.
"""

from __future__ import annotations

import functools
import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from accounts import addresses
from accounts.addresses import Allowed

_MAX_URL = 2048
_MAX_BODY = 64 * 1024
_MOST_HEADERS_BYTES = 64 * 1024
_MOST_ADDRESSES = 4
_URL_CHARACTERS = re.compile(
    r"[!-~]+"
)  # printable ASCII without blanks: nothing that a parser strips or a header splits
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
_HOW_TO_ALLOW = "An operator can allow it in KAIROS_OUTBOUND_ALLOWED_HOSTS."


class OutboundError(Exception):
    """Something customers named could not be reached. The message is meant for them."""


class Refused(OutboundError):
    pass


class Unreachable(OutboundError):
    pass


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of any status. `body` holds at most the bytes asked for; `is_cut`: there was more."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL in its parts. `host` is normalized; `authority` is what the Host header says."""

    is_https: bool
    host: str
    port: int
    authority: str
    path: str


Resolve = Callable[[str, int], Sequence[str]]


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a name. Raises OSError when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard:
    """The rules of one deployment, and the client that keeps to them. `resolve` gives the addresses of a name."""

    def __init__(
        self,
        allowed: Allowed = addresses.NOTHING_ALLOWED,
        *,
        resolve: Resolve = look_up,
        context: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._context = context or _trusting_context

    def check(self, url: str) -> Target:
        """Return the parts of a URL that may be reached as things are now; for the moment when it is saved.

        Raises:
            Refused: it may not, or its name is not known.
        """
        target = self.target(url)
        try:
            self.addresses(target.host, target.port)
        except Unreachable as error:
            raise Refused(str(error)) from None
        return target

    def target(self, url: str) -> Target:
        """Return the parts of a URL by its text alone, without looking its name up.

        Raises:
            Refused: the text is no URL that may be reached.
        """
        if len(url) > _MAX_URL or not _URL_CHARACTERS.fullmatch(url) or "\\" in url:
            raise Refused("Give a whole address such as https://example.com/path, without blanks or special letters.")
        try:
            parts = urlsplit(url)
            port, host = parts.port, addresses.normalized(parts.hostname or "")
        except ValueError:
            raise Refused("The address is malformed. It looks like https://example.com/path.") from None
        scheme = parts.scheme.lower()
        if scheme not in ("http", "https"):
            raise Refused("The address must begin with https://.")
        if not host or port == 0:
            raise Refused("The address has no host name that can be reached. It looks like https://example.com/path.")
        if parts.username is not None or parts.password is not None:
            raise Refused("The address must not hold a user name or a password.")
        if parts.fragment:
            raise Refused("The address must not hold a fragment (#…).")
        if scheme == "http" and not self._allowed.has_host(host):
            raise Refused(f"{host} must be reached by https. {_HOW_TO_ALLOW}")
        is_https = scheme == "https"
        standard = 443 if is_https else 80
        name = f"[{host}]" if ":" in host else host
        return Target(
            is_https=is_https,
            host=host,
            port=port or standard,
            authority=name if port in (None, standard) else f"{name}:{port}",
            path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )

    def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Return the addresses at which a normalized host may be reached, having looked the name up once.

        One forbidden address among them refuses the name: which one a connection took would be left to chance.

        Raises:
            Refused: it leads where nothing may be sent.
            Unreachable: the name cannot be looked up.
        """
        if addresses.literal(host) is not None:
            found: Sequence[str] = (host,)
        else:
            try:
                found = self._resolve(host, port)
            except (OSError, UnicodeError):
                found = ()
            if not found:
                raise Unreachable(f"The name {host} cannot be looked up. Check its spelling.")
        for address in found:
            self.require_allowed(address, host)
        return tuple(found[:_MOST_ADDRESSES])

    def require_allowed(self, address: str, host: str) -> None:
        """Return if the address, to which the host led, may be reached; also for the peer of a connection.

        Raises:
            Refused: it may not.
        """
        parsed = addresses.literal(address.partition("%")[0])
        kind = "unknown" if parsed is None else addresses.refusal(parsed, self._allowed, host=host)
        if kind:
            raise Refused(f"{host} leads to an address that is not public ({kind}). {_HOW_TO_ALLOW}")

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_s: float,
        max_bytes: int = _MAX_BODY,
    ) -> Response:
        """Return the answer to one request, of whatever status; a redirect is an answer like any other.

        `timeout_s` bounds the whole, `max_bytes` what is read of the body.

        Raises:
            Refused: the address must not be reached.
            Unreachable: it could not be, or gave no HTTP answer in time.
            ValueError: a header cannot be sent as it is. That is a mistake of the caller, not of the customer.
        """
        deadline = time.monotonic() + timeout_s
        target = self.target(url)
        head = _head(method, target, headers, len(body))
        try:
            with self._connect(target, deadline) as connection:
                connection.settimeout(_left(deadline))
                connection.sendall(head + body)
                return _read(connection, method, deadline=deadline, max_bytes=max_bytes)
        except TimeoutError:
            raise Unreachable(f"{target.host} did not answer within {timeout_s:g} seconds.") from None
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or "the TLS handshake failed"
            raise Unreachable(f"{target.host} could not be reached securely: {why}.") from None
        except (OSError, http.client.HTTPException):
            raise Unreachable(f"{target.host} could not be reached, or its answer is not HTTP.") from None

    def _connect(self, target: Target, deadline: float) -> socket.socket:
        """Connect to an address that was checked, and look at the peer once more before anything is said."""
        last: OSError | None = None
        for address in self.addresses(target.host, target.port):
            try:
                connection = socket.create_connection((address, target.port), timeout=_left(deadline))
            except OSError as error:
                last = error
                continue
            try:
                self.require_allowed(connection.getpeername()[0], target.host)
                if target.is_https:
                    connection.settimeout(_left(deadline))
                    return self._context().wrap_socket(connection, server_hostname=target.host)
                return connection
            except BaseException:
                connection.close()
                raise
        raise last or OSError("no address")


def guard() -> Guard:
    """Return the guard that the deployment's settings describe.

    Raises:
        accounts.addresses.InvalidAllowList: KAIROS_OUTBOUND_ALLOWED_HOSTS cannot be read.
    """
    from django.conf import settings

    return _guard(settings.OUTBOUND_ALLOWED_HOSTS)


def check(url: str) -> None:
    """Return if a URL may be saved. Raises `Refused` with a message for people."""
    guard().check(url)


def post(url: str, *, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Response:
    """POST to an address that a customer named. Raises as `Guard.request`."""
    return guard().request("POST", url, headers=headers, body=body, timeout_s=timeout_s)


def get(url: str, *, headers: Mapping[str, str], timeout_s: float, max_bytes: int = _MAX_BODY) -> Response:
    """GET from an address that a customer named. Raises as `Guard.request`."""
    return guard().request("GET", url, headers=headers, timeout_s=timeout_s, max_bytes=max_bytes)


@functools.lru_cache(maxsize=4)
def _guard(allowed: str) -> Guard:
    return Guard(addresses.parse_allowed(allowed))


@functools.lru_cache(maxsize=1)
def _trusting_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _head(method: str, target: Target, headers: Mapping[str, str], length: int) -> bytes:
    lines = [f"{method} {target.path} HTTP/1.1", f"host: {target.authority}"]
    for name, value in headers.items():
        # Neither is repeated: a value may be a secret.
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS:
            raise ValueError("A header has a name that cannot be sent.")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError("A header has a value that cannot be sent.")
        lines.append(f"{name}: {value}")
    if length or method != "GET":
        lines.append(f"content-length: {length}")
    lines += ["accept-encoding: identity", "connection: close", "", ""]
    return "\r\n".join(lines).encode("ascii")


def _read(connection: socket.socket, method: str, *, deadline: float, max_bytes: int) -> Response:
    source = _Source(connection, deadline=deadline, max_bytes=max_bytes + _MOST_HEADERS_BYTES)
    answer = http.client.HTTPResponse(source, method=method)  # type: ignore[arg-type]  # it needs `makefile` only
    answer.begin()
    body = bytearray()
    while len(body) <= max_bytes and (piece := answer.read1(max_bytes + 1 - len(body))):
        body += piece
    if len(body) <= max_bytes and answer.length:
        raise http.client.IncompleteRead(b"")
    return Response(
        status=answer.status,
        body=bytes(body[:max_bytes]),
        headers={name.lower(): value for name, value in answer.getheaders()},
        is_cut=len(body) > max_bytes,
    )


class _Source(io.RawIOBase):
    """What arrives on a connection, until the deadline and up to a size. A slow sender cannot stretch either."""

    def __init__(self, connection: socket.socket, *, deadline: float, max_bytes: int) -> None:
        self._connection = connection
        self._deadline = deadline
        self._left_bytes = max_bytes

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._left_bytes <= 0:
            raise http.client.HTTPException("too much")
        self._connection.settimeout(_left(self._deadline))
        count = self._connection.recv_into(buffer)
        self._left_bytes -= count
        return count
