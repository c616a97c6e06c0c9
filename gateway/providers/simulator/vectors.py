"""Vectors without a model: the same text gives the same vector, texts that share words give vectors that are near.
Pure.

Each word, in lower case, adds plus or minus one at 64 places that follow from its hash (a sparse random projection); a
text's vector is the sum of its words', made one long.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.catalog.embeddings import FACTS
from gateway.providers.simulator import tokens

USUAL_DIMENSIONS = 1536
_MOST_WORDS = 256
_PLACES = 64
_WORD = re.compile(r"\w+")
_OWN_DIMENSIONS = {fact["upstream"]: fact["dimensions"] for fact in FACTS}


def answer(request: Mapping[str, Any]) -> bytes:
    """Return the answer to a request in OpenAI's shape, with vectors of numbers."""
    given = request["input"]
    inputs = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    texts = [one if isinstance(one, str) else " ".join(map(str, one)) for one in inputs]
    dimensions = request.get("dimensions") or _OWN_DIMENSIONS.get(request["model"], USUAL_DIMENSIONS)
    used = sum(tokens.count(one) if isinstance(one, str) else len(one) for one in inputs)
    return orjson.dumps(
        {
            "object": "list",
            "model": request["model"],
            "provider": "simulator",
            "data": [
                {"object": "embedding", "index": index, "embedding": vector(text, dimensions)}
                for index, text in enumerate(texts)
            ],
            "usage": {"prompt_tokens": used, "total_tokens": used},
        }
    )


def vector(text: str, dimensions: int) -> list[float]:
    """Return a text's vector, of length one."""
    words = _WORD.findall(text.lower())[:_MOST_WORDS] or [text]
    sums = [0] * dimensions
    for word in words:
        digest = hashlib.shake_256(word.encode("utf-8", "surrogatepass")).digest(3 * _PLACES)
        for start in range(0, 3 * _PLACES, 3):
            drawn = digest[start] << 16 | digest[start + 1] << 8 | digest[start + 2]
            sums[(drawn >> 1) % dimensions] += 1 if drawn & 1 else -1
    length = math.sqrt(sum(value * value for value in sums)) or 1.0
    return [value / length for value in sums]
