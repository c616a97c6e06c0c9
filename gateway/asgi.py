"""The data plane as a raw ASGI application: no framework, no middleware, no ORM between a client and its model.

`config.asgi` sends `/v1/*` and `/api/v1/*` here, and calls `startup` and `shutdown` from its lifespan.
"""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from gateway import errors, identifiers
from gateway.dialects.anthropic import ANTHROPIC
from gateway.dialects.completions import COMPLETIONS, OPENROUTER_COMPLETIONS
from gateway.dialects.embeddings import EMBEDDINGS, OPENROUTER_EMBEDDINGS
from gateway.dialects.openai import OPENAI, OPENROUTER
from gateway.dialects.protocol import Dialect
from gateway.dialects.responses import RESPONSES
from gateway.endpoints import (
    chat_completions,
    completions,
    credit_balance,
    embeddings,
    feedback,
    generation,
    key,
    keys,
    messages,
    models,
    performance,
    receipts,
    responses,
)
from gateway.http import Request, send_error
from gateway.state import State

logger = logging.getLogger(__name__)

Handler = Callable[[State, Request, Dialect], Awaitable[None]]

# path: the methods that it takes, and who answers
_ROUTES: dict[str, tuple[str, Handler]] = {
    "/chat/completions": ("POST", chat_completions.handle),
    "/completions": ("POST", completions.handle),
    "/responses": ("POST", responses.handle),
    "/messages": ("POST", messages.handle),
    "/messages/count_tokens": ("POST", messages.count_tokens),
    "/embeddings": ("POST", embeddings.handle),
    "/models": ("GET", models.list_models),
    "/key": ("GET", key.handle),
    "/performance": ("GET", performance.handle),
    "/feedback": ("POST", feedback.handle),
    "/generation": ("GET", generation.handle),
    "/credits": ("GET", credit_balance.handle),
    "/keys": ("GET POST", keys.handle_all),
}
_PREFIXES: tuple[tuple[str, str, Handler], ...] = (
    ("/receipts/", "GET", receipts.handle),
    ("/keys/", "GET PATCH DELETE", keys.handle_one),
    ("/models/", "GET", models.get_model),
)
# Below /v1 and below /api/v1.
_SPOKEN: dict[str, tuple[Dialect, Dialect]] = {
    "/completions": (COMPLETIONS, OPENROUTER_COMPLETIONS),
    "/responses": (RESPONSES, RESPONSES),
    "/embeddings": (EMBEDDINGS, OPENROUTER_EMBEDDINGS),
    "/messages": (ANTHROPIC, ANTHROPIC),
    "/messages/count_tokens": (ANTHROPIC, ANTHROPIC),
}
_EXACT: dict[str, tuple[str, Handler]] = {
    f"{root}{path}": route for root in ("/v1", "/api/v1") for path, route in _ROUTES.items()
}


class Application:
    """The ASGI callable. It answers 503 until `startup` has run."""

    def __init__(self) -> None:
        self.state: State | None = None

    async def startup(self) -> None:
        """Open the spool, recover what an earlier process left, start the background work."""
        self.state = await State.open()

    async def shutdown(self) -> None:
        """Seal and ship the spool, stop the background work."""
        if self.state is not None:
            await self.state.close()
            self.state = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        now = time.time()
        request = Request(scope, receive, send, identifiers.new_body(int(now * 1000)), now)
        dialect = _dialect(request.path)
        try:
            if self.state is None:
                raise errors.Unavailable("The gateway is starting.", code="starting", retry_after_s=1)
            await self._handler(scope)(self.state, request, dialect)
        except errors.GatewayError as refusal:
            await _refuse(request, dialect, refusal)
        except Exception:
            logger.exception("A request failed unexpectedly. request_id=%s", request.request_id)
            error = errors.GatewayError("Something went wrong on our side. The error is logged.")
            await _refuse(request, dialect, error)

    def _handler(self, scope: dict[str, Any]) -> Handler:
        path = scope["path"]
        route = _EXACT.get(path) or _EXACT.get(path.rstrip("/"))
        if route is None:
            route = _by_prefix(path)
        method, handler = route
        if scope["method"] not in method.split():
            raise errors.MethodNotAllowed(f"{path} takes {' and '.join(method.split())} requests.")
        return handler


async def _refuse(request: Request, dialect: Dialect, error: errors.GatewayError) -> None:
    body, head = dialect.error(error, request.request_id), dialect.headers(request.request_id)
    await send_error(request, error, body, status=dialect.status(error), head=head)


def _dialect(path: str) -> Dialect:
    """Return the dialect that a path is spoken in; errors are told in it, whatever else is wrong."""
    is_openrouter = path.startswith("/api/")
    bare = path.removeprefix("/api").removeprefix("/v1").rstrip("/")
    if bare in _SPOKEN:
        return _SPOKEN[bare][is_openrouter]
    return OPENROUTER if is_openrouter else OPENAI


def _by_prefix(path: str) -> tuple[str, Handler]:
    bare = path.removeprefix("/api").removeprefix("/v1")
    for prefix, method, handler in _PREFIXES:
        if bare.startswith(prefix):
            return method, handler
    raise errors.NotFound(f"There is nothing at {path[:200]}. {_nearest(path, bare)}", code="unknown_path")


def _nearest(path: str, bare: str) -> str:
    """Return which real path is meant, in a sentence: base URLs are written in many ways, and mostly nearly right."""
    root = "/api/v1" if path.startswith("/api/") else "/v1"
    # What clients put before a path when the base URL ends with too much, or too little.
    tail = "/" + bare.strip("/").rpartition("v1/")[2]
    known = [*_ROUTES, *(prefix + "{id}" for prefix, _, _ in _PREFIXES)]
    found = difflib.get_close_matches(tail, known, n=1, cutoff=0.5)
    return f"Did you mean {root}{found[0]}?" if found else "Chat completions are at /v1/chat/completions."


application = Application()
