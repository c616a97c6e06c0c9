"""One process that serves: the port taken early, uvicorn told how, the signals turned into a clean end.

What is served is `config.asgi`'s business; what is prepared before is the `up` command's.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

# In-flight streams get this long after SIGTERM; sealing, loading and stopping the worker take the rest of 30 seconds.
GRACE_S = 12
# The data plane's event loop shares the interpreter with threads that render pages and load segments. The default
# of 5 ms is how long each of them may hold it after the loop has something to do.
SWITCH_INTERVAL_S = 0.0005


class PortTaken(Exception):
    """Another program listens on the address."""


class _Server(uvicorn.Server):
    """A server that says when it takes connections."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            _spare_collections()
            self._on_ready()


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket, so that a taken port is known before anything is prepared.

    Raises:
        PortTaken: it is.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise PortTaken(
            f"Port {port} on {host} cannot be used ({error.strerror}). Choose another: make up PORT={port + 1}"
        ) from error
    return found


def serve(application: str, *, on: socket.socket, on_ready: Callable[[], None]) -> bool:
    """Serve until SIGINT or SIGTERM, then end in order. Returns whether it ever came up."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    config = uvicorn.Config(
        application,
        interface="asgi3",
        loop="uvloop",
        http=_protocol(application),
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config, on_ready)
    # uvicorn raises the signal again once it has stopped; by then it has done its work.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore)
    server.run(sockets=[on])
    return server.started


def _protocol(application: str) -> type[asyncio.Protocol] | str:
    """Return uvicorn's HTTP protocol, with the data plane's express lane where the process has a data plane."""
    if application == "config.asgi:control_plane":
        return "httptools"
    # Imported here: the pages' own process never pays for the data plane.
    protocol: type[asyncio.Protocol] = importlib.import_module("gateway.express").ExpressProtocol
    return protocol


def _spare_collections() -> None:
    """Take what start-up made out of the garbage collector's sight, and let it look less often.

    A call makes next to no cycles; the default threshold costs the data plane 5 to 8 % of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Take the signal that uvicorn hands on after its orderly end."""
