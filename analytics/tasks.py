"""The Celery tasks of analytics: each reads the clock and makes one domain call."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from analytics import deliveries, experiments, quality


@shared_task(name="analytics.tasks.detect_quality_changes", ignore_result=True)
def detect_quality_changes() -> None:
    """Compare the quality signals around recent route changes."""
    quality.detect(now=timezone.now())


@shared_task(name="analytics.tasks.evaluate_experiments", ignore_result=True)
def evaluate_experiments() -> None:
    """Evaluate running experiments and those that ended lately."""
    experiments.evaluate_due(now=timezone.now())


@shared_task(name="analytics.tasks.deliver_telemetry", ignore_result=True)
def deliver_telemetry() -> None:
    """Send what waits for the customers' OpenTelemetry collectors."""
    deliveries.deliver(now=timezone.now())
