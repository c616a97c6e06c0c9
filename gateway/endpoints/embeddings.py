"""`POST /v1/embeddings`."""

from __future__ import annotations

from gateway import pipeline
from gateway.dialects.protocol import Dialect
from gateway.http import Request
from gateway.state import State


async def handle(state: State, request: Request, dialect: Dialect) -> None:
    """Serve one call for vectors."""
    await pipeline.serve_chat(state, request, dialect)
