"""Calls that meet limits, for tests: decided drafts over the real catalog, without a server."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import orjson

from gateway.admission import Admission
from gateway.banks import Bank
from gateway.catalog import loader
from gateway.context import KeySnapshot, LimitSnapshot
from gateway.counters import Window
from gateway.dialects.openai import OPENAI
from gateway.draft import Draft
from gateway.limit_alerts import Herald
from gateway.providers import registry
from gateway.providers.protocol import Usage
from gateway.settlement import Settlement
from gateway.state import make_router
from tests.factories.calls import make_key

NOW = 1_795_000_000.0
CENT = 10_000_000
_numbers = itertools.count(1)


def make_limit(**fields: Any) -> LimitSnapshot:
    """Return a monthly budget of a dollar for the organization."""
    return LimitSnapshot(
        **{
            "limit_id": f"lim_{next(_numbers)}",
            "name": "all",
            "scope": "organization",
            "kind": "budget",
            "amount": 100 * CENT,
            **fields,
        }
    )


class Desk:
    """An admission over the whole catalog, all providers configured, and the calls that come to it."""

    def __init__(
        self, directory: Path, *, bank: Bank | None = None, herald: Herald | None = None, **options: Any
    ) -> None:
        catalog, book = loader.load(directory / "prices")
        settings = {
            f"KAIROS_PROVIDER_{slug.upper().replace('-', '_')}_API_KEY": "sk-x" for slug in ("openai", "anthropic")
        }
        self.router = make_router(catalog, book, registry.build(settings))
        self.second = 1000.0
        self.book, self.catalog = book, catalog
        self.admission = Admission(
            book=book,
            catalog=catalog,
            router=self.router,
            bank=bank,
            herald=herald,
            window=options.get("window", Window),
            monotonic=lambda: self.second,
        )

    def draft(
        self, key: KeySnapshot, *, model: str = "gpt-4o-mini", now: float = NOW, headers: Any = None, **body: Any
    ) -> Draft:
        """Return a decided call; without `max_tokens` of 1,000 tokens at most."""
        from gateway import chat

        draft = Draft(body=f"{next(_numbers):026d}", key=key, started_us=int(now * 1e6), dialect=OPENAI)
        asked = {"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}], **body}
        chat.read(draft, orjson.dumps(asked), headers or {})
        assert draft.call is not None
        draft.decision = self.router.decide(draft.call, key, call_id=draft.body, at=draft.started_us / 1e6)
        draft.endpoint = draft.decision.endpoints[0]
        return draft

    def end(self, draft: Draft, cost: int | None, *, tokens: int = 0) -> None:
        """Settle a call that cost so many nano-USD, None: nobody knows, 0: nothing was used."""
        if cost is None:
            draft.settlement = Settlement("unpriced")
        elif cost:
            draft.settlement = Settlement("priced", "pv", 0, 0, 0, cost, cost, cost)
            draft.usage = Usage(input_tokens=tokens, output_tokens=0)
        self.admission.settle(draft)

    def only_purse(self) -> Any:
        """Return the purse of the only budget."""
        (purse,) = [meter.purse for meter in self.admission.meters() if meter.purse is not None]
        return purse


__all__ = ["CENT", "NOW", "Desk", "make_key", "make_limit"]
