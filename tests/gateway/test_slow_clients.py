"""What a client does with its own connection must not darken an endpoint for everybody else."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from pathlib import Path

import orjson

from tests.gateway.rig import ANSWER as WHOLE
from tests.gateway.rig import ASKED, STREAMED, chunk, chunked, http, read_reply, request_bytes, running
from tests.gateway.test_upstream import read_request

_PIECE = chunk({"content": "word " * 2000})


async def test_a_client_that_takes_nothing_is_not_the_endpoints_fault(tmp_path: Path, has_lane: bool) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http(200, orjson.dumps(WHOLE)))
        await read_request(reader)
        with suppress(ConnectionError):
            writer.write(chunked(chunk({"role": "assistant", "content": "It begins."}), ends=False))
            while True:
                writer.write(b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE))
                await writer.drain()
        has_given_up.set()

    has_given_up = asyncio.Event()
    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(ASKED))
        await read_reply(reader)
        writer.close()
        (row,) = gateway.state.providers.health.rows.values()

        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, ("127.0.0.1", gateway.port))
            await loop.sock_sendall(deaf, request_bytes(STREAMED, extra="connection: close\r\n"))
            async with asyncio.timeout(15):
                while not gateway.state.metrics.open_streams:  # noqa: ASYNC110 - the gateway offers no event
                    await asyncio.sleep(0.01)
                await has_given_up.wait()
                while await loop.sock_recv(deaf, 1 << 16):
                    pass
        async with asyncio.timeout(15):
            while gateway.state.metrics.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        figures = row.window.figures(time.perf_counter())
        *_, record = gateway.records()

    assert figures.failures == {}
    assert record.error_class == "ClientTooSlow"
    assert figures.successes == 2
