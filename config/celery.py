"""The Celery application: queues, delivery guarantees and the one beat table."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from celery.schedules import crontab

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("kairosroute")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    timezone="UTC",
    task_default_queue="jobs",
    task_routes={"billing.tasks.load_segment": {"queue": "segments"}},
    beat_schedule={
        # name: {"task": dotted path, "schedule": seconds or crontab}; one table for the whole product
        "refresh the roll-ups": {
            "task": "billing.tasks.refresh_rollups",
            "schedule": 2.0,
            "options": {"expires": 10},  # a worker that was away needs one of them, not all
        },
        "compare quality around route changes": {
            "task": "analytics.tasks.detect_quality_changes",
            "schedule": 60.0,
            "options": {"expires": 60},
        },
        "evaluate experiments": {
            "task": "analytics.tasks.evaluate_experiments",
            "schedule": 60.0,
            "options": {"expires": 60},
        },
        "send telemetry to collectors": {
            "task": "analytics.tasks.deliver_telemetry",
            "schedule": 2.0,
            "options": {"expires": 10},
        },
        "send webhooks": {
            "task": "accounts.tasks.deliver_webhooks",
            "schedule": 5.0,
            "options": {"expires": 10},
        },
        "compare the ledger with the log store": {
            "task": "billing.tasks.reconcile",
            "schedule": crontab(hour=3, minute=17),
        },
    },
)
app.autodiscover_tasks()


@signals.setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Leave the logging of worker and beat as Django's settings made it; a receiver keeps Celery's hands off."""
