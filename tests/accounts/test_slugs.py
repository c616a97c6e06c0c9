"""Slugs: readable, unused, and never longer than their column."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import slugs


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Acme", "acme"), ("Müller & Söhne GmbH", "muller-sohne-gmbh"), ("  a   b ", "a-b"), ("東京", ""), ("---", "")],
)
def test_a_name_becomes_a_slug(name: str, slug: str) -> None:
    assert slugs.from_name(name) == slug


def test_a_name_without_ascii_letters_gets_the_fallback() -> None:
    assert slugs.unused("東京", taken=[], fallback="organization") == "organization"


def test_a_taken_slug_gets_the_next_free_number() -> None:
    assert slugs.unused("Acme", taken=["acme", "acme-2", "acme-4"], fallback="x") == "acme-3"


def test_a_number_still_fits_a_long_name() -> None:
    long = slugs.unused("a" * 200, taken=[], fallback="x")
    second = slugs.unused("a" * 200, taken=[long], fallback="x")
    assert len(long) == len(second) == slugs.MAXIMUM_LENGTH
    assert second.endswith("-2")


@given(st.text(max_size=300), st.lists(st.sampled_from(["x", "x-2", "a", "a-2"])))
def test_a_slug_is_always_usable_in_a_url(name: str, taken: list[str]) -> None:
    slug = slugs.unused(name, taken=taken, fallback="x")
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
    assert slug not in taken
    assert len(slug) <= slugs.MAXIMUM_LENGTH
