"""What OpenAI's models accept of reasoning efforts, read from the model's name. Pure.

Models before the o series answer 400 to any effort; the o series and GPT-5.0 have no `none`. Source: OpenAI API
reference, "reasoning_effort", and the model pages. Names that are not OpenAI's are taken for its newest.
"""

from __future__ import annotations

import re

_WITHOUT = re.compile(r"(?:gpt-3|gpt-4|chatgpt-4)")
_O_SERIES = re.compile(r"o\d\b")
_FIRST_FIVE = re.compile(r"gpt-5(?![.\d])")


def effort(upstream_model: str, word: str) -> str | None:
    """Return the effort that a model knows and that comes nearest to `word`; None where it knows none at all."""
    name = upstream_model.lower()
    if _WITHOUT.match(name):
        return None
    if _O_SERIES.match(name):
        return {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}.get(word, word)
    if _FIRST_FIVE.match(name):
        return {"none": "minimal", "xhigh": "high", "max": "high"}.get(word, word)
    return word
