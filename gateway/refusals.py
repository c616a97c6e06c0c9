"""The errors and headers that limits answer with. Pure.

`x-ratelimit-*` as OpenAI sends them (a time like `1m0s`), `X-RateLimit-*` as OpenRouter does (Unix milliseconds). A
spent budget is a 403; KairosRoute's own SDK, and keys that ask for it, get 429 with the code `BUDGET_EXCEEDED`, which
that SDK does not retry.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from gateway import errors, periods
from gateway.counters import Hold, Meter, Purse, Window

PLAIN_CODE = "BUDGET_EXCEEDED"
_IN_FLIGHT_RETRY_S = 2


def limit_source(meter: Meter) -> str:
    """Return which limit it is, for programs."""
    return f"kairosroute_{meter.limit.scope}_budget"


def resets_at(purse: Purse) -> str | None:
    """Return when the purse's period ends, ISO 8601 in UTC; None where it never does."""
    if purse.ends_at >= periods.NEVER:
        return None
    return dt.datetime.fromtimestamp(purse.ends_at, dt.UTC).isoformat().replace("+00:00", "Z")


def over_budget(meter: Meter, *, needed_nanousd: int, is_plain: bool) -> errors.GatewayError:
    """Return the refusal of a call that a budget has no room for."""
    purse = meter.purse
    assert purse is not None
    facts: dict[str, Any] = {
        "limit_source": limit_source(meter),
        "limit_id": meter.limit.limit_id,
        "limit_name": meter.limit.name,
        "limit_usd": _usd(purse.amount),
        "spend_usd": _usd(purse.spent),
        "reserved_usd": _usd(purse.reserved + purse.held_elsewhere),
        "needed_usd": _usd(needed_nanousd),
        "resets_at": resets_at(purse),
    }
    whose = f"The budget “{meter.limit.name}” of {_words(purse.amount)}"
    left = purse.amount - purse.spent
    if needed_nanousd <= left:
        return errors.BudgetInFlight(
            f"{whose} has {_words(left)} left, but calls under way may need it. Try again in a moment.",
            retry_after_s=_IN_FLIGHT_RETRY_S,
            metadata=facts,
        )
    resets = f" It resets at {facts['resets_at']}." if facts["resets_at"] else ""
    message = (
        f"{whose} has {_words(max(left, 0))} left and this call may cost {_words(needed_nanousd)}.{resets}"
        f" {_raise_where(meter)}, set a lower max_tokens, or use a cheaper model."
    )
    if not is_plain:
        return errors.BudgetExceeded(message, metadata=facts)
    refusal = errors.BudgetExceeded(f"{PLAIN_CODE}: {message}", code=PLAIN_CODE, status=429, metadata=facts)
    refusal.keeps_code = True
    return refusal


def _raise_where(meter: Meter) -> str:
    """Return who can raise a budget: a run's is given by its calls, every other one stands on a page."""
    if meter.limit.scope == "agent_run":
        return "Give the run more with X-KairosRoute-Run-Budget"
    return "Raise it under Limits"


def over_cost_limit(*, needed_nanousd: int, most_nanousd: int, source: str) -> errors.CostLimitExceeded:
    """Return the refusal of a call that may cost more than one call is allowed to."""
    return errors.CostLimitExceeded(
        f"COST_LIMIT_EXCEEDED: this call may cost {_words(needed_nanousd)} and {source} allows {_words(most_nanousd)}."
        " Nothing was spent. Set a lower max_tokens, send less, or use a cheaper model.",
        metadata={
            "limit_source": "kairosroute_request_cost",
            "limit_usd": _usd(most_nanousd),
            "needed_usd": _usd(needed_nanousd),
        },
    )


def over_rate(meter: Meter, *, units: int, now: float, is_openrouter: bool) -> errors.RateLimited:
    """Return the refusal of a call for which a window has no room."""
    window = meter.window
    assert window is not None
    what = "tokens" if meter.limit.kind == "tokens" else "requests"
    wait_s = window.seconds_until(units)
    remaining = max(0, window.limit - window.all_used())
    if units > window.limit:
        message = f"This call may use {units} tokens and “{meter.limit.name}” allows {window.limit} a minute."
    else:
        message = f"“{meter.limit.name}” allows {window.limit} {what} a minute. Try again in {wait_s} seconds."
    refusal = errors.RateLimited(
        message,
        retry_after_s=wait_s,
        metadata={"limit_source": f"kairosroute_{meter.limit.scope}_{what}", "limit_id": meter.limit.limit_id},
    )
    refusal.should_retry = units <= window.limit
    refusal.extra_headers = (
        (b"x-ratelimit-limit-%b" % what.encode(), b"%d" % window.limit),
        (b"x-ratelimit-remaining-%b" % what.encode(), b"%d" % remaining),
        (b"x-ratelimit-reset-%b" % what.encode(), duration(wait_s)),
    )
    if is_openrouter:
        refusal.extra_headers += (
            (b"x-ratelimit-limit", b"%d" % window.limit),
            (b"x-ratelimit-remaining", b"%d" % remaining),
            (b"x-ratelimit-reset", b"%d" % round((now + wait_s) * 1000)),
        )
    return refusal


def rate_lines(hold: Hold) -> bytes:
    """Return the header lines of an answer that counts against windows, each ended by CRLF: those of the tightest."""
    lines = b""
    if hold.requests:
        lines = _lines(b"requests", _tightest([meter for meter, _ in hold.requests]))
    if hold.tokens:
        lines += _lines(b"tokens", _tightest([meter for meter, _ in hold.tokens]))
    return lines


def left(meter: Meter) -> int:
    """Return how many nano-USD of a budget are neither spent nor held."""
    purse = meter.purse
    assert purse is not None
    return purse.amount - purse.spent - purse.reserved - purse.held_elsewhere


def tightest(meters: Sequence[Meter]) -> Meter:
    """Return the budget with the least left."""
    return min(meters, key=left)


def duration(seconds: int) -> bytes:
    """Return a time as OpenAI writes it: `12ms`, `7s`, `6m0s`."""
    if seconds <= 0:
        return b"0s"
    return b"%ds" % seconds if seconds < 60 else b"%dm%ds" % divmod(seconds, 60)


def _tightest(meters: list[Meter]) -> Window:
    best = meters[0].window
    assert best is not None
    for meter in meters[1:]:
        window = meter.window
        if window is not None and window.limit - window.all_used() < best.limit - best.all_used():
            best = window
    return best


def _lines(what: bytes, window: Window) -> bytes:
    remaining = window.limit - window.all_used()
    # The call was counted just now, so the whole minute has to pass until nothing is used.
    return b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %d\r\nx-ratelimit-reset-%b: 1m0s\r\n" % (
        what,
        window.limit,
        what,
        remaining if remaining > 0 else 0,
        what,
    )


def _usd(nanousd: int) -> float:
    return nanousd / 1_000_000_000


def _words(nanousd: int) -> str:
    """Return US dollars with as many digits as tell anything: $5.00, $0.0123."""
    usd = nanousd / 1_000_000_000
    if usd == 0 or usd >= 0.1:
        return f"${usd:,.2f}"
    return f"${usd:.9f}".rstrip("0") if usd < 0.0001 else f"${usd:.6f}".rstrip("0")
