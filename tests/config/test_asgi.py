"""Who answers which path, and what starts and stops with the process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from config import pages
from config.asgi import Application
from tests.config.asgi_client import call


def slow(request: HttpRequest) -> HttpResponse:
    """A page that keeps the interpreter busy, as a big table does."""
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        sum(range(1000))
    return HttpResponse("done")


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("kr_live_8f3kq2m9x7v4p1w6")


urlpatterns = [path("slow/", slow), path("broken/", broken)]


class DataPlane:
    """Stands where `gateway.asgi.application` stands, and notes what happens to it."""

    def __init__(self, *, failure: Exception | None = None) -> None:
        self.events: list[str] = []
        self._failure = failure

    async def startup(self) -> None:
        self.events.append("startup")
        if self._failure is not None:
            raise self._failure

    async def shutdown(self) -> None:
        self.events.append("shutdown")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.events.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"from the data plane"})


@pytest.fixture
def data_plane(monkeypatch: pytest.MonkeyPatch) -> DataPlane:
    return install(monkeypatch, DataPlane())


def install(monkeypatch: pytest.MonkeyPatch, found: DataPlane) -> DataPlane:
    monkeypatch.setattr("gateway.asgi.application", found)
    return found


def everything() -> Application:
    return Application(serves_data_plane=True, serves_pages=True, runs_worker=False)


async def lifespan(application: Application) -> list[str]:
    """Run a whole life of the process and return the messages that the server gets."""
    incoming = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> Mapping[str, Any]:
        return {"type": next(incoming)}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message["type"])

    await application({"type": "lifespan"}, receive, send)
    return sent


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/models", "/api/v1/chat/completions", "/v1/unknown", "/chat/completions"]
)
async def test_the_data_plane_answers_its_paths(data_plane: DataPlane, path: str) -> None:
    application = everything()
    await application.startup()

    answer = await call(application, path)

    assert (answer.body, data_plane.events) == (b"from the data plane", ["startup", path])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/accounts/login/", "/v1", "/api/platform/v1/schema", "/v10/x"])
async def test_every_other_path_belongs_to_django(data_plane: DataPlane, path: str) -> None:
    application = everything()
    await application.startup()

    answer = await call(application, path)

    assert data_plane.events == ["startup"]
    assert answer.headers["x-request-id"].startswith("page_")


async def test_a_process_of_the_data_plane_has_no_pages(data_plane: DataPlane) -> None:
    application = Application(serves_data_plane=True, serves_pages=False, runs_worker=False)
    await application.startup()

    answer = await call(application, "/accounts/login/")

    assert answer.status == 404


async def test_a_process_of_pages_does_not_start_the_data_plane(data_plane: DataPlane) -> None:
    application = Application(serves_data_plane=False, serves_pages=True, runs_worker=False)
    await application.startup()

    assert data_plane.events == []


async def test_the_data_plane_starts_and_stops_with_the_process(data_plane: DataPlane) -> None:
    sent = await lifespan(everything())

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert data_plane.events == ["startup", "shutdown"]


async def test_a_failed_start_is_told_to_the_server_without_its_details(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, DataPlane(failure=RuntimeError("no space left")))

    assert await lifespan(everything()) == ["lifespan.startup.failed"]


async def test_a_websocket_is_refused(data_plane: DataPlane) -> None:
    sent: list[Mapping[str, Any]] = []

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    await everything()({"type": "websocket", "path": "/v1/realtime"}, None, send)  # type: ignore[arg-type]

    assert sent == [{"type": "websocket.close", "code": 1008}]


@override_settings(ROOT_URLCONF=__name__)
async def test_the_data_plane_answers_while_pages_are_busy(data_plane: DataPlane) -> None:
    application = everything()
    await application.startup()
    busy = [asyncio.create_task(call(application, "/slow/")) for _ in range(2)]
    waits: list[float] = []
    while not all(task.done() for task in busy):
        await asyncio.sleep(0)
        started = time.perf_counter()
        await call(application, "/v1/models")
        waits.append(time.perf_counter() - started)

    assert [task.result().body for task in busy] == [b"done", b"done"]
    assert len(waits) > 50
    assert sorted(waits)[len(waits) // 2] < 0.02


@override_settings(ROOT_URLCONF=__name__)
async def test_a_burst_of_pages_waits_for_free_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[int] = [0, 0]

    class Counting:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            running[0] += 1
            running[1] = max(running)
            await asyncio.sleep(0)
            running[0] -= 1

    monkeypatch.setattr(pages, "ASGIHandler", Counting)
    application = pages.Pages()

    await asyncio.gather(*(call(application, "/x/") for _ in range(60)))

    assert running == [0, pages.MAX_AT_ONCE]


@override_settings(ROOT_URLCONF=__name__)
async def test_a_page_logs_one_line_with_its_id_and_without_its_query(caplog: pytest.LogCaptureFixture) -> None:
    application = pages.Pages()
    with caplog.at_level("INFO", logger="config.pages"):
        answer = await call(application, "/slow/")

    (record,) = [record for record in caplog.records if record.name == "config.pages"]
    facts = vars(record)
    assert (facts["method"], facts["path"], facts["status"]) == ("GET", "/slow/", 200)
    assert answer.headers["x-request-id"].startswith("page_")


@override_settings(ROOT_URLCONF=__name__, DEBUG=False)
async def test_a_page_that_breaks_shows_no_traceback() -> None:
    answer = await call(pages.Pages(), "/broken/")

    assert answer.status == 500
    assert b"RuntimeError" not in answer.body
    assert b"kr_live" not in answer.body


async def test_healthz_answers_before_the_data_plane_has_started() -> None:
    answer = await call(everything(), "/healthz")

    assert json.loads(answer.body) == {"status": "alive"}
