"""What Prometheus reads of a running data plane: its counters, and what stands in its health board and its limits now.

Rendered when scraped, by the event loop that owns all of it; nothing is counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from gateway.metrics import escaped, head
from gateway.providers.protocol import GUARDED
from gateway.state import State

MOST_ENDPOINTS = 512


def render(state: State, *, now: float) -> Iterator[str]:
    """Yield lines of Prometheus' text format. `now` is `time.perf_counter()`, the clock of the health board."""
    yield from state.metrics.render()
    yield from _endpoints(state, now)
    yield from _limits(state)


def _endpoints(state: State, now: float) -> Iterator[str]:
    """Yield each endpoint's state as this process sees it, and its error ratio over five minutes.

    Endpoints whose address a customer named are left out: they are nobody else's business.
    """
    board = state.providers.health
    found: dict[str, tuple[str, float]] = {}
    for row in board.each():
        if not row.base_url.startswith(GUARDED) and len(found) < MOST_ENDPOINTS:
            figures = row.window.figures(now)
            labels = f'provider="{escaped(row.provider)}",model="{escaped(row.model)}"'
            # Two snapshots of a model are one series: the first speaks for both.
            found.setdefault(labels, (board.status(row, now, figures), figures.error_ratio))
    yield from head("kairosroute_endpoint_state", "gauge", "1 for the state that an endpoint is in.")
    for labels, (status, _) in found.items():
        yield f'kairosroute_endpoint_state{{{labels},state="{escaped(status)}"}} 1'
    yield from head("kairosroute_endpoint_error_ratio", "gauge", "Failed attempts of the last five minutes, 0 to 1.")
    for labels, (_, ratio) in found.items():
        yield f"kairosroute_endpoint_error_ratio{{{labels}}} {ratio:.4f}"


def _limits(state: State) -> Iterator[str]:
    """Yield how many limits are watched, and what calls under way have reserved of budgets."""
    meters = state.admission.meters()
    kinds = Counter(str(meter.limit.kind) for meter in meters)
    yield from head("kairosroute_limits_watched", "gauge", "Limits that calls have met here lately, by kind.")
    for kind, count in sorted(kinds.items()):
        yield f'kairosroute_limits_watched{{kind="{escaped(kind)}"}} {count}'
    reserved = sum(max(0, meter.purse.reserved) for meter in meters if meter.purse is not None)
    yield from head(
        "kairosroute_reserved_usd", "gauge", "Reserved of budgets by calls under way; a call counts in each."
    )
    yield f"kairosroute_reserved_usd {reserved / 1e9:.9f}"
