"""The provider keys page, and the test of a connection against a server that answers as providers do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from accounts import provider_credentials
from accounts.models import AuditEvent, ProviderCredential, User
from gateway import connections
from tests.factories.accounts import Cast, make_provider_credential, make_workspace

Login = Callable[[User], Client]

LIST = "/o/acme/provider-keys/"
CREATE = f"{LIST}new/"
ACTIONS = ("change", "replace", "test", "switch", "delete")
SECRET = "sk-proj-c4n4ry-4711-abcdefgh"


def new(**values: Any) -> dict[str, Any]:
    return {"provider": "openai", "label": "Production", "secret": SECRET, "order": "0", "weight": "1", **values}


@pytest.fixture
def credential(cast: Cast) -> ProviderCredential:
    return make_provider_credential(cast.acme, label="Main contract", secret=SECRET)


def url(credential: ProviderCredential, action: str, slug: str = "acme") -> str:
    return f"/o/{slug}/provider-keys/{credential.pk}/{action}/"


def changes(credential: ProviderCredential, **values: Any) -> dict[str, Any]:
    fields = {"label": credential.label, "base_url": credential.base_url, "order": "0", "weight": "1", **values}
    return {f"{credential.pk}-{name}": value for name, value in fields.items()}


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_the_list_shows_what_a_key_is_for_and_never_the_key(
    cast: Cast, login: Login, credential: ProviderCredential, role: str
) -> None:
    page = login(cast.member(role)).get(LIST).content.decode()

    for part in ("Main contract", "OpenAI", "All workspaces", "The call fails", "In use", "never used", "…efgh"):
        assert part in page
    assert SECRET not in page


def test_an_empty_list_says_what_to_do(cast: Cast, login: Login) -> None:
    assert "No provider keys yet" in login(cast.alice).get(LIST).content.decode()


def test_the_list_has_nothing_of_another_organization(cast: Cast, login: Login) -> None:
    foreign = make_provider_credential(cast.other, label="Their contract")

    page = login(cast.alice).get(LIST).content.decode()

    assert "Their contract" not in page
    assert foreign.pk not in page


@pytest.mark.parametrize("role", ["developer", "finance", "viewer"])
def test_other_roles_are_refused(cast: Cast, login: Login, credential: ProviderCredential, role: str) -> None:
    client = login(cast.member(role))

    assert client.get(LIST).status_code == 403
    assert client.post(CREATE, new()).status_code == 403
    assert [client.post(url(credential, action)).status_code for action in ACTIONS] == [403] * len(ACTIONS)
    assert "Provider keys" not in client.get("/o/acme/members/").content.decode()


def test_an_anonymous_visitor_signs_in_first(cast: Cast, client: Client, credential: ProviderCredential) -> None:
    answers = [client.get(LIST), client.post(CREATE, new()), *(client.post(url(credential, one)) for one in ACTIONS)]

    assert {answer.status_code for answer in answers} == {302}
    assert all(answer["Location"].startswith("/accounts/login/") for answer in answers)


def test_a_stranger_finds_nothing(cast: Cast, login: Login, credential: ProviderCredential) -> None:
    client = login(cast.charlie)

    for action in ACTIONS:
        assert client.post(url(credential, action)).status_code == 404
        assert client.post(url(credential, action, slug="other")).status_code == 404
    assert ProviderCredential.objects.get() == credential


def test_pages_that_change_something_take_no_get(cast: Cast, login: Login, credential: ProviderCredential) -> None:
    client = login(cast.alice)

    assert client.get(CREATE).status_code == 405
    assert [client.get(url(credential, action)).status_code for action in ACTIONS] == [405] * len(ACTIONS)


def test_a_key_is_added_for_a_workspace(cast: Cast, login: Login) -> None:
    staging = make_workspace(cast.acme)

    answer = login(cast.alice).post(
        CREATE,
        new(workspace=staging.pk, model_names="openai/*\n\nopenai/gpt-5.4", weight="5", allows_managed_fallback="on"),
    )

    assert answer.status_code == 302
    made = ProviderCredential.objects.get()
    assert provider_credentials.open_secret(made) == SECRET
    assert (made.workspace, made.model_names, made.weight) == (staging, ["openai/*", "openai/gpt-5.4"], 5)
    assert (made.allows_managed_fallback, made.created_by) == (True, cast.alice)


def test_a_server_of_ones_own_has_a_name(cast: Cast, login: Login, settings: Any) -> None:
    settings.OUTBOUND_ALLOWED_HOSTS = "localhost"

    answer = login(cast.alice).post(
        CREATE, new(provider="own", name="My-VLLM", secret="", base_url="http://localhost:9/v1")
    )

    assert answer.status_code == 302
    assert ProviderCredential.objects.get().provider == "my-vllm"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"secret": ""}, "Paste the provider&#x27;s key."),
        ({"provider": "nobody"}, "Select a valid choice"),
        ({"provider": "own", "base_url": "https://8.8.8.8"}, "Give your server a name"),
        ({"provider": "own", "name": "openai", "base_url": "https://8.8.8.8"}, "That is a known provider"),
        ({"provider": "azure"}, "This provider has no address of its own"),
        ({"base_url": "https://169.254.169.254/v1"}, "not public"),
        ({"base_url": "http://8.8.8.8/v1"}, "must be reached by https"),
        ({"label": ""}, "This field is required"),
        ({"label": SECRET}, "The key stands in the label"),
        ({"weight": "0"}, "greater than or equal to 1"),
        ({"workspace": "ws_of_nobody"}, "Choose a workspace of this organization"),
    ],
)
def test_what_cannot_be_used_is_refused_and_the_key_is_not_sent_back(
    cast: Cast, login: Login, values: dict[str, str], message: str
) -> None:
    answer = login(cast.alice).post(CREATE, new(**values))

    page = answer.content.decode()
    assert answer.status_code == 400
    assert message in page
    assert values.get("label") == SECRET or SECRET not in page
    assert not ProviderCredential.objects.exists()


def test_another_address_clears_the_key_and_says_so(cast: Cast, login: Login, credential: ProviderCredential) -> None:
    client = login(cast.alice)

    page = client.post(url(credential, "change"), changes(credential, base_url="https://8.8.8.8/v1"), follow=True)

    assert "its key was cleared" in page.content.decode()
    assert "Needs its key" in page.content.decode()
    assert not ProviderCredential.objects.get().has_secret


def test_a_change_that_cannot_be_is_shown_at_its_field(
    cast: Cast, login: Login, credential: ProviderCredential
) -> None:
    make_provider_credential(cast.acme, label="Taken")
    client = login(cast.alice)

    taken = client.post(url(credential, "change"), changes(credential, label="Taken"))
    inside = client.post(url(credential, "change"), changes(credential, base_url="https://10.0.0.1"))

    assert (taken.status_code, inside.status_code) == (400, 400)
    assert "Another provider key has this label" in taken.content.decode()
    assert taken.content.decode().count(f'id="id_{credential.pk}-label"') == 1
    assert "not public" in inside.content.decode()
    credential.refresh_from_db()
    assert (credential.label, credential.base_url, credential.has_secret) == ("Main contract", "", True)


def test_a_key_is_replaced_switched_and_deleted(cast: Cast, login: Login, credential: ProviderCredential) -> None:
    client = login(cast.adam)

    client.post(url(credential, "replace"), {"secret": "sk-other-0815-xxxxyyyy"})
    assert provider_credentials.open_secret(ProviderCredential.objects.get()) == "sk-other-0815-xxxxyyyy"
    assert client.post(url(credential, "replace"), {"secret": "no good"}).status_code == 400
    assert client.post(url(credential, "switch"), {"is_enabled": "maybe"}).status_code == 400
    client.post(url(credential, "switch"), {"is_enabled": "0"})
    assert not ProviderCredential.objects.get().is_enabled
    client.post(url(credential, "switch"), {"is_enabled": "1"})
    assert ProviderCredential.objects.get().is_enabled
    client.post(url(credential, "delete"))
    assert not ProviderCredential.objects.exists()
    assert AuditEvent.objects.filter(actor_id=str(cast.adam.pk), action__startswith="provider_credential.").count() == 4


# -- the test of a connection


@pytest.fixture
def provider() -> Iterator[Callable[[bytes], tuple[int, list[bytes]]]]:
    """Return a function that starts a server which gives one answer, and keeps what it was asked."""
    servers: list[socket.socket] = []

    def start(answer: bytes) -> tuple[int, list[bytes]]:
        listening = socket.create_server(("127.0.0.1", 0))
        servers.append(listening)
        asked: list[bytes] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        asked.append(connection.recv(65536))
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return listening.getsockname()[1], asked

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def http(status: int, body: bytes = b"{}", *lines: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *lines])
    return head.encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("answer", "result", "message"),
    [
        (http(200, b'{"data":[{"id":"a"},{"id":"b"}]}'), "passed", "The provider lists 2 models."),
        (http(200, b"hello"), "passed", "The provider accepted the key."),
        (http(401, f'{{"error":"wrong key {SECRET}"}}'.encode()), "refused", "refused the key (status 401)"),
        (http(403), "refused", "status 403"),
        (http(402), "refused", "unpaid"),
        (http(429), "passed", "limit is reached"),
        (http(302, b"", f"location: http://127.0.0.1/?key={SECRET}"), "unreachable", "redirects elsewhere"),
        (http(404), "unreachable", "It ends where /chat/completions follows"),
        (http(500), "unreachable", "status 500"),
        (b"nonsense\r\n\r\n", "unreachable", "not HTTP"),
        (b"", "unreachable", "not HTTP"),
    ],
)
def test_a_test_says_in_words_what_the_provider_said(
    cast: Cast,
    login: Login,
    settings: Any,
    provider: Callable[[bytes], tuple[int, list[bytes]]],
    answer: bytes,
    result: str,
    message: str,
) -> None:
    port, asked = provider(answer)
    settings.OUTBOUND_ALLOWED_HOSTS = "127.0.0.1"
    credential = make_provider_credential(
        cast.acme, provider="lab", secret=SECRET, base_url=f"http://127.0.0.1:{port}/v1"
    )

    page = login(cast.alice).post(url(credential, "test"), follow=True).content.decode()

    credential.refresh_from_db()
    assert (credential.last_test_result, credential.last_tested_at is not None) == (result, True)
    assert message in credential.last_test_message
    assert SECRET not in page + credential.last_test_message
    assert asked[0].startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert f"authorization: Bearer {SECRET}".encode() in asked[0]


@pytest.mark.parametrize(
    ("name", "path", "header"),
    [
        ("anthropic", b"GET /v1/models ", b"x-api-key: sk-"),
        ("google", b"GET /v1beta/models ", b"x-goog-api-key: sk-"),
        ("azure", b"GET /openai/v1/models ", b"api-key: sk-"),
        ("openrouter", b"GET /api/v1/key ", b"authorization: Bearer sk-"),
    ],
)
def test_each_provider_is_asked_in_its_own_way(
    cast: Cast,
    settings: Any,
    provider: Callable[[bytes], tuple[int, list[bytes]]],
    name: str,
    path: bytes,
    header: bytes,
) -> None:
    port, asked = provider(http(200))
    settings.OUTBOUND_ALLOWED_HOSTS = "127.0.0.1"
    credential = make_provider_credential(cast.acme, provider=name, secret=SECRET, base_url=f"http://127.0.0.1:{port}")

    assert connections.probe(credential).has_passed
    assert asked[0].startswith(path)
    assert header in asked[0]


def test_an_address_that_may_not_be_reached_any_more_gets_no_key(
    cast: Cast, settings: Any, provider: Callable[[bytes], tuple[int, list[bytes]]]
) -> None:
    port, asked = provider(http(200))
    settings.OUTBOUND_ALLOWED_HOSTS = "127.0.0.1"
    credential = make_provider_credential(
        cast.acme, provider="lab", secret=SECRET, base_url=f"http://127.0.0.1:{port}/v1"
    )
    settings.OUTBOUND_ALLOWED_HOSTS = ""

    outcome = connections.probe(credential)

    assert (outcome.result, asked) == ("unreachable", [])
    assert "must be reached by https" in outcome.message


def test_a_provider_that_the_operator_wired_in_is_reached_there(
    cast: Cast, settings: Any, provider: Callable[[bytes], tuple[int, list[bytes]]], credential: ProviderCredential
) -> None:
    port, asked = provider(http(200))
    settings.PROVIDER_SETTINGS = {
        "KAIROS_PROVIDER_OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "KAIROS_PROVIDER_OPENAI_API_KEY": "sk-operator",
    }

    assert connections.probe(credential).has_passed
    assert SECRET.encode() in asked[0]
    assert b"sk-operator" not in asked[0]


def test_a_cleared_key_is_not_tried(cast: Cast, credential: ProviderCredential) -> None:
    credential.envelope = b""

    assert connections.probe(credential).message == "This provider key has no secret any more. Replace it."
