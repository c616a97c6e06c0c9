"""`POST /v1/feedback`: a verdict on a call, a session or an agent run."""

from __future__ import annotations

from typing import Any

import orjson

from analytics import events
from gateway import errors, identifiers, pipeline
from gateway.dialects.protocol import Dialect
from gateway.http import Request, send_json
from gateway.state import State

_MAX_BYTES = 64 * 1024
_MAX_COMMENT = 4000


async def handle(state: State, request: Request, dialect: Dialect) -> None:
    """Take a verdict on `request_id`, `session` or `agent_run`: `value` is a boolean, a number or a category's name."""
    key = await pipeline.authenticate(state, request, scope="feedback")
    body = _load(await request.read(_MAX_BYTES))
    named = body.get("request_id") or body.get("receipt_id")
    request_id = identifiers.request_id(named) if named else ""
    session, agent_run = body.get("session") or "", body.get("agent_run") or ""
    if request_id is None or not (request_id or session or agent_run):
        raise errors.InvalidRequest(
            "Say what the feedback is about: `request_id` (or `receipt_id`), `session` or `agent_run`.",
            param="request_id",
            code="missing_subject",
        )
    kind, value, category = _verdict(body.get("value"))
    name = body.get("name") or "feedback"
    event = events.FeedbackEvent(
        organization_id=key.organization_id,
        workspace_id=key.workspace_id,
        idempotency_key=body.get("idempotency_key") or f"{request_id}|{session}|{agent_run}|{name}",
        created_us=int(request.now * 1_000_000),
        request_id=request_id,
        session=session[:256],
        agent_run=agent_run[:256],
        name=name[:64],
        kind=kind,
        value=value,
        category=category[:64],
        comment=(body.get("comment") or "")[:_MAX_COMMENT],
        request_started_us=identifiers.started_us(request_id) if request_id else None,
    )
    state.recorder.event("F", events.encode_feedback(event))
    await send_json(request, orjson.dumps({"object": "feedback", "request_id": request_id or None, "accepted": True}))


def _load(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise errors.InvalidRequest("The body is not valid JSON.", code="invalid_json") from None
    if type(body) is not dict:
        raise errors.InvalidRequest("The body must be a JSON object.", code="invalid_json")
    for name in ("request_id", "receipt_id", "session", "agent_run", "name", "comment", "idempotency_key"):
        if body.get(name) is not None and type(body[name]) is not str:
            raise errors.InvalidRequest(f"`{name}` must be a string.", param=name, code="invalid_type")
    return body


def _verdict(value: object) -> tuple[str, float | None, str]:
    if type(value) is bool:
        return events.BOOLEAN, float(value), ""
    if type(value) in (int, float):
        return events.SCORE, float(value), ""  # type: ignore[arg-type]
    if type(value) is str and value:
        return events.CATEGORY, None, value
    raise errors.InvalidRequest(
        "`value` must be true or false, a number, or the name of a category.", param="value", code="invalid_type"
    )
