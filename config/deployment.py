"""What differs between the embedded and the full profile: THE ONLY PLACE WHERE THE TWO DIFFER.

`embedded` runs everything in one process with SQLite, an in-memory broker and chDB; `full` uses
PostgreSQL, Redis and a ClickHouse server. Settings read the frozen `Deployment`; nothing else asks
which profile runs.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from config import env


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the stores are and which parts run inside the serving process."""

    profile: str
    data_dir: Path
    database: dict[str, Any]
    cache: dict[str, Any]
    broker_url: str
    redis_url: str  # what gateways share over Redis; empty: there is one process, and it keeps everything itself
    broker_options: dict[str, Any]
    clickhouse_dsn: str
    clickhouse_is_embedded: bool
    runs_worker_in_process: bool
    secret_key: str
    base_url: str


def current() -> Deployment:
    """Build the deployment that `KAIROS_PROFILE` names.

    Raises:
        env.InvalidSetting: an unknown profile, or a variable of the profile is missing.
    """
    profile = env.text("KAIROS_PROFILE", "embedded")
    if profile == "embedded":
        return embedded()
    if profile == "full":
        return full()
    raise env.InvalidSetting(f"KAIROS_PROFILE must be 'embedded' or 'full'; it is {profile!r}.")


def embedded() -> Deployment:
    """One process, no services: SQLite, an in-memory broker, chDB, all state below the data directory."""
    data_dir = _data_dir()
    return Deployment(
        profile="embedded",
        data_dir=data_dir,
        database={
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": data_dir / "control.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;",
            },
            # The suite runs on a file of its own: threads of one process must see one database.
            "TEST": {"NAME": data_dir / "test-control.sqlite3"},
        },
        cache={"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        broker_url="memory://localhost/",
        redis_url="",
        broker_options={"polling_interval": 0.05},
        clickhouse_dsn=env.text("CLICKHOUSE_URL", f"chdb://{data_dir / 'clickhouse'}"),
        clickhouse_is_embedded=True,
        runs_worker_in_process=True,
        secret_key=_secret_key(data_dir),
        base_url=_base_url(),
    )


def full() -> Deployment:
    """Gateways, web, workers and beat as processes of their own over PostgreSQL, Redis and ClickHouse."""
    return Deployment(
        profile="full",
        data_dir=_data_dir(),
        database=_postgresql(env.text("DATABASE_URL")),
        # Shared by all web processes: the rate limits of sign-in are counted in it.
        cache={
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": env.text("REDIS_URL"),
            "KEY_PREFIX": "kairosroute",
        },
        broker_url=env.text("REDIS_URL"),
        redis_url=env.text("REDIS_URL"),
        broker_options={"visibility_timeout": 600},
        clickhouse_dsn=env.text("CLICKHOUSE_URL"),
        clickhouse_is_embedded=False,
        runs_worker_in_process=False,
        secret_key=env.text("KAIROS_SECRET_KEY"),
        base_url=_base_url(),
    )


def _base_url() -> str:
    return env.text("KAIROS_BASE_URL", f"http://127.0.0.1:{env.integer('PORT', 8000)}").rstrip("/")


def _data_dir() -> Path:
    path = Path(env.text("KAIROS_DATA_DIR", "var")).resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


def _secret_key(data_dir: Path) -> str:
    """Return KAIROS_SECRET_KEY, else a key made once and kept beside the data, readable by the owner only."""
    given = env.text("KAIROS_SECRET_KEY", "")
    if given:
        return given
    path = data_dir / "secret_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _postgresql(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise env.InvalidSetting("DATABASE_URL must look like postgresql://user:password@host:5432/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or 5432),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 5},
    }
