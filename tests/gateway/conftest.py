"""Fixtures for tests that serve calls."""

from __future__ import annotations

import pytest


@pytest.fixture(params=[False, True], ids=["asgi", "lane"])
def has_lane(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
