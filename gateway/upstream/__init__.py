"""The HTTP client of the data plane: THE ONLY ROOM THAT OPENS A SOCKET TO A PROVIDER.

A small pooled HTTP/1.1 client on asyncio protocols with llhttp (httptools) as its parser: one request in flight per
connection, no redirects, no cookies, no content encodings (we ask for identity). It knows nothing of LLMs.

    connection   one connection and the exchange on it: bytes in and out, awaited or heard by a sink
    pool         the connections to each provider: taking, handing back, deadlines
"""

from __future__ import annotations

from gateway.upstream.connection import Connection, Response, Sink, Timeouts
from gateway.upstream.pool import Exchange, Pool, Upstream

__all__ = ["Connection", "Exchange", "Pool", "Response", "Sink", "Timeouts", "Upstream"]
