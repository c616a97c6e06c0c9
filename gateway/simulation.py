"""The simulator as a transport: what `gateway.upstream` does over sockets, in this process, with the same time-outs.

What it answers is made by `gateway.providers.simulator`; here it is only paced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import orjson

from gateway import errors
from gateway.providers import simulator
from gateway.providers.protocol import Endpoint
from gateway.upstream import Timeouts

BASE_URL = "simulator:"


def endpoint(*, model: str, upstream_model: str) -> Endpoint:
    """Return the simulator's endpoint in the place of a catalog model's."""
    return Endpoint(
        model=model,
        provider=simulator.PROVIDER,
        upstream_model=upstream_model,
        protocol="openai_chat",
        base_url=BASE_URL,
        is_simulated=True,
    )


class Simulation:
    """Answers every request in this process. `scale` multiplies the waits between tokens; 0 answers at once."""

    def __init__(self, *, scale: float = 1.0) -> None:
        self._scale = scale

    async def send(
        self,
        base_url: str,
        path: str,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        *,
        collects: bool,
        timeouts: Timeouts,
    ) -> _Sent:
        """Answer a canonical chat body, or texts to embed.

        Raises what `gateway.upstream` raises for the faults that were asked for.
        """
        request = orjson.loads(body)
        if path == "/embeddings":
            answer = simulator.embed(request)
        else:
            answer = simulator.send(
                request, model=request["model"], is_stream=request.get("stream") is True, created=int(time.time())
            )
        sent = _Sent(answer, timeouts, self._scale)
        if collects or answer.status >= 400:
            sent.response.output_began()
            await sent.response.read()
        return sent


class _Answer:
    """One simulated answer, read like a `gateway.upstream.Response`."""

    def __init__(self, answer: simulator.SimulatedAnswer, timeouts: Timeouts, scale: float) -> None:
        self.status = answer.status
        self.body = b""
        self._headers = answer.headers
        self._parts: Iterator[tuple[float, bytes]] = answer.schedule(scale=scale)
        self._timeouts = timeouts
        self._has_begun = self._is_aborted = False
        self._first_token_left: float | None = timeouts.first_token
        self._wait: asyncio.Future[None] | None = None

    @property
    def headers(self) -> dict[str, str]:
        return dict(self._headers)

    async def piece(self) -> bytes:
        try:
            seconds, data = next(self._parts)
        except StopIteration:
            return b""
        except simulator.SimulatedDisconnect:
            raise self._broken() from None
        bound = self._timeouts.between_pieces if self._has_begun else self._timeouts.first_byte
        if self._first_token_left is not None:
            bound = min(bound, self._first_token_left)
            self._first_token_left -= seconds
        await self._pause(min(seconds, bound))
        if seconds > bound:
            raise errors.UpstreamTimeout("The provider stopped answering.")
        self._has_begun = True
        return data

    async def read(self) -> bytes:
        parts = [self.body]
        while data := await self.piece():
            parts.append(data)
        self.body = b"".join(parts)
        return self.body

    def output_began(self) -> None:
        self._first_token_left = None

    def abort(self) -> None:
        self._is_aborted = True
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    async def _pause(self, seconds: float) -> None:
        if seconds > 0 and not self._is_aborted:
            loop = asyncio.get_running_loop()
            self._wait = wait = loop.create_future()
            timer = loop.call_later(seconds, lambda: None if wait.done() else wait.set_result(None))
            try:
                await wait
            finally:
                timer.cancel()
                self._wait = None
        if self._is_aborted:
            raise errors.UpstreamCut("The answer was given up.")

    def _broken(self) -> errors.UpstreamFailed:
        if self._has_begun:
            return errors.UpstreamCut("The provider closed the connection before its answer was complete.")
        return errors.UpstreamError("The provider closed the connection without an answer.")


class _Sent:
    def __init__(self, answer: simulator.SimulatedAnswer, timeouts: Timeouts, scale: float) -> None:
        self.response = _Answer(answer, timeouts, scale)

    def close(self) -> None:
        """Nothing is held."""
