"""What holds for every test: state in a directory of its own, no socket off this machine, stores only where marked."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.test import Client

if TYPE_CHECKING:
    from accounts.models import User
    from tests.factories.accounts import Cast

pytest_plugins = ("tests.stores",)

# Methods of a socket that name an address, and where among their arguments it stands.
_GUARDED = {"connect": 0, "connect_ex": 0, "sendto": -1}


def pytest_configure(config: pytest.Config) -> None:
    """Move all state to a temporary directory; each xdist worker has its own, because chDB has one owner."""
    state = Path(tempfile.mkdtemp(prefix=f"kairosroute-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-"))
    config.add_cleanup(lambda: shutil.rmtree(state, ignore_errors=True))
    settings.DATA_DIR = state
    settings.SPOOL_DIR = state / "spool"
    if settings.CLICKHOUSE_IS_EMBEDDED:
        settings.CLICKHOUSE_DSN = f"chdb://{state / 'clickhouse'}"
    test_database = settings.DATABASES["default"].setdefault("TEST", {})
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        test_database["NAME"] = str(state / "control.sqlite3")
    # What sign-in does is tested, not how slow PBKDF2 is; and clearing a Redis cache would empty the broker's database.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    _keep_to_loopback()


@pytest.fixture(autouse=True)
def _fresh_rate_limits() -> None:
    """Forget what earlier tests counted: sign-in is rate-limited through the cache."""
    from django.core.cache import cache

    cache.clear()


@pytest.fixture
def cast(db: None) -> Cast:
    """Alice, Adam, Bob, Finn and Victor of Acme, and Charlie of another organization."""
    from tests.factories.accounts import make_cast

    return make_cast()


@pytest.fixture
def login() -> Callable[[User], Client]:
    """Return a function from a user to a browser in which they are signed in."""

    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
        return client

    return signed_in


@pytest.fixture(autouse=True)
def _no_log_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse the log store to a test that is not marked `clickhouse`."""
    if request.node.get_closest_marker("clickhouse") is None:
        from analytics.clickhouse import client

        def refuse(*_: Any) -> None:
            raise AssertionError("Mark the test with @pytest.mark.clickhouse to use the log store.")

        monkeypatch.setattr(client._Connection, "open", refuse)


def _keep_to_loopback() -> None:
    """Refuse to connect, send or look up names anywhere but on this machine, in fixtures and threads too."""
    for name, position in _GUARDED.items():
        setattr(socket.socket, name, _guarded(getattr(socket.socket, name), position))
    look_up = socket.getaddrinfo

    def local_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in {None, "", b""} and not _is_address(host) and not _is_local(host):
            raise AssertionError(f"A test tried to look up {host!r}.")
        return look_up(host, *args, **kwargs)

    socket.getaddrinfo = local_look_up


def _guarded(method: Callable[..., Any], position: int) -> Callable[..., Any]:
    def guarded(self: socket.socket, *args: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_local(args[position][0]):
            raise AssertionError(f"A test tried to reach {args[position][0]}.")
        return method(self, *args)

    return guarded


def _is_address(host: str | bytes) -> bool:
    try:
        ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return False
    return True


def _text(host: str | bytes) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else host


def _is_local(host: str | bytes) -> bool:
    host = _text(host)
    if host in {"localhost", ""}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
