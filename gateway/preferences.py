"""What a client asks of routing and serving beyond the model's name, in one form for all dialects. Pure.

The readers in `gateway.dialects` fill it from body fields and headers; gates, dispatch, limits and the cache read it.
What a reader recognised and nobody honours is named in `ChatCall.not_applied`, and the receipt says so.
"""

from __future__ import annotations

import msgspec

DEFAULT_CACHE_TTL_S = 300  # where the client asks for the cache and says no time


class MaxPrice(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The most that may be paid: nano-USD per million tokens, nano-USD per request. None: no bound."""

    prompt_nanousd_per_mtok: int | None = None
    completion_nanousd_per_mtok: int | None = None
    request_nanousd: int | None = None


class RunBudget(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What an agent run may cost in all, and what happens then: `stop` refuses, `downgrade` takes a cheaper model."""

    max_nanousd: int
    on_exceed: str = "stop"


class Preferences(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The wishes of one call. Empty and None mean: not asked for.

    Providers are our slugs, models are names as the client wrote them; patterns may hold `*`.
    """

    # which endpoints
    models: tuple[str, ...] = ()  # further models, in order, when the requested one fails
    provider_order: tuple[str, ...] = ()
    provider_only: tuple[str, ...] = ()
    provider_ignore: tuple[str, ...] = ()
    allows_fallbacks: bool = True
    requires_parameters: bool = False
    denies_data_collection: bool = False
    requires_zdr: bool = False
    quantizations: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    allowed_models: tuple[str, ...] = ()  # for automatic routing
    excluded_models: tuple[str, ...] = ()
    # in which order
    sort: str = ""  # price, throughput, latency
    preferred_min_throughput: float | None = None  # tokens per second, P50
    preferred_max_latency_ms: float | None = None  # time to first token, P75
    quality_bar: float | None = None
    # money
    max_price: MaxPrice | None = None
    max_cost_nanousd: int | None = None
    run_budget: RunBudget | None = None
    # serving
    retries: int | None = None  # further attempts at the same endpoint
    timeout_s: float | None = None
    first_token_timeout_s: float | None = None
    cache_ttl_s: int | None = None  # asks for the response cache; None: not asked for
    cache_namespace: str = ""
    refreshes_cache: bool = False
    keeps_content: bool = True  # False: nothing of this call may be stored, whatever the workspace says
    # the answer
    explain: str = "summary"  # how much of the receipt the answer carries: none, summary, full
    is_dry_run: bool = False  # say where the call would go, and do not send it
    echoes: frozenset[str] = frozenset()  # whose response headers and objects to add: litellm, portkey, openrouter, …

    @property
    def needs_asgi(self) -> bool:
        """Whether serving the call takes more than one attempt at one endpoint with the deployment's time-outs."""
        return (
            self.retries is not None
            or self.timeout_s is not None
            or self.first_token_timeout_s is not None
            or self.cache_ttl_s is not None
            or self.is_dry_run
        )


class Trace(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How the call hangs together with what the client observes."""

    trace_id: str = ""  # 32 hex digits from `traceparent`, or another tracer's id
    parent_span_id: str = ""
    client_request_id: str = ""
    client_retry_count: int = 0


NO_PREFERENCES = Preferences()
NO_TRACE = Trace()
