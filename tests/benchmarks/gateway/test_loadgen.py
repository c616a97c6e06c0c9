"""The load generator must see what is wrong with an answer: one that cannot fail would prove nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest

from benchmarks.gateway import processes

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc)")

BODY = b'{"choices":[{"message":{"content":"as expected"}}],"usage":{}}'
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


@pytest.fixture(scope="module")
def loadgen(tmp_path_factory: pytest.TempPathFactory) -> str:
    return processes.compile_programs(tmp_path_factory.mktemp("programs"))["loadgen"]


@pytest.fixture
def call(loadgen: str, tmp_path: Path) -> Any:
    def run(answer: bytes, *options: str) -> dict[str, Any]:
        body = tmp_path / "body.json"
        body.write_bytes(b'{"messages":[]}')
        with _server(answer) as port:
            command = [loadgen, "-p", str(port), "-b", str(body), "-w", "0", "-d", "0.05", *options]
            done = subprocess.run(command, capture_output=True, check=True, timeout=60)
        return dict(json.loads(done.stdout))

    return run


def test_it_counts_answers_that_are_as_they_should_be(call: Any) -> None:
    figures = call(WHOLE, "-c", "2", "-e", "as expected", "-e", '"usage"')

    assert figures["answered"] > 2
    assert sum(figures["errors"].values()) == 0
    assert figures["total_us"]["p50"] <= figures["total_us"]["p99"] <= figures["total_us"]["max"]


def test_it_sees_a_text_that_is_missing(call: Any) -> None:
    figures = call(WHOLE, "-e", "something else")

    assert figures["errors"]["content"] == figures["answered"] > 0
    assert figures["first_error"].startswith("something else (status 200)")
    assert figures["rps"] == 0


def test_it_sees_a_status_other_than_200(call: Any) -> None:
    figures = call(WHOLE.replace(b"200 OK", b"503 Service Unavailable"), "-e", "as expected")

    assert figures["errors"]["status"] == figures["answered"] > 0


def test_it_sees_a_body_that_ends_early(call: Any) -> None:
    figures = call(WHOLE[:-5])

    assert figures["answered"] == 0
    assert figures["errors"]["cut_short"] > 0


def test_it_reads_stamps_that_are_cut_between_chunks(call: Any) -> None:
    figures = call(_chunked(b"data: ~0000000000", b"00000001 lock\n\n", b"data: [DONE]\n\n"), "-s", "1")

    assert sum(figures["errors"].values()) == 0
    assert figures["transit_us"]["count"] > 0


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"data: ~000000000000000001\n\n", b"data: [DONE]\n\n"], id="one chunk of two"),
        pytest.param([b"data: ~000000000000000001 ~000000000000000002\n\n"], id="no [DONE]"),
    ],
)
def test_it_sees_a_stream_that_is_not_whole(call: Any, pieces: list[bytes]) -> None:
    figures = call(_chunked(*pieces), "-s", "2")

    assert figures["errors"]["content"] == figures["answered"] > 0


def test_it_sees_chunks_without_an_end(call: Any) -> None:
    figures = call(_chunked(b"data: ~000000000000000001\n\n", b"data: [DONE]\n\n")[: -len(b"0\r\n\r\n")], "-s", "1")

    assert figures["answered"] == 0
    assert figures["errors"]["cut_short"] > 0


def test_an_open_loop_counts_the_wait_of_requests_that_were_due(call: Any) -> None:
    # One connection and a server that takes 20 ms: at 200 a second most requests are due long before they are sent.
    figures = call(WHOLE, "-r", "200", "-c", "1", "-d", "0.2")

    assert figures["answered"] >= 40
    assert figures["total_us"]["max"] > 200_000


def test_it_gives_up_on_a_port_where_nobody_listens(loadgen: str, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(b"{}")
    done = subprocess.run([loadgen, "-p", "1", "-b", str(body)], capture_output=True, check=True, timeout=60)

    assert json.loads(done.stdout)["errors"]["not_connected"] == 1000


def _chunked(*pieces: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@contextmanager
def _server(answer: bytes) -> Iterator[int]:
    """Answer each request with these bytes after 20 ms; close the connection where they are not a whole answer."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().startswith(b"POST"):
                while self.rfile.readline().strip():
                    pass
                self.rfile.read(len(b'{"messages":[]}'))
                stopped.wait(0.02)
                self.wfile.write(answer)
                if not answer.endswith((BODY, b"0\r\n\r\n")):
                    return

    stopped = threading.Event()
    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
