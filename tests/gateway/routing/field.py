"""A router over the real catalog and prices with made-up providers, and calls for it."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.catalog.models import Catalog, Model
from gateway.catalog.prices import PriceBook
from gateway.context import Attribution, ChatCall, KeySnapshot, LazyBody
from gateway.preferences import NO_PREFERENCES, Preferences
from gateway.providers.protocol import Endpoint
from gateway.routing import plans
from gateway.routing.decision import Decision, Router
from tests.factories.calls import make_key

KEY = make_key()
NOON = 1_795_348_800.0  # 2026-11-22T12:00:00Z


def endpoint(model: Model, *, is_simulated: bool = False) -> Endpoint:
    provider = "simulator" if is_simulated else model.provider
    return Endpoint(model.id, provider, model.upstream, model.protocol, "http://x", is_simulated=is_simulated)


class FakeReach:
    """Endpoints at the providers that are configured, and a local server."""

    def __init__(self, *configured: str) -> None:
        self._configured = configured

    def endpoints(self, model: Model, call: ChatCall, key: KeySnapshot, *, call_id: str) -> tuple[Endpoint, ...]:
        if key.is_test:
            return (endpoint(model, is_simulated=True),)
        return (endpoint(model),) if model.provider in self._configured else ()

    def named(self, name: str, call: ChatCall, key: KeySnapshot, *, call_id: str) -> tuple[Endpoint, ...]:
        if key.is_test or not name.startswith("local/"):
            return ()
        return (Endpoint(name, "local", name[6:], "openai_chat", "http://l"),)

    def is_settled(self, call: ChatCall, key: KeySnapshot) -> bool:
        return True


def router(
    catalog: Catalog, book: PriceBook, *configured: str, health_of: plans.HealthOf = plans.nothing_known
) -> Router:
    return Router(catalog=catalog, book=book, reach=FakeReach(*configured), health_of=health_of)


def call(model: str, *, task: str = "general", **parts: Any) -> ChatCall:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **parts.pop("body", {})}
    raw = orjson.dumps(body)
    wishes = parts.pop("wishes", {})
    return ChatCall(
        raw=raw,
        body=LazyBody(raw, is_plain=len(body) == 2 and type(body["messages"][0]["content"]) is str),
        shape={name: body[name] for name in ("tools", "response_format") if name in body},
        requested_model=model,
        task_type=task,
        task_source="request",
        dialect=parts.pop("dialect", "openai"),
        preferences=Preferences(**wishes) if wishes else NO_PREFERENCES,
        attribution=parts.pop("attribution", Attribution()),
        options=parts.pop("options", {}),
    )


def decide(route: Router, asked: ChatCall, key: KeySnapshot = KEY, *, at: float = NOON) -> Decision:
    return route.decide(asked, key, call_id="c", at=at)
