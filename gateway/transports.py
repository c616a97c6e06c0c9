"""How providers are reached: the transports, what they give back, and what is known of the endpoints behind them.

What is done with it is `gateway.dispatch`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from gateway import fallback
from gateway.fallback import TraitsOf
from gateway.health.board import Board
from gateway.health.sessions import Sessions
from gateway.providers.protocol import Adapter
from gateway.upstream import Timeouts


class Answer(Protocol):
    """What a transport gives back: status, headers, and the body whole or piece by piece."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...

    @property
    def headers(self) -> dict[str, str]: ...

    async def piece(self) -> bytes: ...

    def output_began(self) -> None: ...

    def abort(self) -> None: ...


class Sent(Protocol):
    """A request on its way. It must be closed."""

    @property
    def response(self) -> Answer: ...

    def close(self) -> None: ...


class Transport(Protocol):
    """Takes a request to a provider: `gateway.upstream` over sockets, `gateway.simulation` in this process."""

    async def send(
        self,
        base_url: str,
        path: str,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        *,
        collects: bool,
        timeouts: Timeouts,
    ) -> Sent: ...


@dataclass(frozen=True, slots=True)
class Providers:
    """How providers are reached: an adapter by protocol, and the two transports; and how they do at the moment."""

    adapters: dict[str, Adapter]
    upstream: Transport
    simulation: Transport
    timeouts: Timeouts
    health: Board = field(default_factory=Board)
    sessions: Sessions = field(default_factory=Sessions)
    traits_of: TraitsOf = fallback.plain_traits
    max_attempts: int = fallback.MAX_ATTEMPTS
    rng: Random = field(default_factory=Random)
