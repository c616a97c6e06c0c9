"""What the generations of Claude accept, read from the model's name. Pure.

Claude 4.7 took sampling parameters and fixed thinking budgets away (400 "deprecated for this model"); structured
outputs came with 4.5. Names: `claude-<family>-<major>-<minor>`, with prefixes and dates around it on other clouds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NEW_NAME = re.compile(r"claude-[a-z]+-(\d{1,2})(?:-(\d{1,2}))?(?!\d)")
_OLD_NAME = re.compile(r"claude-(\d)(?:-(\d))?-[a-z]+")


@dataclass(frozen=True, slots=True)
class Generation:
    """What one model accepts. Names without a version are taken for Claude 4.0."""

    has_sampling: bool
    has_both_samplings: bool  # temperature and top_p together
    has_thinking_budget: bool
    has_output_format: bool
    default_max_tokens: int


def of(upstream_model: str) -> Generation:
    """Return what a model accepts."""
    version = _version(upstream_model)
    is_modern = version >= (4, 7)
    return Generation(
        has_sampling=not is_modern,
        has_both_samplings=version < (4, 1),
        has_thinking_budget=not is_modern,
        has_output_format=version >= (4, 5),
        # Required by the protocol. Large enough for ordinary answers, small enough to fit every model's limit.
        default_max_tokens=4096 if version < (3, 5) else 8192 if version < (3, 7) else 16_384,
    )


def _version(upstream_model: str) -> tuple[int, int]:
    name = upstream_model.lower().replace(".", "-").replace("@", "-")
    match = _NEW_NAME.search(name) or _OLD_NAME.search(name)
    return (int(match[1]), int(match[2] or 0)) if match else (4, 0)
