"""The webhooks page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import webhook_deliveries
from accounts.models import AuditEvent, User, WebhookDelivery, WebhookEndpoint
from tests.factories.accounts import Cast
from tests.fakes.receiver import Receiver, listening

Login = Callable[[User], Client]

LIST = "/o/acme/webhooks/"
ADD = "/o/acme/webhooks/new/"
ALLOWED = ("owner", "admin")
REFUSED = ("developer", "finance", "viewer")


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.OUTBOUND_ALLOWED_HOSTS = "127.0.0.1"
    with listening() as found:
        yield found


@pytest.fixture
def endpoint(cast: Cast, login: Login, receiver: Receiver) -> WebhookEndpoint:
    login(cast.alice).post(ADD, {"url": receiver.url, "event_types": ["budget.alert"]})
    return WebhookEndpoint.objects.get()


@pytest.mark.parametrize("role", ALLOWED)
def test_an_endpoint_is_added_and_its_secret_shown_once(
    cast: Cast, login: Login, receiver: Receiver, role: str
) -> None:
    client = login(cast.member(role))
    answer = client.post(ADD, {"url": receiver.url, "event_types": ["budget.alert", "api_key.created"]})
    assert answer.status_code == 200
    (secret,) = set(re.findall(r"whsec_[0-9a-f]{64}", answer.content.decode()))
    assert "no-store" in answer["Cache-Control"]
    page = client.get(LIST).content.decode()
    assert receiver.url in page
    assert secret not in page
    assert WebhookEndpoint.objects.get().event_types == ["api_key.created", "budget.alert"]


@pytest.mark.parametrize("role", REFUSED)
def test_other_roles_are_refused(cast: Cast, login: Login, role: str) -> None:
    client = login(cast.member(role))
    assert client.get(LIST).status_code == 403
    assert client.post(ADD, {"url": "https://example.com", "event_types": ["budget.alert"]}).status_code == 403


def test_strangers_and_the_anonymous_find_nothing(cast: Cast, login: Login) -> None:
    assert login(cast.charlie).get(LIST).status_code == 404
    assert Client().get(LIST).status_code == 302


@pytest.mark.parametrize(
    "data",
    [{}, {"url": "https://169.254.169.254/", "event_types": ["budget.alert"]}, {"url": "https://127.0.0.1/"}],
)
def test_bad_input_is_told(cast: Cast, login: Login, data: dict[str, object]) -> None:
    answer = login(cast.alice).post(ADD, data)
    assert answer.status_code == 400
    assert not WebhookEndpoint.objects.exists()


def test_the_wrong_method_is_refused(cast: Cast, login: Login) -> None:
    assert login(cast.alice).get(ADD).status_code == 405
    assert login(cast.alice).post(LIST).status_code == 405


def test_an_empty_page_says_what_to_do(cast: Cast, login: Login) -> None:
    assert "No webhooks yet" in login(cast.alice).get(LIST).content.decode()


def test_a_test_event_shows_in_the_log_and_can_be_sent_again(
    cast: Cast, login: Login, receiver: Receiver, endpoint: WebhookEndpoint
) -> None:
    client = login(cast.alice)
    client.post(f"/o/acme/webhooks/{endpoint.pk}/test/")
    assert "On its way" in client.get(LIST).content.decode()
    receiver.status = 500
    webhook_deliveries.deliver(now=timezone.now())
    page = client.get(LIST).content.decode()
    assert "Failing" in page
    assert "Next try" in page
    receiver.status = 200
    WebhookDelivery.objects.update(state="failed")
    client.post(f"/o/acme/webhooks/deliveries/{WebhookDelivery.objects.get().pk}/resend/")
    webhook_deliveries.deliver(now=timezone.now())
    assert "Delivered" in client.get(LIST).content.decode()


def test_an_endpoint_is_changed_rotated_paused_and_removed(
    cast: Cast, login: Login, receiver: Receiver, endpoint: WebhookEndpoint
) -> None:
    client = login(cast.alice)
    url = f"/o/acme/webhooks/{endpoint.pk}/"
    answer = client.post(
        url, {f"{endpoint.pk}-url": f"{receiver.url}/other", f"{endpoint.pk}-event_types": ["api_key.revoked"]}
    )
    assert answer.status_code == 302
    assert "whsec_" in client.post(f"{url}rotate/").content.decode()
    client.post(f"{url}pause/")
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.event_types) == (f"{receiver.url}/other", ["api_key.revoked"])
    assert not endpoint.is_enabled
    assert "Paused" in client.get(LIST).content.decode()
    client.post(f"{url}remove/")
    assert not WebhookEndpoint.objects.exists()
    actions = AuditEvent.objects.filter(action__startswith="webhook.").order_by("at").values_list("action", flat=True)
    assert list(actions) == ["webhook.add", "webhook.change", "webhook.rotate", "webhook.pause", "webhook.remove"]


def test_a_bad_change_is_told(cast: Cast, login: Login, endpoint: WebhookEndpoint) -> None:
    answer = login(cast.alice).post(f"/o/acme/webhooks/{endpoint.pk}/", {f"{endpoint.pk}-url": "nonsense"})
    assert answer.status_code == 400
    assert "The webhook was not changed" in answer.content.decode()
