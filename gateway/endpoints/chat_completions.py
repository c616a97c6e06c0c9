"""`POST /v1/chat/completions`."""

from __future__ import annotations

from gateway import pipeline
from gateway.http import Request
from gateway.state import State


async def handle(state: State, request: Request) -> None:
    """Serve one chat call, streamed or not."""
    await pipeline.serve_chat(state, request)
