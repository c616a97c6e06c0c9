"""Everything that one data-plane process holds: built once at start, closed once at the end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial

from django.conf import settings

from accounts import encryption, outbound
from analytics import events, request_log
from analytics.spool import Writer
from gateway import credentials, fallback, idempotency, shipping, simulation, vault
from gateway.admission import Admission
from gateway.banks import LocalBank
from gateway.catalog import loader
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.fallback import Traits, TraitsOf
from gateway.health.board import Board, Row
from gateway.health.upkeep import Upkeep
from gateway.leased_window import LeasedWindow
from gateway.leases import RedisBank
from gateway.limit_alerts import Herald
from gateway.metrics import Metrics
from gateway.providers import quirks, registry
from gateway.recording import Recorder
from gateway.response_cache import ResponseCache
from gateway.routing.decision import Router
from gateway.snapshot import Snapshot
from gateway.spend import Spend
from gateway.transports import Providers
from gateway.upstream import Timeouts, Upstream


@dataclass(slots=True)
class State:
    """The parts of a running data plane."""

    catalog: Catalog
    book: PriceBook
    registry: registry.Registry
    snapshot: Snapshot
    router: Router
    providers: Providers
    upstream: Upstream
    recorder: Recorder
    shipper: shipping.Shipper
    metrics: Metrics
    idempotency: idempotency.Desk
    responses: ResponseCache
    admission: Admission
    max_request_bytes: int
    upkeep: Upkeep | None = None

    def is_public(self, row: Row) -> bool:
        """Return whether an endpoint is everybody's to see: the operator's, or at its provider's own address."""
        return _is_public(self.registry, row)

    @classmethod
    async def open(cls) -> State:
        """Load the catalog and the prices, recover the spool, and start the background work."""
        loop = asyncio.get_running_loop()
        catalog, book = await asyncio.to_thread(
            loader.load, settings.DATA_DIR / "prices", whole_providers=loader.WHOLE_PROVIDERS
        )
        configured = registry.build(settings.PROVIDER_SETTINGS)
        metrics = Metrics()
        writer = Writer(
            settings.SPOOL_DIR,
            segment_bytes=settings.SPOOL_SEGMENT_BYTES,
            segment_seconds=settings.SPOOL_SEGMENT_SECONDS,
            columns={"R": request_log.COLUMNS, "F": events.FEEDBACK_COLUMNS},
        )
        shipper = await asyncio.to_thread(shipping.recover_and_start, settings.SPOOL_DIR)
        snapshot = Snapshot()
        snapshot.start()
        upstream = Upstream(loop, guard=outbound.guard())
        keyring = encryption.deployment_keyring()
        kept = vault.Vault(
            vault.open_shelf(
                settings.REDIS_URL, settings.DATA_DIR / "answers", max_bytes=settings.KEPT_ANSWERS_MAX_BYTES
            ),
            keyring,
        )
        health = Board()
        router = make_router(catalog, book, configured, health=health)
        herald = Herald()
        herald.start()
        spend = Spend(settings.SPOOL_DIR, rests=9.0)
        if settings.REDIS_URL:
            shared = RedisBank(settings.REDIS_URL, spend, allows_without=settings.LIMITS_ALLOW_WITHOUT_REDIS)
            admission = Admission(
                book=book, catalog=catalog, router=router, bank=shared, herald=herald, window=LeasedWindow
            )
            shared.start(admission.meters)
        else:
            admission = Admission(book=book, catalog=catalog, router=router, bank=LocalBank(spend), herald=herald)
        upkeep = Upkeep(health, redis_url=settings.REDIS_URL, is_public=partial(_is_public, configured))
        upkeep.start()
        return cls(
            catalog=catalog,
            book=book,
            registry=configured,
            snapshot=snapshot,
            router=router,
            providers=Providers(
                adapters=registry.ADAPTERS,
                upstream=upstream,
                simulation=simulation.Simulation(scale=settings.SIMULATION_SCALE),
                timeouts=Timeouts(
                    connect=settings.UPSTREAM_CONNECT_TIMEOUT_S,
                    first_byte=settings.UPSTREAM_FIRST_BYTE_TIMEOUT_S,
                    first_token=settings.UPSTREAM_FIRST_TOKEN_TIMEOUT_S,
                    between_pieces=settings.UPSTREAM_IDLE_TIMEOUT_S,
                    total=settings.UPSTREAM_TOTAL_TIMEOUT_S,
                ),
                health=health,
                traits_of=traits_from(catalog),
                max_attempts=settings.MAX_ATTEMPTS,
            ),
            upstream=upstream,
            recorder=Recorder(
                writer=writer,
                keyring=keyring,
                metrics=metrics,
                sync_interval_ms=settings.SPOOL_SYNC_INTERVAL_MS,
                loop=loop,
            ),
            shipper=shipper,
            metrics=metrics,
            idempotency=idempotency.Desk(kept, ttl_s=settings.IDEMPOTENCY_TTL_S),
            responses=ResponseCache(kept),
            admission=admission,
            max_request_bytes=settings.MAX_REQUEST_BYTES,
            upkeep=upkeep,
        )

    async def close(self) -> None:
        """Seal and ship the spool, close the connections. The server has ended the calls in flight before."""
        if self.upkeep is not None:
            await self.upkeep.close()
        await self.recorder.close()
        await self.admission.close()
        await asyncio.to_thread(self.shipper.stop, 10.0)
        await self.upstream.close()
        await self.responses.close()
        await asyncio.to_thread(self.snapshot.stop)


def _is_public(configured: registry.Registry, row: Row) -> bool:
    provider = configured.get(row.provider)
    if provider is not None and row.base_url.startswith(provider.base_url):
        return True
    known = quirks.known(row.provider)
    return known is not None and bool(known.base_url) and row.base_url.startswith(known.base_url)


def traits_from(catalog: Catalog) -> TraitsOf:
    """Return what fallbacks ask of a model: from the catalog, else from its name."""
    known = {model.id: Traits(model.family, model.vendor, model.context_tokens) for model in catalog.models.values()}
    return lambda model: known.get(model) or fallback.plain_traits(model)


def make_router(
    catalog: Catalog, book: PriceBook, configured: registry.Registry, *, health: Board | None = None
) -> Router:
    """Return the router over the configured providers; `health` answers wishes for speed."""
    board = Board() if health is None else health
    return Router(
        catalog=catalog,
        book=book,
        reach=credentials.Reach(configured),
        health_of=lambda endpoint: board.speed(endpoint, time.perf_counter()),
    )
