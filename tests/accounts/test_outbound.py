"""The guarded client against servers on this machine that lie, stall, redirect and flood."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from accounts import addresses, outbound
from accounts.outbound import Guard, Refused, Unreachable

LOCAL = addresses.parse_allowed("hooks.example, 127.0.0.1")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-Mark: yes\r\n\r\nok"


def names(**found: Sequence[str]) -> Callable[[str, int], Sequence[str]]:
    """Return a resolver that knows these names (`_` stands for a dot)."""

    def resolve(host: str, port: int) -> Sequence[str]:
        known = found.get(host.replace(".", "_"))
        if known is None:
            raise socket.gaierror(f"unknown {host}")
        return known

    return resolve


class Server:
    """A TCP server that answers each connection with `answer(connection)` and keeps what it was sent."""

    def __init__(self, answer: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.heard: list[bytes] = []
        self.connections = 0
        self._answer = answer
        self._context = context
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            with contextlib.suppress(OSError):
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
                self.heard.append(connection.recv(65536))
                self._answer(connection)
            connection.close()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(answer: bytes | Callable[[socket.socket], None] = OK, **kwargs: Any) -> Server:
        servers.append(
            Server((lambda connection: connection.sendall(answer)) if isinstance(answer, bytes) else answer, **kwargs)
        )
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def post(guard: Guard, url: str, **kwargs: Any) -> outbound.Response:
    return guard.request("POST", url, **{"headers": {}, "body": b"{}", "timeout_s": 5.0, **kwargs})


GUARD = Guard(LOCAL, resolve=names(hooks_example=["127.0.0.1"]))


def test_it_posts_a_body_with_headers_and_returns_the_answer(serve: Callable[..., Server]) -> None:
    server = serve()

    answer = post(GUARD, f"http://hooks.example:{server.port}/a?b=c", headers={"X-Signature": "s"}, body=b'{"a":1}')

    assert (answer.status, answer.body, answer.is_cut, answer.headers["x-mark"]) == (200, b"ok", False, "yes")
    head, _, body = server.heard[0].partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /a?b=c HTTP/1.1"
    assert b"host: hooks.example:%d" % server.port in head
    assert b"X-Signature: s" in head
    assert body == b'{"a":1}'


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://0x7f000001/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[fe80::1%25eth0]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.5/",
        "https://user:secret@example.com/",
        "https://example.com#fragment",
        "https://example.com\\@127.0.0.1/",
        "https://exam\nple.com/",
        "https://example.com/a b",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://[broken/",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "https:///path",
        "gopher://example.com/",
        "https://" + "a" * 2100,
        "",
    ],
)
def test_it_refuses_at_the_time_of_saving(url: str) -> None:
    guard = Guard(resolve=names(example_com=["93.184.216.34"]))

    with pytest.raises(Refused) as caught:
        guard.check(url)

    assert "secret" not in str(caught.value)


def test_it_lets_a_public_https_address_be_saved() -> None:
    target = Guard(resolve=names(example_com=["93.184.216.34"])).check("https://EXAMPLE.com:8443/x?y=1")

    assert (target.host, target.port, target.authority, target.path) == (
        "example.com",
        8443,
        "example.com:8443",
        "/x?y=1",
    )


def test_a_name_that_nobody_knows_cannot_be_saved() -> None:
    with pytest.raises(Refused, match="cannot be looked up"):
        Guard(resolve=names()).check("https://hooks.exmaple/")


@pytest.mark.parametrize(
    "found",
    [["10.0.0.5"], ["93.184.216.34", "127.0.0.1"], ["::ffff:10.0.0.5"], ["169.254.169.254"], ["not an address"]],
)
def test_a_name_that_leads_inside_is_refused_even_when_only_one_of_its_addresses_does(found: list[str]) -> None:
    with pytest.raises(Refused, match="not public"):
        Guard(resolve=names(inside_example=found)).check("https://inside.example/")


def test_a_name_that_changes_its_mind_is_refused_before_anything_is_connected(serve: Callable[..., Server]) -> None:
    server = serve()
    answers = [["93.184.216.34"], ["127.0.0.1"]]
    guard = Guard(resolve=lambda host, port: answers.pop(0))
    url = f"https://rebinding.example:{server.port}/"
    guard.check(url)

    with pytest.raises(Refused, match="not public"):
        post(guard, url)

    assert server.connections == 0


def test_a_request_looks_its_name_up_once_and_goes_to_that_address(serve: Callable[..., Server]) -> None:
    server = serve()
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    post(Guard(LOCAL, resolve=resolve), f"http://hooks.example:{server.port}/")

    assert asked == ["hooks.example"]


def test_a_redirect_is_an_answer_and_nothing_follows_it(serve: Callable[..., Server]) -> None:
    elsewhere = serve()
    server = serve(
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:%d/\r\ncontent-length: 0\r\n\r\n" % elsewhere.port
    )

    answer = post(GUARD, f"http://hooks.example:{server.port}/", headers={"authorization": "Bearer secret"})

    assert answer.status == 302
    assert elsewhere.connections == 0


def test_proxies_of_the_environment_are_not_used(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, server = serve(), serve()
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")

    post(GUARD, f"http://hooks.example:{server.port}/")

    assert (proxy.connections, server.connections) == (0, 1)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-a": "b\r\nx-evil: 1"},
        {"x-a": "b\nx-evil: 1"},
        {"x-a\r\nx-evil": "1"},
        {"x a": "1"},
        {"Host": "elsewhere.example"},
        {"Transfer-Encoding": "chunked"},
        {"Content-Length": "1"},
        {"x-a": "ü"},
    ],
)
def test_a_header_cannot_start_another_or_change_the_frame(
    headers: dict[str, str], serve: Callable[..., Server]
) -> None:
    server = serve()

    with pytest.raises(ValueError, match="cannot be sent"):
        post(GUARD, f"http://hooks.example:{server.port}/", headers=headers)

    assert server.connections == 0


def test_it_stops_reading_at_the_size_that_was_asked_for(serve: Callable[..., Server]) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n" + b"x" * 200_000)

    answer = post(GUARD, f"http://hooks.example:{server.port}/", max_bytes=1000)

    assert (len(answer.body), answer.is_cut) == (1000, True)


def test_it_reads_a_chunked_answer(serve: Callable[..., Server]) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    assert post(GUARD, f"http://hooks.example:{server.port}/").body == b"abcde"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_whole_http_answer_is_unreachable(answer: bytes, serve: Callable[..., Server]) -> None:
    server = serve(answer)

    with pytest.raises(Unreachable, match=r"hooks\.example"):
        post(GUARD, f"http://hooks.example:{server.port}/secret-path")


@pytest.mark.parametrize("drips", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"])
def test_time_is_bounded_as_a_whole_however_slowly_bytes_come(drips: bytes, serve: Callable[..., Server]) -> None:
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(drips)
        while drips and not over.wait(0.02):
            connection.sendall(b"x")
        over.wait(5)

    server = serve(drip)
    started = time.monotonic()

    with pytest.raises(Unreachable, match=r"did not answer within 0\.3 seconds"):
        post(GUARD, f"http://hooks.example:{server.port}/", timeout_s=0.3)

    over.set()
    assert time.monotonic() - started < 2.0


def test_a_closed_port_is_unreachable_and_the_message_keeps_the_path_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(Unreachable) as caught:
        post(GUARD, f"http://hooks.example:{port}/T0/secret")

    assert "secret" not in str(caught.value)


def test_tls_is_verified_against_the_name_although_the_connection_goes_to_an_address(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    certificate = _certificate(tmp_path, "hooks.example")
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate)
    server = serve(OK, context=server_context)
    trusting = ssl.create_default_context(cafile=str(certificate))
    found = names(hooks_example=["127.0.0.1"], other_example=["127.0.0.1"])
    guard = Guard(addresses.parse_allowed("hooks.example, other.example"), resolve=found, context=lambda: trusting)

    assert post(guard, f"https://hooks.example:{server.port}/").status == 200
    with pytest.raises(Unreachable, match="securely"):
        post(guard, f"https://other.example:{server.port}/")
    with pytest.raises(Unreachable, match="securely"):
        post(Guard(LOCAL, resolve=found), f"https://hooks.example:{server.port}/")


def test_the_settings_of_the_deployment_rule(settings: Any, serve: Callable[..., Server]) -> None:
    server = serve()
    url = f"http://127.0.0.1:{server.port}/"
    with pytest.raises(Refused, match="KAIROS_OUTBOUND_ALLOWED_HOSTS"):
        outbound.post(url, body=b"", headers={}, timeout_s=5)

    settings.OUTBOUND_ALLOWED_HOSTS = "127.0.0.1"

    outbound.check(url)
    assert outbound.post(url, body=b"", headers={}, timeout_s=5).status == 200
    assert outbound.get(url, headers={}, timeout_s=5).body == b"ok"


def _certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
