"""Structured logs: one JSON object a line with the request's id, and a second net that keeps secrets out.

The first net is discipline: no module logs a key, a prompt or an answer. Here, whatever looks like a credential is
cut from every line, and fields that carry content are dropped by name.
"""

from __future__ import annotations

import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

request_id: ContextVar[str] = ContextVar("request_id", default="")

REDACTED = "[redacted]"
# Field names whose values never belong in a log, whatever they hold.
PRIVATE_FIELDS = frozenset(
    {"api_key", "authorization", "body", "completion", "content", "cookie", "messages", "password", "prompt", "secret"}
)

_CREDENTIALS = re.compile(
    r"""(?x)
    (?P<ours>kr_(?:live|test)_)[0-9A-Za-z_-]{4,}       # our API keys: the prefix stays
    | (?P<vendor>\b(?:sk|pk|rk)[-_])[0-9A-Za-z_-]{8,}  # OpenAI, Anthropic, Stripe and their imitators
    | (?P<google>\bAIza)[0-9A-Za-z_-]{10,}             # Google
    | (?P<scheme>(?i:\b(?:bearer|basic)\s+))[0-9A-Za-z._~+/=-]{8,}
    | (?P<url>://[^/\s:@]+:)[^/\s@]+(?=@)              # a password inside a URL
    # the token of a link that opens an account or an organization, in a path
    | (?P<door>/accounts/(?:link|invitations|confirm-email|password/reset/key)/)[^/\s"'?]+
    """
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


def redact(text: str) -> str:
    """Return `text` with everything that looks like a credential cut down to its recognisable prefix."""
    return _CREDENTIALS.sub(lambda match: f"{match.group(match.lastgroup or 0)}{REDACTED}", text)


class JsonLines(logging.Formatter):
    """Render a record as one JSON object: time, level, logger, message, request_id, `extra` fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if identifier := getattr(record, "request_id", "") or request_id.get():
            line["request_id"] = identifier
        line.update(_extra(record))
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))
        return orjson.dumps(line, default=lambda value: redact(str(value))).decode()


class Text(logging.Formatter):
    """The same for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        identifier = getattr(record, "request_id", "") or request_id.get()
        extra = " ".join(f"{name}={value}" for name, value in _extra(record).items())
        parts = [at, f"{record.levelname:<7}", record.name, record.getMessage(), extra, identifier]
        text = " ".join(part for part in parts if part)
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return redact(text)


def logging_config(*, level: str, style: str) -> dict[str, Any]:
    """Return the `dictConfig` of a process. `style` is json, text, or auto: text at a terminal, JSON elsewhere.

    Raises:
        ValueError: an unknown style.
    """
    if style not in {"auto", "json", "text"}:
        raise ValueError(f"KAIROS_LOG_FORMAT must be auto, json or text; it is {style!r}.")
    if style == "auto":
        style = "text" if sys.stderr.isatty() else "json"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLines}, "text": {"()": Text}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": style}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Their own handlers would print every line twice and unredacted.
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
            # One line for every segment and every beat says nothing.
            "celery": {"level": "WARNING"},
            "kombu": {"level": "WARNING"},
            # The commands say themselves when they serve.
            "uvicorn": {"level": "WARNING"},
        },
    }


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in vars(record).items():
        if name in _STANDARD or name == "request_id":
            continue
        if name.lower() in PRIVATE_FIELDS:
            fields[name] = REDACTED
        else:
            fields[name] = value if isinstance(value, int | float | bool | None) else redact(str(value))
    return fields
