"""Embeddings in the protocols that have them: OpenAI's shape and Gemini's. Pure.

An adapter takes the canonical body (`input`, `dimensions`, `user`) and gives back `Vectors`, whose body is OpenAI's
list object with vectors of floats or base64, whichever came. What a client wants is the dialect's business.
"""

from __future__ import annotations

from gateway.providers import quirks
from gateway.providers.embeddings.gemini import ADAPTER as GEMINI
from gateway.providers.embeddings.openai import ADAPTER as OPENAI
from gateway.providers.protocol import Adapter

# The protocol that an endpoint chats in → the one that it embeds in.
PROTOCOLS = {quirks.OPENAI_CHAT: OPENAI.name, quirks.GEMINI: GEMINI.name}
ADAPTERS: dict[str, Adapter] = {adapter.name: adapter for adapter in (OPENAI, GEMINI)}
