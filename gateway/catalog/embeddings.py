"""The facts of embedding models, which the price file that the chat models' facts come from does not hold. Pure data.

Names and prices are `genai-prices`', input limits its context windows; dimensions are the vendors' documented defaults.
"""

from __future__ import annotations

from typing import Any, Final

# id, name at the provider, provider in genai-prices, most input tokens, numbers of a vector where nothing else is
# asked for, whether a shorter vector may be asked for
_ROWS: Final = (
    ("openai/text-embedding-3-small", "text-embedding-3-small", "openai", 8192, 1536, True),
    ("openai/text-embedding-3-large", "text-embedding-3-large", "openai", 8192, 3072, True),
    ("azure/text-embedding-3-small", "text-embedding-3-small", "azure", 8192, 1536, True),
    ("google/gemini-embedding-001", "gemini-embedding-001", "google", 2048, 3072, True),
    ("mistralai/mistral-embed", "mistral-embed", "mistral", 8192, 1024, False),
    ("cohere/embed-v4.0", "embed-v4.0", "cohere", 128_000, 1536, True),
    ("voyage/voyage-4", "voyage-4", "voyageai", 32_000, 1024, True),
    ("voyage/voyage-4-lite", "voyage-4-lite", "voyageai", 32_000, 1024, True),
)

FACTS: Final[tuple[dict[str, Any], ...]] = tuple(
    {
        "id": model_id,
        "provider": model_id.partition("/")[0],
        "upstream": upstream,
        "genai_provider": priced_as,
        "adapter": "gemini" if priced_as == "google" else "openai",
        "kind": "embedding",
        "context": context,
        "max_output": None,
        "dimensions": dimensions,
        "has_dimensions": can_shorten,
        "deprecation": None,
        "added": "2026-11-22",
    }
    for model_id, upstream, priced_as, context, dimensions, can_shorten in _ROWS
)
