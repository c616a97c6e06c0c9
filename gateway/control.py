"""The control database as the data plane's threads use it: seldom, and never on a call's way.

Django keeps a connection for each thread and closes it with a request; these threads have none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def connected() -> Iterator[None]:
    """Use the database inside the block; the thread's connection ends with it."""
    try:
        yield
    finally:
        connection.close()
