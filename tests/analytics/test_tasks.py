from __future__ import annotations

import pytest

from analytics import tasks
from config.celery import app
from tests.factories import accounts


def test_the_beat_table_runs_both_jobs_and_they_exist():
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    for task in (tasks.detect_quality_changes, tasks.evaluate_experiments):
        assert task.name in scheduled
        assert app.tasks[task.name] is not None


@pytest.mark.django_db
def test_the_jobs_have_nothing_to_do_in_a_new_organization():
    accounts.make_organization("Acme")
    tasks.detect_quality_changes()
    tasks.evaluate_experiments()  # the log store is blocked here: asking it would fail the test
