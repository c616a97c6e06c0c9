"""The health of all endpoints, and the order in which a call tries those that its decision allows. Pure.

An endpoint's own faults (5xx, silence, nonsense, broken connections) belong to everybody who calls it. What a provider
refuses to a credential (401, 402, 403, 429) belongs to that credential: a customer's exhausted key never darkens the
operator's, nor the other way round. What the client itself did wrong never counts. Simulated endpoints are not kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway import errors
from gateway.fallback import TraitsOf
from gateway.health.window import CLOSED, MIN_SAMPLES, Figures, Window
from gateway.providers.protocol import GUARDED, REQUEST, Endpoint

# An endpoint goes behind its peers when its weight is below this share of the best one's.
MATERIAL = 0.8
# A conversation leaves the endpoint that holds its cache when that one's weight falls below this.
_STAYS_ABOVE = 0.5
_MOST_ROWS = 1024
_MOST_GATES = 4096
_MOST_EVENTS = 1000
_IDLE_S = 600.0
_LIMIT_FIRST_S, _LIMIT_MOST_S = 1.0, 60.0
_ACCOUNT_FIRST_S, _ACCOUNT_MOST_S = 60.0, 600.0
# The longest Retry-After that is taken at its word.
_WAIT_MOST_S = 3600.0
_ANY_MODEL = "*"
# 401 and 402 concern all of a credential, 403 one model: see `gateway.providers.failures`.
_ACCOUNT_CODES = frozenset({"upstream_account", "upstream_access"})

LIMITED = "limited"
ACCOUNT = "credential"
NEUTRAL = "neutral"
DEGRADED = "degraded"
HEALTHY = "healthy"

Key = tuple[str, str]  # base URL, the provider's name of the model
GateKey = tuple[str, str, str]  # base URL, model or "*", credential
_Named = TypeVar("_Named", Key, GateKey)


@dataclass(slots=True)
class Row:
    """An endpoint and its window."""

    provider: str
    model: str
    upstream_model: str
    base_url: str
    window: Window


@dataclass(slots=True)
class Gate:
    """A credential that a provider refuses until some time. `is_binding`: the provider said until when."""

    until: float
    wait_s: float
    why: str
    is_binding: bool


@dataclass(frozen=True, slots=True)
class Event:
    """An endpoint's breaker opened or closed. `at` is on the board's clock."""

    at: float
    provider: str
    model: str
    upstream_model: str
    base_url: str
    is_open: bool
    reason: str


@dataclass(frozen=True, slots=True)
class KeyFallback:
    """A call went on from a customer's key to the operator's: from here on it costs otherwise."""

    organization_id: str
    workspace_id: str
    credential_id: str
    provider: str
    model: str
    error_class: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Which endpoints a call tries, in order, and which it leaves out. None at all: wait for `retry_after_s`."""

    endpoints: tuple[Endpoint, ...]
    skipped: tuple[tuple[Endpoint, str], ...] = ()
    is_probing: bool = False
    retry_after_s: float = 0.0


class Board:
    """The health of all endpoints as this process knows it. One event loop; nothing locks."""

    def __init__(self) -> None:
        self.rows: dict[Key, Row] = {}
        self.gates: dict[GateKey, Gate] = {}
        self.events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self.key_fallbacks: deque[KeyFallback] = deque(maxlen=_MOST_EVENTS)

    # -- what happened

    def succeed(self, endpoint: Endpoint, now: float, first_token_us: int | None) -> None:
        """Count an attempt that gave an answer; `first_token_us` for a stream."""
        if endpoint.is_simulated:
            return
        row = self.rows.get((endpoint.base_url, endpoint.upstream_model)) or self._new_row(endpoint, now)
        window = row.window
        was_closed = window.is_closed
        window.succeed(now, first_token_us)
        if not was_closed:
            self._tell(row, now, "A probe was answered.")
        if self.gates:
            self._open_gates(endpoint, now)

    def fail(self, endpoint: Endpoint, now: float, error: errors.UpstreamFailed, *, was_success: bool = False) -> None:
        """Count an attempt that failed, as the fault of whom it was."""
        if endpoint.is_simulated or isinstance(error, (errors.UpstreamRejected, errors.ClientTooSlow)):
            return
        row = self.rows.get((endpoint.base_url, endpoint.upstream_model)) or self._new_row(endpoint, now)
        if isinstance(error, errors.UpstreamRateLimited):
            row.window.note_credential_failure(now, "UpstreamRateLimited")
            self._shut(endpoint, now, LIMITED, endpoint.upstream_model, error.retry_after_s)
        elif error.code in _ACCOUNT_CODES:
            row.window.note_credential_failure(now, "UpstreamAccount")
            model = _ANY_MODEL if error.code == "upstream_account" else endpoint.upstream_model
            self._shut(endpoint, now, ACCOUNT, model, None)
        else:
            changes = row.window.state_changes
            row.window.fail(now, error.error_class, was_success=was_success)
            if row.window.state_changes != changes:
                self._tell(row, now, f"{error.error_class} again and again.")
            if error.retry_after_s is not None:
                self._shut(endpoint, now, LIMITED, endpoint.upstream_model, error.retry_after_s, is_binding=False)

    def note_rate(self, endpoint: Endpoint, tokens_per_s: float) -> None:
        """Count how fast an answer came."""
        row = self.rows.get((endpoint.base_url, endpoint.upstream_model))
        if row is not None:
            row.window.note_rate(tokens_per_s)

    def begin(self, endpoint: Endpoint, now: float) -> None:
        """Note that an attempt goes out: after an outage it is the probe."""
        row = self.rows.get((endpoint.base_url, endpoint.upstream_model))
        if row is not None and not row.window.is_closed and row.window.wants_probe(now):
            row.window.begin_probe(now)

    # -- what follows for a call

    def plan(
        self,
        endpoints: tuple[Endpoint, ...],
        now: float,
        *,
        traits_of: TraitsOf,
        is_order_fixed: bool = False,
        stays_at: Callable[[Endpoint], bool] | None = None,
    ) -> Plan:
        """Return the order in which a call tries the endpoints of its decision.

        Endpoints of one model and one payer are reordered among themselves; neither models are, nor the customer's keys
        with the operator's. `traits_of` tells which models are one. `is_order_fixed`: the caller said in which order,
        so that endpoints are left out only. `stays_at` marks the one that holds the conversation's cache.

        Endpoints whose breaker is open or whose credential is refused are left out while there are others, and tried
        when there are none; those that said when to come back are left out until then.
        """
        if stays_at is None and not self.gates and self._are_all_sound(endpoints, now):
            return Plan(endpoints)
        usable: list[Endpoint] = []
        closed: list[tuple[Endpoint, str]] = []
        waiting: list[tuple[Endpoint, str]] = []
        soonest = _WAIT_MOST_S
        for endpoint in endpoints:
            gate = self._gate(endpoint, now) if self.gates else None
            row = self.rows.get((endpoint.base_url, endpoint.upstream_model))
            if gate is not None:
                if gate.is_binding:
                    waiting.append((endpoint, gate.why))
                    soonest = min(soonest, gate.until - now)
                else:
                    closed.append((endpoint, gate.why))
            elif row is None or row.window.is_closed or row.window.wants_probe(now):
                usable.append(endpoint)
            else:
                closed.append((endpoint, "open"))
        if not usable:
            if not closed:
                return Plan((), tuple(waiting), retry_after_s=max(0.001, soonest))
            return Plan(tuple(endpoint for endpoint, _ in closed), tuple(waiting))
        skipped = (*closed, *waiting)
        if len(usable) == 1:
            return Plan(tuple(usable), skipped, is_probing=self._is_probe(usable[0], now))
        if is_order_fixed:
            return Plan(tuple(usable), skipped, is_probing=self._is_probe(usable[0], now))
        ordered: list[Endpoint] = []
        start = 0
        for position in range(1, len(usable) + 1):
            if position == len(usable) or not _are_peers(usable[start], usable[position], traits_of):
                ordered += self._ordered(usable[start:position], now, stays_at)
                start = position
        return Plan(tuple(ordered), skipped, is_probing=self._is_probe(ordered[0], now))

    def figures(self, endpoint: Endpoint, now: float) -> Figures | None:
        """Return an endpoint's last five minutes, None when nobody called it."""
        row = self.rows.get((endpoint.base_url, endpoint.upstream_model))
        return None if row is None else row.window.figures(now)

    def speed(self, endpoint: Endpoint, now: float) -> tuple[float | None, float | None, str] | None:
        """Return first-token P75 in ms, tokens per second P50 and the breaker's state; None under three samples."""
        row = self.rows.get((endpoint.base_url, endpoint.upstream_model))
        if row is None:
            return None
        figures = row.window.figures(now)
        if figures.samples < MIN_SAMPLES:
            return None
        return figures.first_token_p75_ms, figures.tokens_per_s_p50, row.window.state(now)

    def status(self, row: Row, now: float, figures: Figures) -> str:
        """Return an endpoint's state in a word: open, half-open, limited, credential, degraded, healthy or neutral."""
        state = row.window.state(now)
        if state != CLOSED:
            return state
        for model in (row.upstream_model, _ANY_MODEL):
            gate = self.gates.get((row.base_url, model, ""))
            if gate is not None and now < gate.until:
                return gate.why
        if figures.samples < MIN_SAMPLES:
            return NEUTRAL
        return HEALTHY if row.window.weight(now) >= MATERIAL else DEGRADED

    def each(self) -> Iterator[Row]:
        """Yield the endpoints that were called lately. Customers' own servers are nobody else's business: left out."""
        for row in list(self.rows.values()):
            if not row.base_url.startswith(GUARDED):
                yield row

    def keep_row(self, row: Row) -> None:
        """Remember an endpoint; where there are too many, another one goes."""
        key = (row.base_url, row.upstream_model)
        if key not in self.rows and len(self.rows) >= _MOST_ROWS:
            del self.rows[_least(self.rows)]
        self.rows[key] = row

    def keep_gate(self, key: GateKey, gate: Gate) -> None:
        """Remember that a credential is kept away; where there are too many, another one goes."""
        if key not in self.gates and len(self.gates) >= _MOST_GATES:
            del self.gates[_least(self.gates)]
        self.gates[key] = gate

    def forget_idle(self, now: float) -> None:
        """Forget endpoints that nobody called for ten minutes, and refusals that are long over."""
        for key in [
            key for key, row in self.rows.items() if row.window.is_closed and now - row.window.seen_at > _IDLE_S
        ]:
            del self.rows[key]
        for gate in [key for key, found in self.gates.items() if now - found.until > found.wait_s + _LIMIT_MOST_S]:
            del self.gates[gate]

    # -- inside

    def _are_all_sound(self, endpoints: tuple[Endpoint, ...], now: float) -> bool:
        """Return whether there is nothing to leave out and nothing to reorder: what most calls find."""
        if len(endpoints) == 1:
            return True
        rows = self.rows
        for endpoint in endpoints:
            row = rows.get((endpoint.base_url, endpoint.upstream_model))
            if row is not None and (not row.window.is_closed or row.window.weight(now) < MATERIAL):
                return False
        return True

    def _ordered(
        self,
        run: Sequence[Endpoint],
        now: float,
        stays_at: Callable[[Endpoint], bool] | None,
    ) -> list[Endpoint]:
        """Return endpoints of one model, best first. The plan's order (price, mostly) decides between equals."""
        if len(run) == 1:
            return list(run)
        weights = [self._weight(endpoint, now) for endpoint in run]
        places = list(range(len(run)))
        bound = MATERIAL * max(weights)
        places.sort(key=lambda place: 0.0 if weights[place] >= bound else 1.0 - weights[place])
        probe = next((place for place in places if self._is_probe(run[place], now)), None)
        if probe is not None:
            places.remove(probe)
            places.insert(0, probe)
        if stays_at is not None:
            for place in places:
                if stays_at(run[place]) and place != probe and weights[place] >= _STAYS_ABOVE:
                    places.remove(place)
                    places.insert(0, place)
                    break
        return [run[place] for place in places]

    def _weight(self, endpoint: Endpoint, now: float) -> float:
        row = self.rows.get((endpoint.base_url, endpoint.upstream_model))
        return 1.0 if row is None else row.window.weight(now)

    def _is_probe(self, endpoint: Endpoint, now: float) -> bool:
        row = self.rows.get((endpoint.base_url, endpoint.upstream_model))
        return row is not None and not row.window.is_closed and row.window.wants_probe(now)

    def _gate(self, endpoint: Endpoint, now: float) -> Gate | None:
        """Return what keeps this endpoint's credential away: what binds before what does not."""
        found = None
        for model in (endpoint.upstream_model, _ANY_MODEL):
            gate = self.gates.get((endpoint.base_url, model, endpoint.credential_id))
            if gate is not None and now < gate.until and (found is None or gate.is_binding):
                found = gate
        return found

    def _shut(
        self, endpoint: Endpoint, now: float, why: str, model: str, wait_s: float | None, *, is_binding: bool = True
    ) -> None:
        """Keep a credential away: for `wait_s` as the provider asks, else for a time that doubles. `is_binding`: what
        the provider asks for binds a lonely endpoint too."""
        if endpoint.credential_id == REQUEST:
            return  # each call brings its own: what one is refused says nothing about the next
        first, most = (_LIMIT_FIRST_S, _LIMIT_MOST_S) if why == LIMITED else (_ACCOUNT_FIRST_S, _ACCOUNT_MOST_S)
        key = (endpoint.base_url, model, endpoint.credential_id)
        gate = self.gates.get(key)
        if wait_s is not None:
            until, wait = now + min(wait_s, _WAIT_MOST_S), first
        else:
            # Calls that were under way when it shut are not a further refusal.
            wait = first if gate is None else gate.wait_s if now < gate.until else min(gate.wait_s * 2.0, most)
            until, is_binding = now + wait, False
        if gate is not None and now < gate.until:
            until = max(until, gate.until)
            is_binding = is_binding or gate.is_binding
        self.keep_gate(key, Gate(until, wait, why, is_binding))

    def _open_gates(self, endpoint: Endpoint, now: float) -> None:
        """The credential is served: forget its refusals that are over. A call that had gone out before says nothing."""
        for model in (endpoint.upstream_model, _ANY_MODEL):
            key = (endpoint.base_url, model, endpoint.credential_id)
            gate = self.gates.get(key)
            if gate is not None and now >= gate.until:
                del self.gates[key]

    def _new_row(self, endpoint: Endpoint, now: float) -> Row:
        row = Row(endpoint.provider, endpoint.model, endpoint.upstream_model, endpoint.base_url, Window(now))
        self.keep_row(row)
        return row

    def _tell(self, row: Row, now: float, reason: str) -> None:
        self.events.append(
            Event(
                now,
                row.provider,
                row.model,
                row.upstream_model,
                row.base_url,
                not row.window.is_closed,
                reason,
            )
        )


def _least(kept: Iterable[_Named]) -> _Named:
    """Return the oldest of what may go for something new: of customers' own servers, which answer to any number of
    names, before anything that concerns everybody."""
    return next((name for name in kept if name[0].startswith(GUARDED)), None) or next(iter(kept))


def _are_peers(one: Endpoint, other: Endpoint, traits_of: TraitsOf) -> bool:
    return one.key_source == other.key_source and (
        one.model == other.model or traits_of(one.model).family == traits_of(other.model).family
    )
