"""The integrations page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from analytics.models import Collector
from tests.factories.accounts import Cast
from tests.fakes.receiver import Receiver, listening

Login = Callable[[User], Client]

LIST = "/o/acme/integrations/"
ADD = "/o/acme/integrations/collectors/new/"
SECRET = "Authorization: Bearer canary-7f3a"


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.OUTBOUND_ALLOWED_HOSTS = "127.0.0.1"
    with listening() as found:
        yield found


def values(receiver: Receiver, prefix: str = "", **fields: str) -> dict[str, str]:
    given = {"endpoint": receiver.url, "headers": SECRET, "sends_traces": "on", "sample_percent": "50", **fields}
    return {f"{prefix}{name}": value for name, value in given.items()}


@pytest.fixture
def collector(cast: Cast, login: Login, receiver: Receiver) -> Collector:
    assert login(cast.alice).post(ADD, values(receiver)).status_code == 302
    return Collector.objects.get()


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_a_collector_is_added_and_its_headers_never_shown(
    cast: Cast, login: Login, receiver: Receiver, role: str
) -> None:
    client = login(cast.member(role))
    client.post(ADD, values(receiver))
    page = client.get(LIST).content.decode()
    assert receiver.url in page
    assert "Traces, 50% of traces" in page
    assert "Waits for calls" in page
    assert "Authorization" in page
    assert "canary" not in page


@pytest.mark.parametrize("role", ["developer", "finance", "viewer"])
def test_other_roles_are_refused(cast: Cast, login: Login, role: str) -> None:
    assert login(cast.member(role)).get(LIST).status_code == 403


def test_strangers_and_the_anonymous_find_nothing(cast: Cast, login: Login) -> None:
    assert login(cast.charlie).get(LIST).status_code == 404
    assert Client().get(LIST).status_code == 302


def test_an_empty_page_says_what_to_do(cast: Cast, login: Login) -> None:
    assert "No collector yet" in login(cast.alice).get(LIST).content.decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"endpoint": "https://10.0.0.1"},
        {"endpoint": ""},
        {"headers": "nonsense canary"},
        {"sends_traces": ""},
        {"sample_percent": "0"},
        {"workspace": "ws_of_somebody_else"},
    ],
)
def test_bad_input_is_told(cast: Cast, login: Login, receiver: Receiver, fields: dict[str, str]) -> None:
    data = {name: value for name, value in values(receiver, **fields).items() if value}
    assert login(cast.alice).post(ADD, data).status_code == 400
    assert not Collector.objects.exists()


def test_the_wrong_method_is_refused(cast: Cast, login: Login) -> None:
    assert login(cast.alice).get(ADD).status_code == 405
    assert login(cast.alice).post(LIST).status_code == 405


def test_a_collector_that_fails_says_since_when_and_why(cast: Cast, login: Login, collector: Collector) -> None:
    Collector.objects.update(
        failing_since_at=timezone.now() - dt.timedelta(hours=2), failure="The collector answered 401 to /v1/traces."
    )
    page = login(cast.alice).get(LIST).content.decode()
    assert "fails since" in page
    assert "answered 401" in page
    assert "Failing" in page


def test_the_test_button_tells_what_came_of_it(
    cast: Cast, login: Login, receiver: Receiver, collector: Collector
) -> None:
    client = login(cast.alice)
    test = f"/o/acme/integrations/collectors/{collector.pk}/test/"
    assert "The collector took the test" in client.post(test, follow=True).content.decode()
    assert receiver.received[0].headers["authorization"] == "Bearer canary-7f3a"
    receiver.status = 404
    assert "The test did not arrive" in client.post(test, follow=True).content.decode()


def test_a_collector_is_changed_paused_and_removed(
    cast: Cast, login: Login, receiver: Receiver, collector: Collector
) -> None:
    client = login(cast.alice)
    url = f"/o/acme/integrations/collectors/{collector.pk}/"
    changed = values(receiver, f"{collector.pk}-", headers="", sends_metrics="on")
    assert client.post(url, changed).status_code == 302
    client.post(f"{url}pause/")
    collector.refresh_from_db()
    assert collector.sends_metrics
    assert collector.header_names == ["Authorization"]
    assert not collector.is_enabled
    assert client.post(url, values(receiver, f"{collector.pk}-", endpoint="https://10.1.1.1")).status_code == 400
    client.post(f"{url}remove/")
    assert not Collector.objects.exists()
