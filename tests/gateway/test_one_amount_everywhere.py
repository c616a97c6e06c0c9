"""One call, one amount: its record, answer, receipt, budget, look-up and ledger agree to the nano-dollar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from analytics import arithmetic, stored_records
from analytics.request_log import BYOK, ESTIMATED, PRICED, RequestLog
from billing import ledger, spending, usage
from gateway import periods, settlement
from gateway.catalog.contracts import Contracts, Term
from gateway.catalog.prices import PriceBook
from gateway.context import KeySnapshot
from tests.factories.calls import make_key
from tests.gateway.limits import make_limit
from tests.gateway.rig import ANSWER, WHOLE_STREAM, Reply, answering, ask, chunk, chunked, http, in_thread, running
from tests.gateway.test_bringing_keys import held, owner
from tests.gateway.test_key_endpoint import look

pytestmark = pytest.mark.django_db(transaction=True)

SAID: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
SURFACES: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/chat/completions", SAID),
    "openrouter": ("/api/v1/chat/completions", SAID),
    "messages": ("/v1/messages", {**SAID, "max_tokens": 100}),
    "responses": ("/v1/responses", {"input": "hi"}),
    "completions": ("/v1/completions", {"prompt": "hi"}),
    "embeddings": ("/v1/embeddings", {"input": "hi"}),
    "openrouter_embeddings": ("/api/v1/embeddings", {"input": "hi"}),
}
# Numbers that no price divides.
USED = {
    "prompt_tokens": 333_333,
    "completion_tokens": 1237,
    "total_tokens": 334_570,
    "prompt_tokens_details": {"cached_tokens": 77},
    "completion_tokens_details": {"reasoning_tokens": 12},
}
AGREED = {
    "list": None,
    "discount": Contracts([Term(term_id="cp_1", pattern="openai/*", valid_from=0.0, discount_basis_points=1733)]),
    "fixed": Contracts([Term(term_id="cp_2", pattern="openai/*", valid_from=0.0, input=123_456_789, output=9_765_431)]),
}
CASES = [
    (surface, is_stream, source, agreed, is_counted)
    for surface in SURFACES
    for is_stream in (False, True)
    for source, agreed, is_counted in (
        ("managed", "list", False),
        ("managed", "discount", True),
        ("byok", "fixed", True),
        ("byok", "list", False),
        ("test", "list", True),
    )
    if not (is_stream and "embeddings" in surface)
]


def make_caller(source: str, agreed: str) -> KeySnapshot:
    limits = (make_limit(scope="api_key", period="total"), make_limit(kind="tokens", amount=10**9))
    options: dict[str, Any] = {"contracts": AGREED[agreed], "limits": limits}
    return owner(held(), **options) if source == "byok" else make_key(is_test=source == "test", **options)


def answer_of(surface: str, *, is_stream: bool, is_counted: bool) -> bytes:
    if "embeddings" in surface:
        found = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
        used = {"usage": {"prompt_tokens": 777, "total_tokens": 777}} if is_counted else {}
        return http(200, orjson.dumps({"object": "list", "data": found, "model": "m", **used}))
    if not is_stream:
        return http(200, orjson.dumps({**ANSWER, "usage": USED if is_counted else None}))
    counted = (chunk({}, choices=[], usage=USED),) if is_counted else ()
    return chunked(*WHOLE_STREAM[:4], *counted, b"data: [DONE]\n\n")


def told_in(reply: Reply, *, is_stream: bool) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the usage and the receipt in short, wherever the dialect has them."""
    lines = [line[6:] for line in reply.body.split(b"\n") if line.startswith(b"data: {")] if is_stream else [reply.body]
    events = [orjson.loads(line) for line in lines]
    used, short = {}, {}
    for event in events:
        for part in (event, event.get("message"), event.get("response")):
            if isinstance(part, dict):
                used, short = part.get("usage") or used, part.get("x_kairosroute") or short
    return used, short


def require_reproducible(record: RequestLog, key: KeySnapshot, book: PriceBook) -> None:
    """Require that the receipt's lines, and the row that the record names, give the record's cost."""
    cost = record.provider_cost_nanousd
    lines = arithmetic.lines(record, orjson.loads(record.receipt)["prices"])
    assert sum(line.cost_nanousd for line in lines) == cost
    for line in lines:
        assert line.per_million_nanousd is not None
        assert abs(line.units * line.per_million_nanousd - line.cost_nanousd * 10**6) < 10**6
    row = (key.contracts or Contracts([])).by_version(book, record.price_version)
    assert row is not None
    used = settlement.usage_of(record, row)
    assert settlement.settle(used, row).provider_cost_nanousd == cost
    assert sum(line.cost_nanousd for line in settlement.arithmetic(used, row)) == cost


def posted(record: RequestLog) -> tuple[int, int, usage.KeyUsage]:
    """Return what the ledger says of the only call: booked by its key, billed in all, used by its key."""
    owned = {"organization_id": record.organization_id}
    ledger.post_segment(segment_id="one", sha256="", records=[stored_records.account_of(record)])
    starts_at, ends_at = periods.containing(record.started_us / 1e6, "total", "UTC")
    booked = spending.between(
        **owned, dimension=spending.API_KEY, value=record.api_key_id, starts_at=starts_at, ends_at=ends_at
    )
    today = dt.datetime.fromtimestamp(record.started_us / 1e6, dt.UTC).date()
    by_key = usage.by_key(**owned, api_key_ids=[record.api_key_id], today=today)[record.api_key_id]
    return booked, usage.billed_nanousd(**owned), by_key


@pytest.mark.parametrize(("surface", "is_stream", "source", "agreed", "is_counted"), CASES)
async def test_every_place_tells_the_same_amount(
    tmp_path: Path, surface: str, is_stream: bool, source: str, agreed: str, is_counted: bool
) -> None:
    path, said = SURFACES[surface]
    key = make_caller(source, agreed)
    model = "text-embedding-3-small" if "embeddings" in surface else "gpt-4o-mini"
    script = answering(answer_of(surface, is_stream=is_stream, is_counted=is_counted))
    async with running(tmp_path, script, has_lane=True, key=key) as gateway:
        (reply,) = await ask(gateway, {"model": model, **said, **({"stream": True} if is_stream else {})}, path=path)
        (record,) = gateway.records()
        looked_up = await look(gateway.port, f"/api/v1/generation?id={record.request_id}")
        meters = gateway.state.admission.meters()
        book = gateway.state.book

    used, short = told_in(reply, is_stream=is_stream)
    cost = record.provider_cost_nanousd
    billed = cost if source == "managed" else 0
    if "embeddings" in surface and not is_counted:
        # What vectors cost that nobody counted is not known: nothing is told, the reservation is booked.
        assert (record.price_state, used.get("cost"), short["cost_usd"]) == ("unpriced", None, None)
        assert record.booked_nanousd > 0
    else:
        assert record.price_state == (PRICED if is_counted else ESTIMATED)
        assert cost > 0
        require_reproducible(record, key, book)
        assert (short["provider_cost_usd"], short["billed_usd"]) == (cost / 1e9, billed / 1e9)
        if surface != "messages":  # Anthropic's usage has no cost
            is_charged_elsewhere = source == "byok" and path.startswith("/api/")
            assert used["cost"] == (0.0 if is_charged_elsewhere else cost / 1e9)
            if is_charged_elsewhere:
                assert used["cost_details"]["upstream_inference_cost"] == cost / 1e9
            # counted in the words of either API; Anthropic's leaves cached tokens out of the input
            assert used.get("prompt_tokens", used.get("input_tokens")) == record.input_tokens
        assert looked_up["total_cost"] == billed / 1e9
        assert looked_up["upstream_inference_cost"] == (cost / 1e9 if source == "byok" else None)
        assert record.booked_nanousd == cost
    assert (record.billed_nanousd, record.key_source == BYOK) == (billed, source == "byok")
    for meter in meters:
        if meter.purse is not None:
            assert (meter.purse.reserved, meter.purse.spent) == (0, record.booked_nanousd)
        elif is_counted:
            assert meter.window is not None
            assert meter.window.used == record.input_tokens + record.output_tokens
    booked, billed_in_all, by_key = await in_thread(posted, record)
    assert (booked, billed_in_all) == (record.booked_nanousd, billed)
    assert (by_key.billed.total, by_key.byok.monthly) == (billed, cost if source == "byok" else 0)
