"""Clients that note, call by call, what they saw. Each call carries its number, which the upstream sees too."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass

import httpx

WHOLE, REFUSED, FAILED, CUT = "whole", "refused", "failed", "cut"
MODEL = "openai/gpt-4o-mini"


@dataclass(frozen=True, slots=True)
class Seen:
    """One call as its client saw it: whole (a complete answer), refused (nobody there), failed (an error), or cut."""

    number: int
    started_at: float
    ended_at: float
    outcome: str
    request_id: str = ""
    status: int = 0


def marker(number: int) -> str:
    """Return the text that stands for a call in the prompt and in its session."""
    return f"call-{number:06d}"


class Load:
    """Some clients that call one after another, every second call streamed, in a thread of their own."""

    def __init__(self, *, url: str, api_key: str, clients: int, think_s: float) -> None:
        self.seen: list[Seen] = []
        self._url = url
        self._headers = {"authorization": f"Bearer {api_key}"}
        self._clients = clients
        self._think_s = think_s
        self._number = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the calls under way end, then stop."""
        self._stop.set()
        self._thread.join(timeout=60)

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=self._clients)
        async with httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=20, limits=limits) as client:
            await asyncio.gather(*(self._keep_calling(client) for _ in range(self._clients)))

    async def _keep_calling(self, client: httpx.AsyncClient) -> None:
        while not self._stop.is_set():
            self._number += 1
            number, started_at = self._number, time.monotonic()
            outcome, request_id, status = await self._call(client, number)
            self.seen.append(Seen(number, started_at, time.monotonic(), outcome, request_id, status))
            await asyncio.sleep(self._think_s if outcome == WHOLE else 0.1)

    async def _call(self, client: httpx.AsyncClient, number: int) -> tuple[str, str, int]:
        body = {"model": MODEL, "messages": [{"role": "user", "content": marker(number)}], "stream": number % 2 == 0}
        headers = {"x-kairosroute-session": marker(number)}
        request_id, status = "", 0
        try:
            async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
                status = answer.status_code
                request_id = answer.headers.get("x-kairosroute-receipt-id", "").replace("rcpt_", "req_")
                text = (await answer.aread()).decode()
        except httpx.ConnectError:
            return REFUSED, "", 0
        except httpx.HTTPError:
            return CUT, request_id, status
        if status != 200:
            return FAILED, request_id, status
        return (WHOLE if _is_whole(text, is_stream=body["stream"] is True) else CUT), request_id, status


def _is_whole(text: str, *, is_stream: bool) -> bool:
    """Return whether the answer ended as a finished completion does."""
    if not is_stream:
        return bool(json.loads(text)["choices"][0]["finish_reason"])
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        return False
    chunks = [json.loads(event) for event in events[:-1]]
    finished = any(choice.get("finish_reason") for chunk in chunks for choice in chunk.get("choices", []))
    return finished and not any("error" in chunk for chunk in chunks)
