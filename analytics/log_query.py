"""Which calls a page, a CSV file, the API or an alert is about: one dataclass ↔ URL ↔ SQL conditions.

No SELECT lives here, only the conditions that every SELECT over calls shares. Filters that name nothing are absent
from the URL; the value `(none)` asks for calls that lack the attribute.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from analytics import timerange
from analytics.timerange import InvalidRange, TimeRange

NONE = "(none)"

MODES = {"all": "All", "live": "Live", "test": "Test"}
STATUSES = {"ok": "Succeeded", "error": "Failed", "interrupted": "Interrupted", "fallback": "Rescued by a fallback"}
SIGNALS = {
    "truncated": "Truncated",
    "refusal": "Refused",
    "invalid_json": "Invalid JSON",
    "invalid_schema": "Schema violated",
    "invalid_tool_call": "Invalid tool call",
}
SORTS = {"newest": "Newest first", "cost": "Highest cost", "latency": "Slowest", "tokens": "Most tokens"}

# parameter of the URL -> (attribute, column); equality filters over text
_TEXT_FILTERS: dict[str, tuple[str, str]] = {
    "workspace": ("workspace", "workspace_id"),
    "agent": ("agent", "agent"),
    "feature": ("feature", "feature"),
    "key": ("key", "api_key_id"),
    "model": ("model", "model"),
    "provider": ("provider", "provider"),
    "task": ("task", "task_type"),
    "error": ("error", "error_class"),
    "session": ("session", "session"),
    "run": ("run", "agent_run"),
    "user": ("user", "end_user"),
    "request": ("request", "request_id"),
    "experiment": ("experiment", "experiment_id"),
    "arm": ("arm", "experiment_arm"),
    "policy": ("policy", "policy_version"),
}
_MAX_TEXT = 200
# A record is an error when the call failed; one that never ended is interrupted, which is neither.
IS_ERROR = "error_class != '' AND state != 'interrupted'"
_STATUS_CONDITIONS = {
    "ok": "error_class = '' AND state != 'interrupted'",
    "error": IS_ERROR,
    "interrupted": "state = 'interrupted'",
    "fallback": "is_fallback = 1 AND error_class = ''",
}
_SIGNAL_CONDITIONS = {
    "truncated": "is_truncated = 1",
    "refusal": "is_refusal = 1",
    "invalid_json": "is_json_valid = 0",
    "invalid_schema": "is_schema_valid = 0",
    "invalid_tool_call": "is_tool_call_valid = 0",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One parameter that cannot be used, and what to write instead."""

    name: str
    message: str


class InvalidQuery(ValueError):
    """The URL asks for something that does not exist; `problems` says what, by parameter."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(" ".join(problem.message for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A window of time and filters over calls. Empty text and None filter nothing."""

    range: TimeRange
    mode: str = "all"
    status: str = ""
    signal: str = ""
    stream: str = ""
    workspace: str = ""
    agent: str = ""
    feature: str = ""
    key: str = ""
    model: str = ""
    provider: str = ""
    task: str = ""
    error: str = ""
    session: str = ""
    run: str = ""
    user: str = ""
    request: str = ""
    experiment: str = ""
    arm: str = ""
    policy: str = ""
    min_cost_nanousd: int | None = None
    min_latency_ms: int | None = None
    sort: str = "newest"

    def changed(self, **changes: Any) -> LogQuery:
        """Return the query with some filters changed; "" or None removes one. `range` may be any TimeRange."""
        cleaned: dict[str, Any] = {
            name: ("" if value is None and not name.startswith("min_") else value) for name, value in changes.items()
        }
        if cleaned.get("mode") == "":
            cleaned["mode"] = "all"
        if cleaned.get("sort") == "":
            cleaned["sort"] = "newest"
        return dataclasses.replace(self, **cleaned)

    def parameters(self) -> dict[str, str]:
        """Return the URL's parameters, in a stable order, without those that say the default."""
        found: dict[str, str] = {}
        if self.range.preset:
            if self.range.preset != timerange.DEFAULT:
                found["range"] = self.range.preset
        else:
            found["from"] = timerange.iso(self.range.start_at)
            found["to"] = timerange.iso(self.range.end_at)
        if self.mode != "all":
            found["mode"] = self.mode
        for name in ("status", "signal", "stream"):
            if value := getattr(self, name):
                found[name] = value
        for name, (attribute, _) in _TEXT_FILTERS.items():
            if value := getattr(self, attribute):
                found[name] = value
        if self.min_cost_nanousd is not None:
            found["min_cost"] = _plain_usd(self.min_cost_nanousd)
        if self.min_latency_ms is not None:
            found["min_latency"] = str(self.min_latency_ms)
        if self.sort != "newest":
            found["sort"] = self.sort
        return found

    def encode(self) -> str:
        """Return the query string, without the question mark."""
        return urlencode(self.parameters())

    @property
    def filters(self) -> dict[str, str]:
        """What narrows the query beyond the window, the mode and the order, as the URL says it."""
        return {
            name: value
            for name, value in self.parameters().items()
            if name not in {"range", "from", "to", "mode", "sort"}
        }

    def conditions(self) -> str:
        """Return the WHERE clause over `request_logs`; its placeholders are those of `bindings`."""
        parts = [
            "organization_id = {organization_id:String}",
            "started_at >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')",
            "started_at < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')",
        ]
        if self.mode != "all":
            parts.append(f"is_test = {1 if self.mode == 'test' else 0}")
        if self.status:
            parts.append(_STATUS_CONDITIONS[self.status])
        if self.signal:
            parts.append(_SIGNAL_CONDITIONS[self.signal])
        if self.stream:
            parts.append(f"is_stream = {1 if self.stream == 'yes' else 0}")
        for attribute, column in _TEXT_FILTERS.values():
            if getattr(self, attribute):
                parts.append(f"{column} = {{{attribute}:String}}")
        if self.min_cost_nanousd is not None:
            parts.append("provider_cost_nanousd >= {min_cost_nanousd:Int64}")
        if self.min_latency_ms is not None:
            parts.append("latency_us >= {min_latency_us:UInt64}")
        return "\n    AND ".join(parts)

    def bindings(self, organization_id: str) -> dict[str, Any]:
        """Return the values of the placeholders; the tenant always comes from the caller, never from a URL."""
        found: dict[str, Any] = {
            "organization_id": organization_id,
            "start_us": microseconds(self.range.start_at),
            "end_us": microseconds(self.range.end_at),
        }
        for attribute, _ in _TEXT_FILTERS.values():
            if value := getattr(self, attribute):
                found[attribute] = "" if value == NONE else value
        if self.min_cost_nanousd is not None:
            found["min_cost_nanousd"] = self.min_cost_nanousd
        if self.min_latency_ms is not None:
            found["min_latency_us"] = self.min_latency_ms * 1000
        return found


def default(*, now: dt.datetime) -> LogQuery:
    """Return the query of a URL that says nothing."""
    return LogQuery(range=timerange.relative(timerange.DEFAULT, now=now))


def parse(parameters: Mapping[str, Sequence[str]], *, now: dt.datetime, also: Collection[str] = ()) -> LogQuery:
    """Return the query that a URL's parameters ask for; `also` names the page's own parameters, which are passed over.

    Raises:
        InvalidQuery: an unknown parameter, one given twice, or a value that does not exist; all problems at once.
    """
    problems: list[Problem] = []
    values: dict[str, str] = {}
    for name, given in parameters.items():
        if name in also:
            continue
        if name not in _NAMES:
            problems.append(Problem(name, f"There is no filter “{name[:40]}”. Filters are: {', '.join(_NAMES)}."))
        elif len(given) > 1:
            problems.append(Problem(name, f"“{name}” is given {len(given)} times; give it once."))
        elif given and (text := given[0].strip()):
            values[name] = text
    found: dict[str, Any] = {"range": _range(values, now, problems)}
    for name, choices in _CHOICES.items():
        if name in values:
            if values[name] in choices:
                found[name] = values[name]
            else:
                problems.append(
                    Problem(name, f"“{name}” cannot be “{values[name][:40]}”. Choose one of: {', '.join(choices)}.")
                )
    for name, (attribute, _) in _TEXT_FILTERS.items():
        if name in values:
            if len(values[name]) > _MAX_TEXT or "\x00" in values[name]:
                problems.append(Problem(name, f"“{name}” is too long: write at most {_MAX_TEXT} characters."))
            else:
                found[attribute] = values[name]
    if "request" in found:
        # A receipt and a generation have the body of their request's id.
        found["request"] = _OTHER_IDS.sub("req_", found["request"])
    if "min_cost" in values:
        found["min_cost_nanousd"] = _nanousd(values["min_cost"], problems)
    if "min_latency" in values:
        found["min_latency_ms"] = _milliseconds(values["min_latency"], problems)
    if problems:
        raise InvalidQuery(problems)
    return LogQuery(**found)


def encode_parameters(parameters: Mapping[str, str]) -> str:
    """Return parameters as a query string."""
    return urlencode(parameters)


def microseconds(moment: dt.datetime) -> int:
    """Return a moment as integer microseconds since the Unix epoch."""
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


_CHOICES: dict[str, Collection[str]] = {
    "mode": MODES,
    "status": STATUSES,
    "signal": SIGNALS,
    "stream": ("yes", "no"),
    "sort": SORTS,
}
_NAMES = ("range", "from", "to", *_CHOICES, *_TEXT_FILTERS, "min_cost", "min_latency")
_OTHER_IDS = re.compile(r"^(?:rcpt|gen)_")
_AMOUNT = re.compile(r"\$?(\d{1,9})(?:\.(\d{1,9}))?", re.ASCII)


def _range(values: Mapping[str, str], now: dt.datetime, problems: list[Problem]) -> TimeRange:
    try:
        if "from" in values or "to" in values:
            if "range" in values:
                problems.append(Problem("range", "Give either “range” or “from” and “to”, not both."))
            return timerange.fixed(values.get("from", ""), values.get("to", ""), now=now)
        return timerange.relative(values.get("range", timerange.DEFAULT), now=now)
    except InvalidRange as error:
        problems.append(Problem("range", str(error)))
        return timerange.relative(timerange.DEFAULT, now=now)


def _nanousd(text: str, problems: list[Problem]) -> int | None:
    match = _AMOUNT.fullmatch(text)
    if match is None:
        problems.append(Problem("min_cost", "“min_cost” must be an amount in US dollars, such as 0.05."))
        return None
    return int(match[1]) * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def _milliseconds(text: str, problems: list[Problem]) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        problems.append(Problem("min_latency", "“min_latency” must be a whole number of milliseconds, such as 2000."))
        return None
    return int(text)


def _plain_usd(nanousd: int) -> str:
    whole, fraction = divmod(nanousd, 1_000_000_000)
    digits = f"{fraction:09d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
