"""The Celery tasks of accounts: each reads the clock and makes one domain call."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from accounts import webhook_deliveries


@shared_task(name="accounts.tasks.deliver_webhooks", ignore_result=True)
def deliver_webhooks() -> None:
    """Send what waits for the customers' webhooks."""
    webhook_deliveries.deliver(now=timezone.now())
