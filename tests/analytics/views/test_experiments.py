from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts import audit
from accounts.models import User
from analytics import evaluation, experiments
from analytics.models import Experiment, ExperimentEvaluation, RouteChange
from analytics.queries.experiments import Arm, Exposure
from analytics.statistics.moments import RatioSample
from tests.factories.accounts import Cast

Login = Callable[[User], Client]
NOW = dt.datetime(2026, 11, 18, 12, 0, tzinfo=dt.UTC)


def make_experiment(cast: Cast, *, is_running: bool = True, **fields: Any) -> Experiment:
    values: dict[str, Any] = {
        "name": "Haiku for replies",
        "question": "Does it answer as well?",
        "task_type": "",
        "unit": "session",
        "control_model": "openai/gpt-5.4",
        "treatment_model": "anthropic/claude-haiku-4-5",
        "treatment_share": 0.5,
        "primary_metric": "success",
        "created_by": cast.bob,
        "actor": audit.SYSTEM,
        "now": NOW,
    }
    experiment = experiments.create(workspace=cast.acme.workspaces.get(), **(values | fields))
    return experiments.start(experiment=experiment, actor=audit.SYSTEM, now=NOW) if is_running else experiment


def evaluated(
    experiment: Experiment, *, hits: tuple[int, int] = (900, 800), units: tuple[int, int] = (1000, 1000)
) -> Experiment:
    arms = tuple(
        Arm(name, False, n, n + 7, 7, {"success": RatioSample.of([(1, 1)] * good + [(0, 1)] * (n - good))})
        for name, n, good in zip((evaluation.CONTROL, evaluation.TREATMENT), units, hits, strict=True)
    )
    found = evaluation.judge(
        Exposure(arms, 0), treatment_share=experiment.treatment_share, primary_metric=experiment.primary_metric
    )
    ExperimentEvaluation.objects.create(
        experiment=experiment, result=experiments._stored(found), verdict=found.verdict, computed_at=NOW
    )
    return experiment


def page_of(client: Client, experiment: Experiment) -> str:
    url = reverse("experiment", args=[experiment.organization.slug, experiment.pk])
    return client.get(url, follow=True).content.decode()


def test_the_detail_shows_verdict_split_numbers_and_interval(cast: Cast, login: Login):
    page = page_of(login(cast.victor), evaluated(make_experiment(cast)))
    for words in ("Keep the control", "As planned", "90.0%", "80.0%", "\u221210.0 points", "Success rate", "decides"):
        assert words in page
    assert "1,007" in page  # calls of an arm
    assert 'class="interval"' in page
    assert "arm=treatment" in page


@pytest.mark.parametrize(
    ("hits", "units", "words"),
    [
        ((800, 900), (1000, 1000), "Ship it"),
        ((900, 900), (1000, 1000), "more calls would show one that matters"),
        ((10, 10), (20, 20), "About 216 more calls"),
        ((90000, 90000), (100000, 100000), "do not differ by success rate in a way that matters"),
        ((900, 700), (1000, 800), "The arms did not get their shares"),
    ],
)
def test_the_verdict_says_in_words_what_to_do(
    cast: Cast, login: Login, hits: tuple[int, int], units: tuple[int, int], words: str
):
    assert words in page_of(login(cast.victor), evaluated(make_experiment(cast), hits=hits, units=units))


def test_a_win_says_which_guardrails_are_not_clear_yet(cast: Cast, login: Login):
    experiment = make_experiment(cast, primary_metric="cost")
    arms = tuple(
        Arm(
            name,
            False,
            200,
            200,
            0,
            {
                "cost": RatioSample.of([(cost + n % 7, 1) for n in range(200)]),
                "success": RatioSample.of([(int(n >= 20), 1) for n in range(200)]),
            },
        )
        for name, cost in ((evaluation.CONTROL, 2000), (evaluation.TREATMENT, 1000))
    )
    found = evaluation.judge(Exposure(arms, 0), treatment_share=0.5, primary_metric="cost")
    ExperimentEvaluation.objects.create(
        experiment=experiment, result=experiments._stored(found), verdict=found.verdict, computed_at=NOW
    )
    page = page_of(login(cast.victor), experiment)
    assert "Ship it. Not clear yet: success rate (about" in page


def test_the_csv_holds_the_metrics_unrounded(cast: Cast, login: Login):
    experiment = evaluated(make_experiment(cast))
    answer = login(cast.victor).get(reverse("experiment_csv", args=[cast.acme.slug, experiment.pk]))
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))}
    assert rows.keys() == {metric.name for metric in evaluation.METRICS}
    assert float(rows["success"]["value"]) == pytest.approx(-0.1)
    assert rows["cost"]["value"] == ""  # no priced calls


def test_the_list_shows_running_ones_first(cast: Cast, login: Login):
    make_experiment(cast, is_running=False, name="A draft")
    evaluated(make_experiment(cast, name="A running one"))
    page = login(cast.victor).get(reverse("experiments", args=[cast.acme.slug])).content.decode()
    assert page.index("A running one") < page.index("A draft")
    assert "Keep the control" in page


def test_without_experiments_the_page_says_what_to_do(cast: Cast, login: Login):
    url = reverse("experiments", args=[cast.acme.slug])
    assert reverse("experiment_new", args=[cast.acme.slug]) in login(cast.bob).get(url).content.decode()
    page = login(cast.victor).get(url).content.decode()
    assert "No experiments yet" in page
    assert reverse("experiment_new", args=[cast.acme.slug]) not in page


def test_a_developer_starts_and_stops_an_experiment(cast: Cast, login: Login):
    experiment = make_experiment(cast, is_running=False)
    client = login(cast.bob)
    answer = client.post(reverse("experiment_start", args=[cast.acme.slug, experiment.pk]), follow=True)
    assert "Haiku for replies” runs" in answer.content.decode()
    assert Experiment.objects.get().state == Experiment.State.RUNNING
    answer = client.post(reverse("experiment_stop", args=[cast.acme.slug, experiment.pk]), follow=True)
    assert "is stopped" in answer.content.decode()
    assert RouteChange.objects.get().changed_by == cast.bob


def test_what_cannot_be_started_or_stopped_says_why(cast: Cast, login: Login):
    experiment = make_experiment(cast)
    client = login(cast.bob)
    again = client.post(reverse("experiment_start", args=[cast.acme.slug, experiment.pk]), follow=True)
    assert "Only a draft can be started" in again.content.decode()
    client.post(reverse("experiment_stop", args=[cast.acme.slug, experiment.pk]))
    again = client.post(reverse("experiment_stop", args=[cast.acme.slug, experiment.pk]), follow=True)
    assert "Only a running experiment can be stopped" in again.content.decode()


def test_a_draft_and_a_fresh_start_say_what_happens_next(cast: Cast, login: Login):
    assert "This is a draft" in page_of(login(cast.victor), make_experiment(cast, is_running=False))
    assert "first evaluation comes" in page_of(login(cast.victor), make_experiment(cast))


def test_visitors_strangers_and_wrong_roles_stay_out(cast: Cast, login: Login):
    experiment = make_experiment(cast)
    reading = [
        reverse("experiments", args=[cast.acme.slug]),
        reverse("experiment", args=[cast.acme.slug, experiment.pk]),
        reverse("experiment_csv", args=[cast.acme.slug, experiment.pk]),
    ]
    acting = [reverse(f"experiment_{name}", args=[cast.acme.slug, experiment.pk]) for name in ("start", "stop")]
    for url in reading:
        assert Client().get(url).status_code == 302
        assert login(cast.charlie).get(url).status_code == 404
        assert login(cast.finn).get(url).status_code == 403
        assert login(cast.alice).post(url).status_code == 405
    for url in acting:
        assert Client().post(url).status_code == 302
        assert login(cast.charlie).post(url).status_code == 404
        assert login(cast.victor).post(url).status_code == 403
        assert login(cast.bob).get(url).status_code == 405
    assert Experiment.objects.get().state == Experiment.State.RUNNING


def test_another_organizations_experiment_is_not_found(cast: Cast, login: Login):
    experiment = make_experiment(cast)
    client = login(cast.charlie)
    assert client.get(reverse("experiment", args=[cast.other.slug, experiment.pk])).status_code == 404
    assert client.post(reverse("experiment_stop", args=[cast.other.slug, experiment.pk])).status_code == 404
    assert Experiment.objects.get().state == Experiment.State.RUNNING
