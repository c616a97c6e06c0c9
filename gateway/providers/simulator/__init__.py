"""A provider without a provider: deterministic answers in OpenAI's shape, plainly labelled as simulated. Pure.

answer = simulator.send(body, model="gpt-5.4-mini", is_stream=True, created=now)
for seconds, data in answer.schedule(scale=1.0): ...   # the I/O shell sleeps, then sends
"""

from __future__ import annotations

from gateway.providers.simulator.transmission import PROVIDER, SimulatedAnswer, SimulatedDisconnect, embed, send

__all__ = ["PROVIDER", "SimulatedAnswer", "SimulatedDisconnect", "embed", "send"]
