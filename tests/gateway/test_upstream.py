"""The HTTP client against a server that misbehaves in every way a provider has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from accounts import addresses
from accounts.outbound import Guard
from gateway import errors
from gateway.providers.protocol import GUARDED
from gateway.upstream import Timeouts, Upstream

HEADERS = (("content-type", "application/json"), ("authorization", "Bearer secret"))
BRISK = Timeouts(connect=1.0, first_byte=0.3, between_pieces=0.3, total=5.0)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return head, await reader.readexactly(length)


@asynccontextmanager
async def provider(script: Script) -> AsyncIterator[tuple[Upstream, str, list[int]]]:
    """Serve `script` once per connection; give the client, the base URL and the list of connections made."""
    connections: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        try:
            await script(reader, writer, len(connections))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    upstream = Upstream(asyncio.get_running_loop())
    try:
        yield upstream, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", connections
    finally:
        await upstream.close()
        server.close()
        await asyncio.sleep(0)


async def send(upstream: Upstream, base_url: str, *, collects: bool = True, timeouts: Timeouts = BRISK):  # type: ignore[no-untyped-def]
    return await upstream.send(base_url, "/chat/completions", HEADERS, b'{"a":1}', collects=collects, timeouts=timeouts)


async def test_it_posts_the_body_with_its_headers_and_reads_the_answer_whole() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        seen.append(await read_request(reader))
        writer.write(OK)
        await reader.read()

    async with provider(script) as (upstream, base_url, _):
        sent = await send(upstream, base_url)
        assert (sent.response.status, sent.response.body) == (200, b"{}")
        sent.close()
    head, body = seen[0]
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"authorization: Bearer secret" in head
    assert b"accept-encoding: identity" in head
    assert body == b'{"a":1}'


async def test_it_uses_a_connection_again_after_a_complete_answer() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while True:
            await read_request(reader)
            writer.write(OK)

    async with provider(script) as (upstream, base_url, connections):
        for _ in range(3):
            (await send(upstream, base_url)).close()
        assert len(connections) == 1


async def test_it_sends_again_when_a_kept_connection_was_closed_under_it() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(OK)
        if number == 1:  # closes as the second request arrives, without a byte of an answer
            await read_request(reader)
            return
        await reader.read()

    async with provider(script) as (upstream, base_url, connections):
        (await send(upstream, base_url)).close()
        sent = await send(upstream, base_url)
        assert sent.response.body == b"{}"
        sent.close()
        assert len(connections) == 2


async def test_it_does_not_send_again_on_a_new_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)

    async with provider(script) as (upstream, base_url, connections):
        with pytest.raises(errors.UpstreamError, match="without an answer"):
            await send(upstream, base_url)
        assert len(connections) == 1


async def test_a_stream_arrives_piece_by_piece_and_ends_with_nothing() -> None:
    release = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await release.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await reader.read()

    async with provider(script) as (upstream, base_url, _):
        sent = await send(upstream, base_url, collects=False)
        assert await sent.response.piece() == b"one"
        release.set()
        assert await sent.response.piece() == b"two"
        assert await sent.response.piece() == b""
        sent.close()


async def test_a_broken_stream_is_a_cut() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")

    async with provider(script) as (upstream, base_url, _):
        sent = await send(upstream, base_url, collects=False)
        assert await sent.response.piece() == b"one"
        with pytest.raises(errors.UpstreamCut):
            await sent.response.piece()
        sent.close()


async def test_a_short_body_is_a_cut() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")

    async with provider(script) as (upstream, base_url, _):
        with pytest.raises(errors.UpstreamCut):
            await send(upstream, base_url)


async def test_a_body_without_length_ends_with_the_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    async with provider(script) as (upstream, base_url, _):
        sent = await send(upstream, base_url, collects=False)
        assert await sent.response.read() == b"all of it"
        sent.close()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n"])
async def test_silence_is_a_timeout(answer: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(answer)
        await reader.read()

    async with provider(script) as (upstream, base_url, _):
        with pytest.raises(errors.UpstreamTimeout):
            await (await send(upstream, base_url, collects=False)).response.read()


async def test_what_is_not_http_is_garbage() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()

    async with provider(script) as (upstream, base_url, _):
        with pytest.raises(errors.UpstreamGarbage):
            await send(upstream, base_url)


async def test_a_refused_connection_is_an_error_that_names_no_address() -> None:
    upstream = Upstream(asyncio.get_running_loop())
    with pytest.raises(errors.UpstreamError) as caught:
        await send(upstream, "http://127.0.0.1:9/v1")
    assert caught.value.message == "The provider could not be reached."
    await upstream.close()


async def test_a_slow_reader_holds_the_provider_back() -> None:
    sent_bytes = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        nonlocal sent_bytes
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")
        for _ in range(1024):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent_bytes += 65536

    async with provider(script) as (upstream, base_url, _):
        sent = await send(upstream, base_url, collects=False, timeouts=Timeouts())
        for _ in range(50):
            await asyncio.sleep(0.01)
        assert sent_bytes < 32 * 1024 * 1024  # the kernel's buffers and ours, not all of it
        total = 0
        while data := await sent.response.piece():
            total += len(data)
        assert total == 67108864
        sent.close()


async def test_giving_up_closes_the_connection_at_once() -> None:
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        with suppress(ConnectionError):
            await reader.read()
        gone.set()

    async with provider(script) as (upstream, base_url, _):
        sent = await send(upstream, base_url, collects=False)
        await sent.response.piece()
        sent.response.abort()
        await asyncio.wait_for(gone.wait(), 1)
        with pytest.raises(errors.UpstreamCut):
            await sent.response.piece()
        sent.close()


async def test_a_header_with_a_line_break_is_refused() -> None:
    upstream = Upstream(asyncio.get_running_loop())
    with pytest.raises(errors.InvalidRequest):
        await upstream.send(
            "http://127.0.0.1:9", "/x", (("x-model", "a\r\nx-evil: 1"),), b"", collects=True, timeouts=BRISK
        )
    await upstream.close()


async def test_early_hints_are_not_the_answer() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK)
        await reader.read()

    async with provider(script) as (upstream, base_url, _):
        sent = await send(upstream, base_url)
        assert (sent.response.status, sent.response.body) == (200, b"{}")
        sent.close()


def guard(*answers: list[str], allowed: str = "llm.example") -> Guard:
    """A guard whose resolver gives these answers in turn, the last one for ever."""
    waiting = list(answers)
    return Guard(
        addresses.parse_allowed(allowed), resolve=lambda host, port: waiting.pop(0) if len(waiting) > 1 else waiting[0]
    )


@asynccontextmanager
async def guarded(rules: Guard) -> AsyncIterator[tuple[Upstream, int, list[int]]]:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while True:
            await read_request(reader)
            writer.write(OK)

    async with provider(script) as (_, base_url, connections):
        upstream = Upstream(asyncio.get_running_loop(), guard=rules)
        try:
            yield upstream, urlsplit(base_url).port or 0, connections
        finally:
            await upstream.close()


async def test_a_customers_base_url_is_reached_at_the_address_that_was_checked() -> None:
    async with guarded(guard(["127.0.0.1"])) as (upstream, port, connections):
        sent = await send(upstream, f"{GUARDED}http://llm.example:{port}/v1")
        sent.close()
        again = await send(upstream, f"{GUARDED}http://llm.example:{port}/v1")
        again.close()

        assert (sent.response.status, len(connections)) == (200, 1)


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1"]]
)
async def test_a_customers_base_url_that_leads_inside_is_refused_before_anything_connects(found: list[str]) -> None:
    async with guarded(guard(found, allowed="")) as (upstream, port, connections):
        with pytest.raises(errors.UpstreamError, match="not public") as caught:
            await send(upstream, f"{GUARDED}https://llm.example:{port}/v1")

        assert (caught.value.code, connections) == ("base_url_refused", [])


async def test_a_customers_name_that_leads_elsewhere_later_is_checked_at_every_connect() -> None:
    async with guarded(guard(["127.0.0.1"], ["169.254.169.254"])) as (upstream, port, connections):
        base_url = f"{GUARDED}http://llm.example:{port}/v1"
        sent = await send(upstream, base_url)
        sent.response.abort()
        sent.close()
        with pytest.raises(errors.UpstreamError, match="not public"):
            await send(upstream, base_url)

        assert len(connections) == 1


async def test_an_operators_rules_hold_for_what_was_saved_before_they_changed() -> None:
    async with guarded(guard(["127.0.0.1"], allowed="")) as (upstream, port, connections):
        with pytest.raises(errors.UpstreamError, match="https") as caught:
            await send(upstream, f"{GUARDED}http://llm.example:{port}/v1")

        assert (caught.value.code, connections) == ("base_url_refused", [])


async def test_a_customers_pool_is_forgotten_when_nobody_used_it_for_a_while() -> None:
    async with guarded(guard(["127.0.0.1"])) as (upstream, port, _):
        pool = upstream.pool(f"{GUARDED}http://llm.example:{port}/v1")
        pool.sweep(0.0)
        assert pool.quiet_sweeps == 1
        connection = await pool.connect(1.0)
        connection.put_back()
        pool.sweep(0.0)
        assert pool.quiet_sweeps == 0
