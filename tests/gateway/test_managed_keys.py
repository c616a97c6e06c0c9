"""Keys managed by program: `/v1/keys` over a real gateway and a real database."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import orjson
import pytest

from accounts import api_keys, audit, memberships, webhooks
from accounts.models import ApiKey, AuditEvent, Membership, Organization
from analytics import stored_records
from billing import ledger
from gateway.models import Limit
from tests.factories.accounts import make_api_key, make_membership, make_organization, make_workspace
from tests.factories.records import make_record
from tests.gateway.rig import ANSWER, Reply, Running, answering, http, in_thread, read_reply, running

NOW = dt.datetime.now(dt.UTC)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme() -> Organization:
    return make_organization("Acme")


@pytest.fixture
def manager(acme: Organization) -> str:
    """A management key, made by a developer."""
    return make_manager(acme)


def make_manager(organization: Organization, *, role: str = "developer", mode: Any = "live") -> str:
    member = make_membership(organization, role=role)
    return api_keys.create(
        workspace=organization.workspaces.order_by("created_at").first(),
        name="provisioning",
        mode=mode,
        scopes=("keys",),
        created_by=member.user,
        actor=audit.SYSTEM,
        now=NOW,
    ).key


async def send(
    gateway: Running, method: str, path: str, *, key: str, body: dict[str, Any] | bytes | None = None
) -> Reply:
    raw = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(raw)}\r\n\r\n"
    writer.write(head.encode() + raw)
    try:
        return await asyncio.wait_for(read_reply(reader), 10)
    finally:
        writer.close()


def serving(tmp_path: Path) -> Any:
    return running(tmp_path, answering(http(200, orjson.dumps(ANSWER))), has_lane=False)


async def test_a_key_is_made_shown_once_changed_and_revoked(tmp_path: Path, manager: str) -> None:
    async with serving(tmp_path) as gateway:
        made = await send(gateway, "POST", "/api/v1/keys", key=manager, body={"name": "agent 7", "limit": 25})
        assert made.status == 201
        key, shown = made.json()["key"], made.json()["data"]
        assert key.startswith("kr_live_")
        assert (shown["name"], shown["limit"], shown["limit_remaining"], shown["disabled"]) == (
            "agent 7",
            25,
            25,
            False,
        )
        used = await send(gateway, "GET", "/v1/models", key=key)
        assert used.status == 200
        one = await send(gateway, "GET", f"/v1/keys/{shown['hash']}", key=manager)
        assert one.json()["data"]["label"] == shown["label"]
        assert key not in one.body.decode()
        changed = await send(
            gateway,
            "PATCH",
            f"/v1/keys/{shown['hash']}",
            key=manager,
            body={"name": "agent 8", "disabled": True, "limit": 5, "limit_reset": "monthly"},
        )
        data = changed.json()["data"]
        assert (data["name"], data["disabled"], data["limit"], data["limit_reset"]) == ("agent 8", True, 5, "monthly")
        await in_thread(gateway.state.snapshot.refresh)
        assert (await send(gateway, "GET", "/v1/models", key=key)).status == 401
        await send(gateway, "PATCH", f"/v1/keys/{shown['hash']}", key=manager, body={"disabled": False})
        await in_thread(gateway.state.snapshot.refresh)
        assert (await send(gateway, "GET", "/v1/models", key=key)).status == 200
        gone = await send(gateway, "DELETE", f"/v1/keys/{shown['hash']}", key=manager)
        assert gone.json() == {"deleted": True}
        await in_thread(gateway.state.snapshot.refresh)
        assert (await send(gateway, "GET", "/v1/models", key=key)).status == 401


async def test_what_happened_is_in_the_audit_trail_with_the_key_that_did_it(tmp_path: Path, manager: str) -> None:
    async with serving(tmp_path) as gateway:
        made = await send(gateway, "POST", "/v1/keys", key=manager, body={"name": "a", "limit": 1})
        await send(gateway, "DELETE", f"/v1/keys/{made.json()['data']['hash']}", key=manager)

    def trail() -> list[tuple[str, str]]:
        return list(
            AuditEvent.objects.filter(actor_kind="api_key").order_by("at", "pk").values_list("action", "actor_label")
        )

    events = await in_thread(trail)
    assert sorted(action for action, _ in events) == ["api_key.create", "api_key.limit", "api_key.revoke"]
    assert all(label.startswith("provisioning") for _, label in events)


async def test_keys_of_another_workspace_are_not_found(tmp_path: Path, acme: Organization, manager: str) -> None:
    def others() -> list[str]:
        return [
            make_api_key(make_organization("Other")).api_key.pk,
            make_api_key(make_workspace(acme, "Staging")).api_key.pk,
        ]

    foreign = await in_thread(others)
    async with serving(tmp_path) as gateway:
        for key_id in foreign:
            for method, body in (("GET", None), ("PATCH", {"disabled": True}), ("DELETE", None)):
                answer = await send(gateway, method, f"/v1/keys/{key_id}", key=manager, body=body)
                assert answer.status == 404, method
        listed = await send(gateway, "GET", "/v1/keys", key=manager)
        assert not {one["hash"] for one in listed.json()["data"]} & set(foreign)
        elsewhere = await send(gateway, "POST", "/v1/keys", key=manager, body={"name": "x", "workspace_id": "ws_other"})
        assert elsewhere.status == 404


async def test_a_test_key_manages_test_keys_only(tmp_path: Path, acme: Organization) -> None:
    """Test keys are handed out lightly: one must not reach what spends money."""

    def prepare() -> tuple[str, ApiKey]:
        return make_manager(acme, mode="test"), make_api_key(acme).api_key

    trying, live = await in_thread(prepare)
    async with serving(tmp_path) as gateway:
        for method, body in (("GET", None), ("PATCH", {"disabled": True}), ("PATCH", {"limit": 9}), ("DELETE", None)):
            answer = await send(gateway, method, f"/v1/keys/{live.pk}", key=trying, body=body)
            assert answer.status == 404
        made = (await send(gateway, "POST", "/v1/keys", key=trying, body={"name": "x"})).json()
        listed = (await send(gateway, "GET", "/v1/keys", key=trying)).json()["data"]
    assert made["key"].startswith("kr_test_")
    assert live.pk not in {one["hash"] for one in listed}
    assert made["data"]["hash"] in {one["hash"] for one in listed}


async def test_only_a_key_with_the_scope_may(tmp_path: Path, acme: Organization) -> None:
    plain = await in_thread(lambda: make_api_key(acme).key)  # every scope, but not this one
    async with serving(tmp_path) as gateway:
        answer = await send(gateway, "GET", "/v1/keys", key=plain)
        assert (answer.status, answer.json()["error"]["code"]) == (403, "missing_scope")


async def test_a_management_key_makes_no_other_and_touches_none(
    tmp_path: Path, acme: Organization, manager: str
) -> None:
    await in_thread(make_manager, acme)
    async with serving(tmp_path) as gateway:
        made = await send(gateway, "POST", "/v1/keys", key=manager, body={"name": "x"})
        scopes = await in_thread(lambda: ApiKey.objects.get(pk=made.json()["data"]["hash"]).scopes)
        assert scopes == []
        listed = (await send(gateway, "GET", "/v1/keys", key=manager)).json()["data"]
        managers = [one["hash"] for one in listed if one["name"] == "provisioning"]
        assert len(managers) == 2
        for key_id in managers:
            assert (await send(gateway, "DELETE", f"/v1/keys/{key_id}", key=manager)).status == 403


@pytest.mark.parametrize("loss", ["removed", "demoted"])
async def test_a_management_key_may_no_more_than_its_maker(tmp_path: Path, acme: Organization, loss: str) -> None:
    manager = await in_thread(make_manager, acme)

    def lose() -> None:
        membership = Membership.objects.get(organization=acme, role="developer")
        if loss == "removed":
            membership.delete()
        else:
            owner = Membership.objects.get(organization=acme, role="owner")
            memberships.change_role(membership=membership, role="viewer", by=owner, actor=audit.SYSTEM, now=NOW)

    async with serving(tmp_path) as gateway:
        assert (await send(gateway, "GET", "/v1/keys", key=manager)).status == 200
        await in_thread(lose)
        for method, body in (("GET", None), ("POST", {"name": "x"})):
            answer = await send(gateway, method, "/v1/keys", key=manager, body=body)
            assert (answer.status, answer.json()["error"]["code"]) == (403, "management_not_allowed")


async def test_usage_and_what_is_left_come_from_the_ledger(tmp_path: Path, acme: Organization, manager: str) -> None:
    async with serving(tmp_path) as gateway:
        answer = (await send(gateway, "POST", "/v1/keys", key=manager, body={"name": "x", "limit": 2})).json()
        made = answer["data"]

        def spend() -> None:
            records = [
                make_record(
                    organization_id=acme.pk,
                    workspace_id=made["workspace_id"],
                    api_key_id=made["hash"],
                    key_source=source,
                    started_us=int(dt.datetime.now(dt.UTC).timestamp() * 1e6),
                    billed_nanousd=billed,
                    provider_cost_nanousd=cost,
                    booked_nanousd=cost,
                )
                for source, billed, cost in (("managed", 500_000_000, 500_000_000), ("byok", 0, 250_000_000))
            ]
            accounts = [stored_records.account_of(record) for record in records]
            ledger.post_segment(segment_id="s", sha256="", records=accounts)

        await in_thread(spend)
        shown = (await send(gateway, "GET", f"/v1/keys/{made['hash']}", key=manager)).json()["data"]
        assert (shown["usage"], shown["usage_daily"], shown["byok_usage_monthly"]) == (0.5, 0.5, 0.25)
        assert shown["include_byok_in_limit"]
        assert shown["limit_remaining"] == 1.25  # as the budget itself counts
        own = (await send(gateway, "GET", "/v1/key", key=answer["key"])).json()["data"]
        assert {name: own[name] for name in own if "usage" in name} == {
            name: shown[name] for name in shown if "usage" in name
        }
        reader = await in_thread(lambda: make_api_key(acme, scopes=("receipts",)).key)
        balance = await send(gateway, "GET", "/api/v1/credits", key=reader)
        assert balance.json() == {"data": {"total_credits": 0.0, "total_usage": 0.5}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x", "limit": 0},
        {"name": "x", "limit": "1"},
        {"name": "x", "limit": 1, "limit_reset": "yearly"},
        {"name": "x", "expires_at": "tomorrow"},
        {"name": "x", "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "kr_live_0123456789012345678901234567890123456789"},
        b"nonsense",
        b'{"name":"x","external":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
async def test_bad_input_is_told(tmp_path: Path, manager: str, body: Any) -> None:
    async with serving(tmp_path) as gateway:
        answer = await send(gateway, "POST", "/v1/keys", key=manager, body=body)
        assert answer.status == 400
    assert await in_thread(ApiKey.objects.count) == 1


async def test_fields_without_a_meaning_here_are_named(tmp_path: Path, manager: str) -> None:
    async with serving(tmp_path) as gateway:
        body = {"name": "x", "external": {"user": "u"}, "include_byok_in_limit": False}
        answer = await send(gateway, "POST", "/v1/keys", key=manager, body=body)
        assert answer.json()["data"]["not_applied"] == ["external", "include_byok_in_limit"]


async def test_the_budget_of_the_page_is_left_alone(tmp_path: Path, acme: Organization, manager: str) -> None:
    async with serving(tmp_path) as gateway:
        made = (await send(gateway, "POST", "/v1/keys", key=manager, body={"name": "x", "limit": 2})).json()["data"]

        def by_page() -> None:
            Limit.objects.create(
                organization=acme, name="by hand", scope="api_key", subject=made["hash"], kind="budget", amount=7
            )

        await in_thread(by_page)
        await send(gateway, "PATCH", f"/v1/keys/{made['hash']}", key=manager, body={"limit": None})
        left = await in_thread(lambda: list(Limit.objects.values_list("name", flat=True)))
        assert left == ["by hand"]


async def test_webhooks_hear_of_keys_that_the_api_makes(tmp_path: Path, acme: Organization, manager: str) -> None:
    from accounts.models import WebhookEndpoint, WebhookEvent

    def subscribe() -> None:
        WebhookEndpoint.objects.create(
            organization=acme, url="https://example.com", event_types=[webhooks.API_KEY_CREATED], secret_envelope=b""
        )

    await in_thread(subscribe)
    async with serving(tmp_path) as gateway:
        await send(gateway, "POST", "/v1/keys", key=manager, body={"name": "x"})
    assert await in_thread(WebhookEvent.objects.count) == 1


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/api/v1/credit", "/api/v1/credits"),
        ("/v1/model", "/v1/models"),
        ("/v1/receipt/rcpt_1", "/v1/receipts/{id}"),
        ("/v1/zzz", "/v1/chat/completions"),
    ],
)
async def test_a_path_that_is_none_names_the_nearest(tmp_path: Path, manager: str, path: str, meant: str) -> None:
    async with serving(tmp_path) as gateway:
        answer = await send(gateway, "GET", path, key=manager)
        assert answer.status == 404
        assert meant in answer.json()["error"]["message"]
