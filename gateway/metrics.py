"""What the data plane counts about itself: plain integers, added to on the hot path and rendered when scraped.

One `Metrics` belongs to one process and one event loop, so nothing locks. What is written to the log plane lives
elsewhere; a lost counter loses no money.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

# Upper bounds of the latency buckets, in microseconds; the last bucket is unbounded.
LATENCY_BOUNDS_US = (
    5_000,
    25_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
)
OVERHEAD_BOUNDS_US = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 250_000)
# A label value comes from the catalog, never from a client; this bound is the second net.
MAX_ROWS = 512
OTHER = "other"

_STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_LATENCY_SUM = 5
_OVERHEAD_SUM = 6
_BUCKETS = 7
_ROW = [0] * (_BUCKETS + len(LATENCY_BOUNDS_US) + 1)


class Metrics:
    """The counters of one data-plane process.

    `in_flight` and `open_streams` are gauges that the endpoints move up and down themselves.
    """

    __slots__ = (
        "_cached",
        "_overhead",
        "_rows",
        "_upstream_errors",
        "in_flight",
        "open_streams",
        "refused",
        "streams",
    )

    def __init__(self) -> None:
        self.in_flight = 0
        self.open_streams = 0
        self.streams = 0
        self.refused: dict[str, int] = {}
        self._rows: dict[tuple[str, str], list[int]] = {}
        self._overhead = [0] * (len(OVERHEAD_BOUNDS_US) + 1)
        self._upstream_errors: dict[tuple[str, str], int] = {}
        self._cached: dict[str, int] = {}

    def observe(self, status: int, model: str, provider: str, latency_us: int, overhead_us: int) -> None:
        """Count one finished call. `model` is ours, from the catalog, or empty where none was resolved."""
        row = self._rows.get((model, provider)) or self._new_row(model, provider)
        row[status // 100 - 1] += 1
        row[_LATENCY_SUM] += latency_us
        row[_OVERHEAD_SUM] += overhead_us
        row[_BUCKETS + bisect_left(LATENCY_BOUNDS_US, latency_us)] += 1
        self._overhead[bisect_left(OVERHEAD_BOUNDS_US, overhead_us)] += 1

    def refuse(self, error_class: str) -> None:
        """Count one call that ended before a model was asked, by its error class."""
        self.refused[error_class] = self.refused.get(error_class, 0) + 1

    def upstream_error(self, provider: str, error_class: str) -> None:
        """Count one failed attempt at a provider, whether or not a later one succeeded."""
        key = (provider, error_class)
        self._upstream_errors[key] = self._upstream_errors.get(key, 0) + 1

    def cached(self, outcome: str) -> None:
        """Count one call that asked for a kept answer: `hit`, `miss` or `replay`."""
        self._cached[outcome] = self._cached.get(outcome, 0) + 1

    def render(self) -> Iterator[str]:
        """Yield the counters as lines of Prometheus' text format (version 0.0.4)."""
        yield from head("kairosroute_requests_total", "counter", "Calls by status class, model and provider.")
        for (model, provider), row in self._rows.items():
            for index, status_class in enumerate(_STATUS_CLASSES):
                if row[index]:
                    labels = f'status="{status_class}",model="{escaped(model)}",provider="{escaped(provider)}"'
                    yield f"kairosroute_requests_total{{{labels}}} {row[index]}"
        yield from head("kairosroute_request_seconds", "histogram", "Time from the request to its last byte.")
        for (model, provider), row in self._rows.items():
            labels = f'model="{escaped(model)}",provider="{escaped(provider)}"'
            yield from _histogram(
                "kairosroute_request_seconds", labels, LATENCY_BOUNDS_US, row[_BUCKETS:], row[_LATENCY_SUM]
            )
        yield from head("kairosroute_overhead_seconds", "histogram", "Time that the gateway itself added to a call.")
        overhead_sum = sum(row[_OVERHEAD_SUM] for row in self._rows.values())
        yield from _histogram("kairosroute_overhead_seconds", "", OVERHEAD_BOUNDS_US, self._overhead, overhead_sum)
        yield from head("kairosroute_refused_total", "counter", "Calls refused before a model was asked.")
        for error_class, count in self.refused.items():
            yield f'kairosroute_refused_total{{error="{escaped(error_class)}"}} {count}'
        yield from head("kairosroute_upstream_errors_total", "counter", "Failed attempts at a provider.")
        for (provider, error_class), count in self._upstream_errors.items():
            labels = f'provider="{escaped(provider)}",error="{escaped(error_class)}"'
            yield f"kairosroute_upstream_errors_total{{{labels}}} {count}"
        yield from head("kairosroute_response_cache_total", "counter", "Calls that asked for a kept answer.")
        for outcome, count in self._cached.items():
            yield f'kairosroute_response_cache_total{{outcome="{escaped(outcome)}"}} {count}'
        yield from head("kairosroute_in_flight", "gauge", "Calls being served now.")
        yield f"kairosroute_in_flight {self.in_flight}"
        yield from head("kairosroute_open_streams", "gauge", "Streams being served now.")
        yield f"kairosroute_open_streams {self.open_streams}"
        yield from head("kairosroute_streams_total", "counter", "Streams begun.")
        yield f"kairosroute_streams_total {self.streams}"

    def _new_row(self, model: str, provider: str) -> list[int]:
        key = (model, provider) if len(self._rows) < MAX_ROWS else (OTHER, OTHER)
        return self._rows.setdefault(key, _ROW.copy())


def head(name: str, kind: str, text: str) -> Iterator[str]:
    """Yield the two lines that declare a metric."""
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _histogram(name: str, labels: str, bounds_us: tuple[int, ...], counts: list[int], sum_us: int) -> Iterator[str]:
    separator = "," if labels else ""
    total = 0
    for bound, count in zip(bounds_us, counts, strict=False):
        total += count
        yield f'{name}_bucket{{{labels}{separator}le="{bound / 1_000_000:g}"}} {total}'
    total += counts[-1]
    yield f'{name}_bucket{{{labels}{separator}le="+Inf"}} {total}'
    braces = f"{{{labels}}}" if labels else ""
    yield f"{name}_sum{braces} {sum_us / 1_000_000:.6f}"
    yield f"{name}_count{braces} {total}"


def escaped(value: str) -> str:
    """Return a label's value as it stands between quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
