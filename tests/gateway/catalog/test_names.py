"""Names are taken apart without knowing what they mean."""

from __future__ import annotations

import pytest

from gateway.catalog import names


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("gpt-5.4:floor", ("gpt-5.4", "floor")),
        ("openai/gpt-5.4:NITRO", ("openai/gpt-5.4", "nitro")),
        ("bedrock/amazon.nova-pro-v1:0", ("bedrock/amazon.nova-pro-v1:0", "")),
        ("bedrock/amazon.nova-pro-v1:0:free", ("bedrock/amazon.nova-pro-v1:0", "free")),
        ("openai:gpt-5.4", ("openai:gpt-5.4", "")),
        (":free", (":free", "")),
        ("", ("", "")),
    ],
)
def test_it_splits_only_known_suffixes(name: str, parts: tuple[str, str]) -> None:
    assert names.split_suffix(name) == parts


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("gpt-5.4-2026-03-05", ("gpt-5.4", "-2026-03-05")),
        ("claude-haiku-4-5-20251001", ("claude-haiku-4-5", "-20251001")),
        ("claude-haiku-4-5@20251001", ("claude-haiku-4-5", "-20251001")),
        ("mistral-large-2512", ("mistral-large-2512", "")),
        ("model-2026-13-05", ("model-2026-13-05", "")),
        ("-2026-03-05", ("-2026-03-05", "")),
    ],
)
def test_it_splits_only_dates(name: str, parts: tuple[str, str]) -> None:
    assert names.split_date(name) == parts
