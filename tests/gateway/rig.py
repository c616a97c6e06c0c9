"""A gateway that serves, in this process: a real server, a real spool, and scripted providers on loopback."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
import uvicorn

from accounts.encryption import Keyring
from analytics import request_log
from analytics.request_log import RequestLog
from analytics.spool import Writer, read_segment
from gateway import asgi, control, idempotency, simulation, vault
from gateway.admission import Admission
from gateway.catalog import loader
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.context import KeySnapshot
from gateway.express import ExpressProtocol
from gateway.metrics import Metrics
from gateway.providers import registry
from gateway.recording import Recorder
from gateway.response_cache import ResponseCache
from gateway.snapshot import Snapshot
from gateway.state import State, make_router, traits_from
from gateway.transports import Providers
from gateway.upstream import Timeouts, Upstream
from tests.factories.calls import make_key
from tests.gateway.test_upstream import read_request

KEY = "kr_live_test"
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "total_tokens": 110,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 0},
    },
    "system_fingerprint": "fp_1",
}
ASKED = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}

_Found = TypeVar("_Found")
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Running:
    """A gateway that serves."""

    port: int
    state: State
    directory: Path
    provider_hits: list[bytes]

    def records(self) -> list[RequestLog]:
        """Seal the spool and return what it holds."""
        self.state.recorder._writer.seal()
        lines = [
            line
            for path in sorted(self.directory.glob("*.sealed"))
            for line in read_segment(path.read_bytes()).lines("R")
        ]
        return [request_log.decode(line) for line in lines]


def http(status: int, body: bytes, *headers: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers])
    return head.encode() + b"\r\n\r\n" + body


def chunked(*pieces: bytes, ends: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + body + (b"0\r\n\r\n" if ends else b"")


def chunk(delta: dict[str, Any], finish: str | None = None, **extra: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    made = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "system_fingerprint": "fp",
        "choices": choices,
        **extra,
    }
    return b"data: " + orjson.dumps(made) + b"\n\n"


USAGE = chunk({}, choices=[], usage=ANSWER["usage"])
WHOLE_STREAM = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo."}),
    chunk({}, "stop"),
    USAGE,
    b"data: [DONE]\n\n",
)


def answering(*answers: bytes, closes: bool = False) -> Script:
    """A provider that gives these answers, the last one for ever."""
    waiting = list(answers)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(waiting.pop(0) if len(waiting) > 1 else waiting[0])
            if closes:
                return

    return script


@functools.cache
def _loaded() -> tuple[Catalog, PriceBook]:
    """Return the catalog and the prices, read once: nobody changes them."""
    with tempfile.TemporaryDirectory() as directory:
        return loader.load(Path(directory))


@asynccontextmanager
async def running(
    tmp_path: Path,
    script: Script,
    *,
    has_lane: bool,
    sync_interval_ms: int = 50,
    others: Mapping[str, Script] | None = None,
    key: KeySnapshot | None = None,
) -> AsyncIterator[Running]:
    """Serve with OpenAI played by `script`, and `others` (by their name in settings: ANTHROPIC, GROQ, …) by theirs."""
    hits: list[bytes] = []
    settings: dict[str, str] = {}
    providers: list[asyncio.Server] = []
    for name, played in {"OPENAI": script, **(others or {})}.items():

        async def handle(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, played: Script = played, name: str = name
        ) -> None:
            hits.append(name.encode())
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await played(reader, writer)
            writer.close()

        provider = await asyncio.start_server(handle, "127.0.0.1", 0)
        providers.append(provider)
        settings[f"KAIROS_PROVIDER_{name}_BASE_URL"] = f"http://127.0.0.1:{provider.sockets[0].getsockname()[1]}"
        settings[f"KAIROS_PROVIDER_{name}_API_KEY"] = "sk-secret"
    loop = asyncio.get_running_loop()
    catalog, book = _loaded()
    configured = registry.build(settings)
    metrics, snapshot, upstream = Metrics(), Snapshot(), Upstream(loop)
    snapshot.keys[hashlib.sha256(KEY.encode()).digest()] = key or make_key()
    directory = tmp_path / "spool"
    keyring = Keyring.from_settings("", "secret")
    recorder = Recorder(
        writer=Writer(directory, segment_bytes=1 << 20, segment_seconds=3600),
        keyring=keyring,
        metrics=metrics,
        sync_interval_ms=sync_interval_ms,
        loop=loop,
    )
    timeouts = Timeouts(connect=1, first_byte=0.5, between_pieces=0.5, total=5)
    kept = vault.Vault(vault.FileShelf(tmp_path / "answers", max_bytes=1 << 20), keyring)
    router = make_router(catalog, book, configured)
    state = State(
        catalog=catalog,
        book=book,
        registry=configured,
        snapshot=snapshot,
        router=router,
        providers=Providers(
            registry.ADAPTERS, upstream, simulation.Simulation(scale=0), timeouts, traits_of=traits_from(catalog)
        ),
        upstream=upstream,
        recorder=recorder,
        shipper=None,  # type: ignore[arg-type]
        metrics=metrics,
        idempotency=idempotency.Desk(kept, ttl_s=60),
        responses=ResponseCache(kept),
        admission=Admission(book=book, catalog=catalog, router=router),
        max_request_bytes=2 * 1024 * 1024,
    )
    asgi.application.state = state
    config = uvicorn.Config(
        asgi.application,
        port=0,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        http=ExpressProtocol if has_lane else "httptools",
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Running(port, state, directory, hits)
    finally:
        server.should_exit = True
        await serving
        asgi.application.state = None
        await upstream.close()
        await recorder.close()
        for provider in providers:
            provider.close()
        await asyncio.sleep(0)


def request_bytes(body: Any, *, key: str = KEY, extra: str = "", path: str = "/v1/chat/completions") -> bytes:
    """Return a POST request; `extra` are header lines, each ended by CRLF."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [
        f"POST {path} HTTP/1.1",
        "host: x",
        f"authorization: Bearer {key}",
        f"content-length: {len(raw)}",
    ]
    head = "\r\n".join(lines) + "\r\n" + extra + "\r\n"
    return head.encode() + raw


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)

    def events(self) -> list[Any]:
        lines = [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        assert lines[-1] == b"[DONE]"
        return [orjson.loads(line) for line in lines[:-1]]


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        return Reply(int(status.split()[1]), headers, b"".join(parts))
    return Reply(int(status.split()[1]), headers, await reader.readexactly(int(headers["content-length"])))


async def ask(gateway: Running, body: Any, *, times: int = 1, **options: Any) -> list[Reply]:
    """Send the same request several times over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    replies = []
    for _ in range(times):
        writer.write(request_bytes(body, **options))
        replies.append(await asyncio.wait_for(read_reply(reader), 10))
    writer.close()
    return replies


async def in_thread(ask: Callable[..., _Found], *arguments: Any) -> _Found:
    """Return what the control database says, asked as the data plane asks: from a thread that keeps no connection."""

    def asked() -> _Found:
        with control.connected():
            return ask(*arguments)

    return await asyncio.to_thread(asked)
