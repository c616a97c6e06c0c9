"""What can go wrong between us and ClickHouse, sorted by what the caller should do about it.

StoreError
├── StoreUnavailable   try again later: no connection, a timeout, an overloaded or full server
│   └── StoreHeld      another process holds the embedded store; the message says what to do
├── QueryRefused       the statement is wrong or too expensive; trying again does not help
└── RowsRefused        rows of an insert do not fit their columns; other rows may
"""

from __future__ import annotations


class StoreError(Exception):
    """ClickHouse did not do what it was asked to; `code` and `name` are its own, None and "" if it gave none."""

    is_retryable = False

    def __init__(self, message: str, *, code: int | None = None, name: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.name = name


class StoreUnavailable(StoreError):
    """The store cannot answer now; the same call may succeed later."""

    is_retryable = True


class StoreHeld(StoreUnavailable):
    """The embedded store's directory is open in another process, and only one process may open it."""


class QueryRefused(StoreError):
    """ClickHouse refused the statement, or stopped it at its limit of time or memory."""


class RowsRefused(StoreError):
    """Rows of an insert do not fit. The message names the class of the fault only: rows may hold customers' text."""


# Numbers of ClickHouse's src/Common/ErrorCodes.cpp.
# A row could not be parsed or does not fit its column.
ROW_FAULTS = frozenset({6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 130, 131, 321, 349, 376, 441, 467, 469, 675, 676, 691})
# The server is busy, full, starting, read-only or out of reach of its peers.
PASSING_FAULTS = frozenset(
    {3, 74, 75, 76, 164, 198, 202, 203, 209, 210, 225, 236, 241, 242, 243, 244, 252, 274, 279, 285, 286, 289, 319, 335}
    | {394, 415, 424, 425, 439, 473, 574, 659, 733, 745, 999}
)
# A query ran into the limit that we set on it: not retryable for a reader, retryable for an insert.
LIMIT_FAULTS = frozenset({158, 159, 160, 241, 307})
