"""Soft alerts: a budget that crosses one of its percentages is told once a period, off the hot path.

`Herald.crossed` only puts a note into a queue; a thread writes the row with its webhook event, and then calls everybody
in `listeners` with it. A listener that fails loses its news and nobody else's. Several processes may see the same
crossing: the row is unique, and only the one that makes it tells.
"""

from __future__ import annotations

import datetime as dt
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import IntegrityError, close_old_connections, transaction

from accounts import webhooks
from gateway import control
from gateway.models import LimitAlert

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0
_ATTEMPTS = 60


@dataclass(frozen=True, slots=True)
class Crossing:
    """A budget that has reached `percent` of its amount. `subject`: which value, for a limit on each."""

    organization_id: str
    limit_id: str
    subject: str
    percent: int
    period_starts_at: dt.datetime
    crossed_at: dt.datetime
    spent_nanousd: int
    amount_nanousd: int


Listener = Callable[[LimitAlert], None]


def tell_webhooks(alert: LimitAlert) -> None:
    """Emit the alert to the organization's webhooks; called in the transaction that writes it."""
    webhooks.emit(
        organization_id=alert.organization_id,
        event_type=webhooks.BUDGET_ALERT,
        data={
            "limit_id": alert.limit_id,
            "limit": alert.limit.name,
            "subject": alert.subject or None,
            "percent": alert.percent,
            "period_starts_at": alert.period_starts_at.isoformat(),
            "spent_usd": alert.spent_nanousd / 1e9,
            "budget_usd": alert.amount_nanousd / 1e9,
        },
        now=alert.crossed_at,
        once=f"{alert.limit_id}|{alert.subject}|{alert.percent}|{alert.period_starts_at.isoformat()}",
    )


class Herald:
    """A queue and the thread behind it."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._queue: queue.SimpleQueue[Crossing | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="limit-alerts", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, and end."""
        self._stop.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout=5)

    def crossed(self, crossing: Crossing) -> None:
        """Note a crossing; returns at once."""
        self._queue.put(crossing)

    def _run(self) -> None:
        with control.connected():
            self._work()

    def _work(self) -> None:
        while (crossing := self._queue.get()) is not None:
            for _ in range(_ATTEMPTS):
                try:
                    close_old_connections()
                    self.write(crossing)
                    break
                except IntegrityError:
                    break  # the limit is gone
                except DatabaseError:
                    logger.warning("An alert of a limit could not be written: the database does not answer.")
                    if self._stop.wait(_PAUSE_S):
                        break
                except Exception:
                    logger.exception("An alert of a limit could not be written.")
                    break

    def write(self, crossing: Crossing) -> LimitAlert | None:
        """Write the alert and tell the listeners; None when it was there already, or its limit is gone.

        Raises:
            django.db.Error: the database does not answer.
        """
        with transaction.atomic():
            alert, is_new = LimitAlert.objects.get_or_create(
                limit_id=crossing.limit_id,
                subject=crossing.subject,
                percent=crossing.percent,
                period_starts_at=crossing.period_starts_at,
                defaults={
                    "organization_id": crossing.organization_id,
                    "spent_nanousd": crossing.spent_nanousd,
                    "amount_nanousd": crossing.amount_nanousd,
                    "crossed_at": crossing.crossed_at,
                },
            )
            if not is_new:
                return None
            tell_webhooks(alert)
        for listener in self.listeners:
            try:
                listener(alert)
            except Exception:
                logger.exception("A listener to alerts of limits failed.")
        return alert
