"""A canary: provider keys go through everything that a call can meet, and nothing keeps or tells them.

The one place that may hold them is the encrypted column, and the header that the provider is sent. What travels to
workers, ClickHouse and the ledger is the spool's segments, so what they hold is looked into here.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.apps import apps
from django.test import Client

from accounts.models import ProviderCredential, User
from accounts.provider_credentials import open_secret
from analytics.spool import read_segment
from config import observability
from gateway.context import ChatCall, Credentials, CredentialSnapshot, RequestKey
from gateway.draft import Draft
from gateway.provider_keys import _arranged
from gateway.providers.protocol import Endpoint
from gateway.providers.registry import Provider
from tests.factories.accounts import Cast
from tests.factories.calls import make_key
from tests.gateway.rig import (
    ANSWER,
    ASKED,
    STREAMED,
    WHOLE_STREAM,
    Script,
    ask,
    chunk,
    chunked,
    http,
    running,
)
from tests.gateway.test_upstream import read_request

Login = Callable[[User], Client]

_HOLDERS = (Endpoint, CredentialSnapshot, Credentials, RequestKey, Provider, ChatCall, Draft)

STORED, BROUGHT = "sk-proj-c4n4ry-of-the-customer-4711", "sk-proj-c4n4ry-of-the-request-0815"
TOLD = f"Incorrect API key provided: {STORED} or {BROUGHT}."
ECHO = orjson.dumps({"error": {"message": TOLD, "type": "invalid_request_error"}})
ERROR_EVENT = b"data: " + ECHO + b"\n\n"


def answering_all_ways() -> Script:
    """A provider that goes through its bad days, repeating the key that it was shown where it can."""
    answers = [
        http(200, orjson.dumps(ANSWER)),
        http(401, ECHO),
        http(400, ECHO),
        http(429, ECHO, "retry-after: 0"),
        http(500, ECHO),
        http(302, ECHO, f"location: https://elsewhere.example/?key={STORED}"),
        b"",
        b"garbage " + STORED.encode() + b"\r\n\r\n",
        http(200, b"not json " + STORED.encode()),
        chunked(*WHOLE_STREAM),
        chunked(chunk({"content": "Hel"}), ERROR_EVENT, ends=True),
        chunked(ERROR_EVENT),
        chunked(b"data: nonsense " + STORED.encode() + b"\n\n"),
        chunked(chunk({"content": "Hel"}), ends=False),
    ]
    turn = iter(answers * 8)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            answer = next(turn)
            if not answer:
                await asyncio.sleep(0.6)  # longer than the gateway's patience
            writer.write(answer)
            if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith((b"}", b"0\r\n\r\n")):
                return

    return script


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def logged(caplog: pytest.LogCaptureFixture) -> str:
    lines = [str(vars(record)) for record in caplog.records]
    lines += [formatter.format(record) for formatter in (observability.Text(),) for record in caplog.records]
    return "\n".join(lines)


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("asked", [ASKED, STREAMED], ids=["whole", "stream"])
async def test_no_ending_of_a_call_gives_a_key_away(
    tmp_path: Path, has_lane: bool, asked: dict[str, Any], everything_logged: pytest.LogCaptureFixture
) -> None:
    own = CredentialSnapshot("cred_1", "Main contract", "openai", STORED)
    lost = CredentialSnapshot("cred_2", "Inside", "lab", STORED, base_url="https://10.0.0.7/v1")
    key = make_key(credentials=_arranged([own, lost]), stores_content=True)
    beside = {"key": BROUGHT, "extra": "helicone-auth: Bearer kr_live_test\r\n"}
    seen: list[str] = []
    async with running(tmp_path, answering_all_ways(), has_lane=has_lane, key=key) as gateway:
        for number in range(28):
            seen += [str(reply) for reply in await ask(gateway, asked, **(beside if number % 2 else {}))]
        for body in (
            {**asked, "model": "lab/anything"},
            {**asked, "api_key": BROUGHT, "api_base": "https://evil.example"},
            {**asked, "providerOptions": {"gateway": {"byok": {"openai": [{"apiKey": BROUGHT}]}}}},
            {**asked, "providerOptions": {"gateway": {"byok": {"openai": BROUGHT}}}},
        ):
            seen += [str(reply) for reply in await ask(gateway, body)]
        gateway.state.recorder._writer.seal()
        segments = [read_segment(path.read_bytes()) for path in gateway.directory.glob("*.sealed")]
        content = [gateway.state.recorder._keyring.decrypt(line) for one in segments for line in one.lines("C")]
        kept = content + [line for segment in segments for kind in "RIF" for line in segment.lines(kind)]
        metrics = "\n".join(gateway.state.metrics.render())
        reprs = repr(gateway.state.snapshot.keys) + "".join(
            repr(found) for found in gc.get_objects() if type(found) in _HOLDERS
        )
        files = everything_below(tmp_path)

    assert len(kept) > 30
    assert "cred_1" in repr(kept), "the search looked at the records"
    assert "Main contract" in reprs, "the search looked at the objects"
    everything = "\n".join([*seen, repr(kept), metrics, reprs, repr(files), logged(everything_logged)])
    assert "c4n4ry" not in everything


@pytest.mark.django_db
def test_no_page_no_row_and_no_log_line_holds_a_key(
    cast: Cast, login: Login, settings: Any, everything_logged: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG = True  # Django logs SQL only then
    everything_logged.set_level(logging.DEBUG, logger="django.db.backends")
    settings.OUTBOUND_ALLOWED_HOSTS = "127.0.0.1"
    client = login(cast.alice)
    url = "/o/acme/provider-keys/"
    form = {"provider": "own", "name": "lab", "label": "Lab", "secret": STORED, "order": "0", "weight": "1"}
    seen = [
        client.post(f"{url}new/", {**form, **wrong})
        for wrong in ({"base_url": "https://10.0.0.1"}, {"weight": "x"}, {"name": "openai"}, {"secret": f"{STORED} x"})
    ]
    seen.append(client.post(f"{url}new/", {**form, "base_url": "http://127.0.0.1:9/v1"}, follow=True))
    credential = ProviderCredential.objects.get()
    own = f"{url}{credential.pk}"
    seen.append(client.post(f"{own}/test/", follow=True))
    seen.append(client.post(f"{own}/replace/", {"secret": f"{BROUGHT}\nx"}))
    seen.append(client.post(f"{own}/replace/", {"secret": BROUGHT}, follow=True))
    fields = {"label": "Lab", "base_url": "https://10.0.0.1", "order": "0", "weight": "1"}
    seen.append(client.post(f"{own}/change/", {f"{credential.pk}-{name}": value for name, value in fields.items()}))
    seen.append(client.get(f"{own}/nowhere/"))
    assert open_secret(ProviderCredential.objects.get()) == BROUGHT
    seen.append(client.get(url))
    dump = "\n".join(
        str(row) for model in apps.get_models(include_auto_created=True) for row in model._base_manager.values()
    )
    seen.append(client.post(f"{own}/delete/", follow=True))

    pages = "\n".join(f"{answer.headers} {answer.content.decode()}" for answer in seen)
    logs = logged(everything_logged)
    assert credential.pk in dump
    assert "INSERT" in logs, "the search looked at the SQL"
    for text in (pages, dump, logs, repr(credential), str(credential)):
        assert "c4n4ry" not in text
