"""Identifiers of one call: a 26-character body that sorts by time, shared by its request, receipt and generation.

The body is 12 hexadecimal digits of milliseconds since the Unix epoch, 6 that the process drew at its start and 8 of a
count that began at a random number: unique without asking the kernel at every call. Ids are no secrets; whoever asks
for a receipt is asked for a key.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets

# 2020 to 2100: no call of ours arrived before or after, and no store takes such a time.
_FIRST_MS, _LAST_MS = 1_577_836_800_000, 4_102_444_800_000

_ID = re.compile(r"^(?:(?:req|rcpt|gen)_)?([0-9a-f]{26})$")


def _draw() -> None:
    """Draw the process's part anew; a forked process draws its own."""
    global _process, _count
    _process = secrets.token_hex(3)
    _count = itertools.count(secrets.randbits(32))


_process, _count = "", itertools.count()
_draw()
os.register_at_fork(after_in_child=_draw)


def new_body(now_ms: int) -> str:
    """Return the body of a new call's identifiers. `now_ms`: milliseconds since the Unix epoch."""
    return f"{now_ms:012x}{_process}{next(_count) & 0xFFFFFFFF:08x}"


def request_id(text: str) -> str | None:
    """Return `req_…` for a request, receipt or generation id (or the bare body), None for anything else."""
    match = _ID.fullmatch(text)
    if match is None or not _FIRST_MS <= int(match[1][:12], 16) < _LAST_MS:
        return None
    return f"req_{match[1]}"


def body_of(request_id: str) -> str:
    """Return the body of a `req_…` identifier."""
    return request_id[4:]


def started_us(request_id: str) -> int:
    """Return when the call of a `req_…` identifier arrived, in microseconds since the epoch, to the millisecond."""
    return int(request_id[4:16], 16) * 1000
