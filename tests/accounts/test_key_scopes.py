"""Scopes of keys: known names only, and none means all."""

from __future__ import annotations

import pytest

from accounts import key_scopes


def test_scopes_are_put_in_order_without_repeats() -> None:
    assert key_scopes.normalize(["receipts", "chat", "receipts"]) == ["chat", "receipts"]


def test_an_unknown_scope_is_refused_with_the_known_ones() -> None:
    with pytest.raises(key_scopes.UnknownScope, match=r"There is no scope 'admin'.*chat, models, receipts, feedback"):
        key_scopes.normalize(["chat", "admin"])


def test_no_scopes_allow_everything_but_what_must_be_said() -> None:
    allowed = {scope for scope in key_scopes.SCOPES if key_scopes.allows([], scope)}
    assert allowed == {"chat", "models", "receipts", "feedback"}
    assert key_scopes.allows(["keys"], "keys")


def test_a_limited_key_allows_nothing_else() -> None:
    assert [scope for scope in key_scopes.SCOPES if key_scopes.allows(["chat"], scope)] == ["chat"]


def test_every_scope_has_a_description() -> None:
    assert set(key_scopes.DESCRIPTIONS) == set(key_scopes.SCOPES)
