"""Calls that go out with the customer's own provider keys: through a real server, the ASGI way and the lane alike."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.context import CredentialSnapshot, KeySnapshot
from gateway.provider_keys import _arranged
from tests.factories.calls import make_key
from tests.gateway.rig import ANSWER, ASKED, STREAMED, WHOLE_STREAM, Script, ask, chunked, http, read_reply, running
from tests.gateway.test_upstream import read_request

OK = http(200, orjson.dumps(ANSWER))
REFUSED = http(401, b'{"error":{"message":"Incorrect API key provided: sk-own-c4n4ry-one. Try another."}}')
COST_NANOUSD = 18_000  # 60 tokens at 0.15, 40 cached at 0.075 and 10 at 0.60 dollars a million


def held(credential_id: str = "cred_1", **values: Any) -> CredentialSnapshot:
    fields: dict[str, Any] = {"label": "Main contract", "provider": "openai", "api_key": "sk-own-c4n4ry-one", **values}
    return CredentialSnapshot(credential_id=credential_id, **fields)


def owner(*own: CredentialSnapshot, **values: Any) -> KeySnapshot:
    return make_key(credentials=_arranged(own), **values)


def provider(answers: Callable[[str], bytes]) -> tuple[Script, list[str]]:
    """Return a provider that answers by the key it is shown, and the keys that it was shown."""
    shown: list[str] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await read_request(reader)
            key = next(line[22:] for line in head.decode().split("\r\n") if line.startswith("authorization: Bearer "))
            shown.append(key)
            writer.write(answers(key))

    return script, shown


async def test_a_call_goes_out_with_the_customers_key_at_no_fee(tmp_path: Path, has_lane: bool) -> None:
    script, shown = provider(lambda key: OK)
    async with running(tmp_path, script, has_lane=has_lane, key=owner(held())) as gateway:
        replies = await ask(gateway, ASKED, times=3)
        records = gateway.records()

    assert shown == ["sk-own-c4n4ry-one"] * 3
    for reply, record in zip(replies, records, strict=True):
        body = reply.json()
        assert (body["usage"]["cost"], body["usage"]["is_byok"]) == (0.000018, True)
        receipt = body["x_kairosroute"]
        assert (receipt["provider_cost_usd"], receipt["billed_usd"], receipt["key_source"]) == (0.000018, 0.0, "byok")
        assert (record.provider_cost_nanousd, record.billed_nanousd) == (COST_NANOUSD, 0)
        assert (record.key_source, record.credential_id) == ("byok", "cred_1")


async def test_openrouters_clients_read_what_is_charged_here_and_the_truth_beside_it(tmp_path: Path) -> None:
    script, _ = provider(lambda key: OK)
    async with running(tmp_path, script, has_lane=False, key=owner(held())) as gateway:
        (reply,) = await ask(gateway, ASKED, path="/api/v1/chat/completions")

    usage = reply.json()["usage"]
    assert (usage["cost"], usage["is_byok"]) == (0.0, True)
    assert usage["cost_details"]["upstream_inference_cost"] == 0.000018
    assert reply.json()["x_kairosroute"]["billed_usd"] == 0.0


async def test_a_streams_money_is_the_same(tmp_path: Path, has_lane: bool) -> None:
    script, _ = provider(lambda key: chunked(*WHOLE_STREAM))
    async with running(tmp_path, script, has_lane=has_lane, key=owner(held())) as gateway:
        replies = await ask(gateway, STREAMED, times=2)
        records = gateway.records()

    for reply, record in zip(replies, records, strict=True):
        assert reply.events()[-1]["usage"]["is_byok"] is True
        assert (record.provider_cost_nanousd, record.billed_nanousd, record.key_source) == (COST_NANOUSD, 0, "byok")


async def test_tenants_that_call_the_same_model_never_use_each_others_keys(tmp_path: Path, has_lane: bool) -> None:
    script, shown = provider(lambda key: OK)
    tenants = {
        "kr_live_one": owner(held("cred_1", api_key="sk-of-one"), organization_id="org_1"),
        "kr_live_two": owner(held("cred_2", api_key="sk-of-two"), organization_id="org_2"),
        "kr_live_none": make_key(organization_id="org_3"),
    }
    expected = {"kr_live_one": "sk-of-one", "kr_live_two": "sk-of-two", "kr_live_none": "sk-secret"}
    turns = [*tenants] * 4 + [*reversed(tenants)] * 4
    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        for text, key in tenants.items():
            gateway.state.snapshot.keys[hashlib.sha256(text.encode()).digest()] = key
        for text in turns:
            (reply,) = await ask(gateway, ASKED, key=text)
            assert reply.status == 200
        records = gateway.records()

    assert shown == [expected[text] for text in turns]
    by_owner = {(record.organization_id, record.key_source, record.credential_id) for record in records}
    assert by_owner == {("org_1", "byok", "cred_1"), ("org_2", "byok", "cred_2"), ("org_3", "managed", "")}


async def test_a_key_that_changed_is_not_remembered(tmp_path: Path, has_lane: bool) -> None:
    script, shown = provider(lambda key: OK)
    async with running(tmp_path, script, has_lane=has_lane, key=owner(held(api_key="sk-first"))) as gateway:
        await ask(gateway, ASKED, times=2)
        for digest, key in gateway.state.snapshot.keys.items():
            gateway.state.snapshot.keys[digest] = replace(key, credentials=_arranged([held(api_key="sk-second")]))
        await ask(gateway, ASKED, times=2)

    assert shown == ["sk-first", "sk-first", "sk-second", "sk-second"]


@pytest.mark.parametrize("asked", [ASKED, STREAMED], ids=["whole", "stream"])
async def test_a_refused_key_is_named_and_nobody_elses_is_tried(
    tmp_path: Path, has_lane: bool, asked: dict[str, Any]
) -> None:
    script, shown = provider(lambda key: REFUSED)
    async with running(tmp_path, script, has_lane=has_lane, key=owner(held())) as gateway:
        (reply,) = await ask(gateway, asked)
        records = gateway.records()

    error = reply.json()["error"]
    assert reply.status == 401
    assert error["message"] == "openai refused your provider key “Main contract”."
    assert "c4n4ry" not in reply.body.decode() + str(reply.headers)
    assert shown == ["sk-own-c4n4ry-one"]
    assert (records[0].http_status, records[0].error_class, records[0].billed_nanousd) == (401, "UpstreamKeyRefused", 0)


async def test_the_next_key_is_tried_and_the_operators_only_where_all_allow_it(tmp_path: Path, has_lane: bool) -> None:
    script, shown = provider(lambda key: OK if key == "sk-secret" else REFUSED)
    own = [held(f"cred_{n}", api_key=f"sk-own-{n}", order=n, allows_managed_fallback=True) for n in (1, 2)]
    async with running(tmp_path, script, has_lane=has_lane, key=owner(*own)) as gateway:
        (reply,) = await ask(gateway, ASKED)
        records = gateway.records()

    assert shown == ["sk-own-1", "sk-own-2", "sk-secret"]
    assert (reply.status, reply.json()["usage"]["is_byok"]) == (200, False)
    record = records[0]
    assert (record.key_source, record.billed_nanousd, record.attempts) == ("managed", COST_NANOUSD, 3)
    assert record.credential_id == "cred_1"  # whose call it took over: the alert on the first use reads it
    attempts = orjson.loads(record.receipt)["attempts"]
    assert [attempt["key_source"] for attempt in attempts] == ["byok", "byok", "managed"]


HELICONE = "helicone-auth: Bearer kr_live_test\r\n"
PORTKEY = "x-portkey-api-key: kr_live_test\r\nx-portkey-provider: openai\r\n"
OWN = "sk-of-the-request-c4n4ry"


LITELLM = "x-litellm-api-key: kr_live_test\r\n"


@pytest.mark.parametrize("extra", [HELICONE, PORTKEY, LITELLM], ids=["helicone", "portkey", "litellm"])
async def test_a_key_that_comes_with_the_call_is_used_for_it_alone(tmp_path: Path, has_lane: bool, extra: str) -> None:
    script, shown = provider(lambda key: OK)
    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        (with_it,) = await ask(gateway, ASKED, key=OWN, extra=extra)
        await ask(gateway, ASKED)
        records = gateway.records()

    assert shown == [OWN, "sk-secret"]
    assert with_it.json()["x_kairosroute"]["key_source"] == "byok"
    assert [(record.key_source, record.credential_id) for record in records] == [("byok", "request"), ("managed", "")]
    assert records[0].billed_nanousd == 0
    assert b"c4n4ry" not in b"".join(path.read_bytes() for path in gateway.directory.glob("*"))


async def test_a_key_that_fits_no_provider_is_refused_rather_than_shown_around(tmp_path: Path) -> None:
    script, shown = provider(lambda key: OK)
    async with running(tmp_path, script, has_lane=False) as gateway:
        (reply,) = await ask(gateway, ASKED, key="sk-ant-c4n4ry-of-anthropic", extra=HELICONE)

    assert (reply.status, reply.json()["error"]["code"], shown) == (400, "provider_key_not_usable", [])
    assert b"c4n4ry" not in reply.body


async def test_vercels_keys_are_used_and_neither_sent_on_nor_stored(tmp_path: Path) -> None:
    bodies: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await read_request(reader)
        bodies.append(head + body)
        writer.write(OK)

    asked = {**ASKED, "providerOptions": {"gateway": {"byok": {"openai": [{"apiKey": OWN}]}}}}
    key = make_key(stores_content=True)
    async with running(tmp_path, script, has_lane=False, key=key) as gateway:
        (reply,) = await ask(gateway, asked)
        records = gateway.records()

    assert (reply.status, records[0].credential_id) == (200, "request")
    assert f"authorization: Bearer {OWN}".encode() in bodies[0]
    assert bodies[0].count(OWN.encode()) == 1


@pytest.mark.parametrize("field", ["api_base", "base_url"])
async def test_a_request_cannot_say_where_a_provider_is(tmp_path: Path, has_lane: bool, field: str) -> None:
    script, shown = provider(lambda key: OK)
    asked = {**ASKED, field: "http://127.0.0.1:9/v1", "api_key": OWN}
    async with running(tmp_path, script, has_lane=has_lane, key=owner(held())) as gateway:
        (reply,) = await ask(gateway, asked)
        records = gateway.records()

    assert (reply.status, shown) == (200, ["sk-own-c4n4ry-one"])
    assert orjson.loads(records[0].receipt)["not_applied"] == [field, "api_key"]


async def test_a_key_that_cannot_be_used_is_named_where_nothing_else_serves(tmp_path: Path) -> None:
    script, shown = provider(lambda key: OK)
    key = owner(held(label="Moved away", api_key="", is_usable=False))
    async with running(tmp_path, script, has_lane=False, key=key) as gateway:
        (reply,) = await ask(gateway, ASKED)

    assert (reply.status, shown) == (503, [])
    assert "Of your provider keys, “Moved away” cannot be used" in reply.json()["error"]["message"]


async def test_models_of_a_provider_that_only_the_customer_has_are_listed(tmp_path: Path) -> None:
    script, _ = provider(lambda key: OK)
    own = held(provider="groq", api_key="gsk_own")
    listed = {}
    for name, key in {"with": owner(own), "without": make_key()}.items():
        async with running(tmp_path / name, script, has_lane=False, key=key) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer kr_live_test\r\n\r\n")
            listed[name] = {model["id"] for model in (await read_reply(reader)).json()["data"]}
            writer.close()

    assert {name.split("/")[0] for name in listed["with"] - listed["without"]} == {"groq"}
