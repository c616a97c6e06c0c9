"""How good and how fast each simulated model is: one number from its name, and the rates that follow from it. Pure.

The numbers are invented; their order follows the families' sizes. They make quality differ between models in a way
that the analysis jobs can find, and they are no statement about the real models.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# The first word that the model's name holds decides; small variants come before their families.
_BY_WORD: tuple[tuple[str, float], ...] = (
    ("nano", 0.55),
    ("flash-lite", 0.62),
    ("lite", 0.58),
    ("r7b", 0.50),
    ("8b", 0.50),
    ("20b", 0.60),
    ("mini", 0.72),
    ("luna", 0.74),
    ("haiku", 0.76),
    ("small", 0.66),
    ("27b", 0.70),
    ("flash", 0.78),
    ("maverick", 0.70),
    ("codestral", 0.74),
    ("medium", 0.82),
    ("terra", 0.88),
    ("120b", 0.80),
    ("sonnet", 0.93),
    ("opus", 0.97),
    ("fable", 0.96),
    ("astra", 0.98),
    ("sol", 0.95),
    ("argon", 0.94),
    ("wonder", 0.94),
    ("large", 0.86),
    ("max", 0.90),
    ("pro", 0.92),
    ("grok", 0.91),
    ("kimi", 0.90),
    ("glm", 0.87),
    ("gpt-5", 0.93),
    ("gpt-4", 0.84),
    ("gpt-4o", 0.82),
    ("command", 0.75),
)
_DEFAULT = 0.80
_SEPARATORS = re.compile(r"[^a-z0-9]+")
_REASONING_WORDS = (
    "astra",
    "sol",
    "terra",
    "opus",
    "argon",
    "wonder",
    "fable",
    "thinking",
    "magistral",
    "gpt-oss",
    "k3",
)


@dataclass(frozen=True, slots=True)
class Strength:
    """A model's simulated abilities. Rates are probabilities a request."""

    value: float
    is_reasoning: bool

    @property
    def invalid_json_rate(self) -> float:
        """How often a JSON answer is broken."""
        return 0.30 * (1 - self.value) ** 2

    @property
    def wrong_arguments_rate(self) -> float:
        """How often a tool call misses a required argument or has a wrong type."""
        return 0.40 * (1 - self.value) ** 2

    @property
    def refusal_rate(self) -> float:
        """How often a harmless request is refused."""
        return 0.002 + 0.08 * (1 - self.value) ** 2

    @property
    def sentences(self) -> int:
        """How many sentences an ordinary answer has."""
        return 2 + round(6 * self.value)

    @property
    def first_token_seconds(self) -> float:
        """The typical wait for the first token, without reasoning."""
        return 0.12 + 0.6 * self.value**4

    @property
    def tokens_per_second(self) -> float:
        """The typical speed of output."""
        return 240 - 170 * self.value**2


def of(model: str) -> Strength:
    """Return the strength of a model by its name, with or without a vendor."""
    name = f"-{_SEPARATORS.sub('-', model.lower())}-"  # whole words only: there is a "mini" in "gemini"
    value = next((number for word, number in _BY_WORD if f"-{word}-" in name), _DEFAULT)
    return Strength(value=value, is_reasoning=any(f"-{word}-" in name for word in _REASONING_WORDS))
