"""Overview, Requests, Costs, receipts and onboarding with calls: the numbers of the store, shown and downloadable."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from typing import cast as typing_cast

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from analytics import money, request_log
from analytics.events import RequestContent
from analytics.models import RouteChange
from analytics.request_log import RequestLog
from tests.factories import request_logs
from tests.factories.accounts import Cast, make_api_key
from tests.factories.request_logs import Scope, make_request_log

pytestmark = [pytest.mark.clickhouse, pytest.mark.usefixtures("log_store")]

Login = Callable[[User], Client]
HOUR = dt.timedelta(hours=1)


def url(name: str, *args: str) -> str:
    return reverse(name, args=["acme", *args])


def call(cast: Cast, **fields: Any) -> RequestLog:
    """Make a call of Acme's first workspace, an hour ago."""
    workspace = cast.acme.workspaces.get()
    values = {"organization_id": cast.acme.pk, "workspace_id": workspace.pk, "started_at": timezone.now() - HOUR}
    return make_request_log(**(values | fields))


def body(answer: Any) -> str:
    parts = answer.streaming_content if answer.streaming else [answer.content]
    return b"".join(parts).decode()


def rows_of(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body(answer), newline="")))


@pytest.fixture
def week(cast: Cast) -> list[RequestLog]:
    """A small week of Acme with a key that has a name, some calls by a test key, loaded."""
    workspace = cast.acme.workspaces.get()
    live = make_api_key(workspace, name="nightly jobs").api_key.pk
    test = make_api_key(workspace, name="laptop", mode="test").api_key.pk
    return request_logs.seed_week(
        organization_id=cast.acme.pk,
        scopes=[Scope(workspace.pk, live, weight=3), Scope(workspace.pk, test, is_test=True)],
        now=timezone.now(),
        calls=160,
        days=6.9,
    )


def test_the_overview_shows_the_sums_and_links_to_the_rows(cast: Cast, login: Login, week: list[RequestLog]) -> None:
    RouteChange.objects.create(
        organization=cast.acme,
        workspace=cast.acme.workspaces.get(),
        kind="policy",
        summary="Chat moved to Haiku",
        happened_at=timezone.now() - HOUR,
    )
    text = body(login(cast.alice).get(url("overview")))
    spend = sum(record.provider_cost_nanousd for record in week)
    assert money.usd(spend) in text
    assert f'title="{money.usd_exact(spend)}"' in text
    assert f'href="{url("requests")}?status=error"' in text
    assert "Chat moved to Haiku" in text
    assert "vs claude-sonnet-4-6" in text
    figure = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)[0])
    drawn = sum(
        Decimal(str(cell[1]).strip("$").replace(",", "")) for trace in figure["data"] for cell in trace["customdata"]
    )
    assert drawn * 10**9 == spend
    assert figure["layout"]["annotations"][0]["hovertext"] == "Chat moved to Haiku"
    assert f'<td class="is-number">{money.usd_exact(spend)}</td>' in text.replace("\n", "")


def test_a_window_before_that_is_almost_empty_is_no_comparison(
    cast: Cast, login: Login, week: list[RequestLog]
) -> None:
    request_logs.load([call(cast, started_at=timezone.now() - dt.timedelta(days=9))])
    browser = login(cast.alice)
    text = body(browser.get(url("overview")))
    assert "no comparison" in text
    assert "\u00d7" not in text
    before = [call(cast, started_at=timezone.now() - dt.timedelta(days=9)) for _ in range(20)]
    request_logs.load(before)
    assert "no comparison" not in re.sub(r"(?s)Saved.*?</a>", "", body(browser.get(url("overview"))))


def test_finance_sees_no_requests_on_the_overview(cast: Cast, login: Login, week: list[RequestLog]) -> None:
    text = body(login(cast.finn).get(url("overview")))
    assert url("requests") not in text
    assert not any(record.request_id in text for record in week)


def test_the_list_shows_the_newest_and_pages_to_the_rest(cast: Cast, login: Login, week: list[RequestLog]) -> None:
    browser = login(cast.alice)
    newest_first = [record.request_id for record in sorted(week, key=lambda record: -record.started_us)]
    address, seen = url("requests"), []
    while address:
        text = body(browser.get(address))
        seen += re.findall(r'table__row-link[^>]* href="[^"]*/(req_[a-z0-9]+)/"', text)
        following = re.search(r'<a href="([^"]+)"[^>]*rel="next"', text)
        address = following[1].replace("&amp;", "&") if following else ""
    assert seen == newest_first


def test_the_filters_of_the_url_are_those_of_the_page_and_its_csv(
    cast: Cast, login: Login, week: list[RequestLog]
) -> None:
    browser = login(cast.alice)
    filters = {"task": "classification", "mode": "live", "sort": "cost"}
    expected = [record for record in week if record.task_type == "classification" and not record.is_test]
    text = body(browser.get(url("requests"), filters))
    assert f'<strong class="is-tabular">{len(expected)}</strong>' in text
    link = re.search(r'href="([^"]+requests\.csv[^"]*)"', text)
    assert link is not None
    rows = rows_of(browser.get(link[1].replace("&amp;", "&")))
    assert sorted(row["request_id"] for row in rows) == sorted(record.request_id for record in expected)
    costs = [Decimal(row["cost_usd"]) for row in rows]
    assert costs == sorted(costs, reverse=True)
    assert sum(costs) * 10**9 == sum(record.provider_cost_nanousd for record in expected)
    assert {row["key"] for row in rows} == {"nightly jobs"}


def test_csv_cells_that_a_spreadsheet_would_run_are_defused(cast: Cast, login: Login) -> None:
    request_logs.load([call(cast, agent='=HYPERLINK("http://evil.example")')])
    (row,) = rows_of(login(cast.alice).get(url("requests_csv")))
    assert row["agent"] == '\'=HYPERLINK("http://evil.example")'


def test_what_clients_name_is_escaped(cast: Cast, login: Login) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    record = call(
        cast,
        agent=hostile,
        session=hostile,
        model=hostile,
        tags={hostile: hostile},
        receipt='{"attempts": 3, "skipped": 3, "session": 3}',
    )
    request_logs.load([record])
    browser = login(cast.alice)
    for address in (
        url("overview"),
        url("requests"),
        url("costs") + "?by=agent",
        url("request_detail", record.request_id),
    ):
        assert "<img" not in body(browser.get(address)), address


def test_the_receipt_adds_up_line_by_line(cast: Cast, login: Login) -> None:
    record = call(
        cast, agent="support-triage", baseline_model="anthropic/claude-sonnet-4-6", baseline_cost_nanousd=4_002_000
    )
    request_logs.load([record], feedback=[request_logs.make_feedback(record, comment="Right answer")])
    text = body(login(cast.alice).get(url("request_detail", record.request_id)))
    table = re.search(r"Cost of this call, line by line.*?</table>", text, re.S)
    assert table is not None
    cells = [Decimal(cell) for cell in re.findall(r'is-number">\$([\d.]+)</td>', table[0])]
    assert cells == [Decimal("0.000327"), Decimal("0.000092"), Decimal("0.000915"), Decimal("0.001334")]
    assert "$1.00 / M" in table[0]
    assert "rcpt_" + record.request_id.removeprefix("req_") in text
    assert "$0.002668" in text  # saved against the baseline
    assert "Right answer" in text


def test_a_simulated_answer_is_labelled_wherever_it_is_shown(cast: Cast, login: Login) -> None:
    record = call(cast, key_source=request_log.SIMULATED, is_simulated=1, is_test=1)
    request_logs.load([record])
    browser = login(cast.alice)
    for address in (url("overview"), url("requests"), url("costs"), url("request_detail", record.request_id)):
        assert "simulated" in body(browser.get(address)), address
    (row,) = rows_of(browser.get(url("requests_csv")))
    assert row["is_simulated"] == "1"
    assert "(simulated)" in body(browser.get(url("onboarding")))


def test_the_receipt_names_the_candidate_that_the_simulator_answered_for(cast: Cast, login: Login) -> None:
    receipt = {
        "candidates": [
            {"model": "openai/gpt-5.4", "provider": "openai"},
            {"model": "groq/gpt-oss-120b", "provider": "groq", "filtered_out_by": "credentials", "reason": "No key."},
        ],
        "attempts": [{"model": "openai/gpt-5.4", "provider": "simulator", "status": 200, "latency_ms": 560.2}],
    }
    record = call(
        cast,
        model="openai/gpt-5.4",
        provider="simulator",
        is_simulated=1,
        key_source="simulated",
        receipt=json.dumps(receipt),
    )
    request_logs.load([record])
    text = body(login(cast.alice).get(url("request_detail", record.request_id)))
    assert text.count("</span>chosen</span>") == 1
    assert "</span>credentials</span>" in text
    assert "560 ms" in text


def test_the_receipt_says_why_a_call_went_on_and_what_it_left(cast: Cast, login: Login) -> None:
    failed = {"model": "groq/m", "provider": "groq", "error_class": "UpstreamOverloaded", "then": "next_endpoint"}
    receipt = {
        "attempts": [failed, {"model": "cerebras/m", "provider": "cerebras", "status": 200}],
        "skipped": [{"model": "together/m", "provider": "together", "reason": "open"}],
        "session": {"from": "groq:groq/m", "cost_nanousd": 3_000},
    }
    record = call(cast, model="cerebras/m", provider="cerebras", attempts=2, receipt=json.dumps(receipt))
    request_logs.load([record])
    text = body(login(cast.alice).get(url("request_detail", record.request_id)))
    for words in ("→ next endpoint", "together: out of service", "from groq:groq/m, whose cache was worth"):
        assert words in text
    assert "$0.000003" in text


@pytest.mark.parametrize(
    ("fields", "receipt", "words"),
    [
        ({"route_reason": "cheapest-capable"}, {}, ", the cheapest that could take the call."),
        ({"route_reason": "policy"}, {}, ", as the workspace's policy says."),
        (
            {"route_reason": "budget-downgrade"},
            {"downgrade": {"limit": "Team budget"}},
            "The budget “Team budget” runs low, so that the call went to a cheaper model",
        ),
        ({"response_cache": "hit"}, {}, "The answer came from the response cache."),
        ({"error_class": "BudgetExceeded", "attempts": 0}, {}, "The call ended before it went to a provider."),
        (
            {"is_fallback": 1, "error_class": "UpstreamError"},
            {"attempts": [{"model": "a/m", "error_class": "UpstreamError"}]},
            "Every attempt failed; this was the last.",
        ),
        (
            {},
            {"attempts": [{"model": "a/m", "key_source": "byok"}, {"model": "a/m", "key_source": "managed"}]},
            "operator's</td>",
        ),
        (
            {},
            {"funnel": {"passed": 2, "allow_list": 3, "provider": 9}},
            "2 passed, 3 stopped by guardrails, 9 not configured",
        ),
        (
            {"is_pinned": 1, "requested_model": "google/m", "model": "openai/m", "provider": "openai"},
            {},
            "The program asked for <strong>google/m</strong>; it went to <strong>openai/m</strong> at",
        ),
        ({"key_source": "byok", "price_state": "unused"}, {}, "nothing was used"),
    ],
)
def test_the_receipt_says_why_the_call_went_where_it_went(
    cast: Cast, login: Login, fields: dict[str, Any], receipt: dict[str, Any], words: str
) -> None:
    record = call(cast, **{"requested_model": "auto", "is_pinned": 0, "receipt": json.dumps(receipt), **fields})
    request_logs.load([record])
    text = body(login(cast.alice).get(url("request_detail", record.request_id)))
    assert words in re.sub(r"\s+", " ", text.replace("&#x27;", "'"))


def test_an_unpriced_call_is_never_shown_as_zero_dollars(cast: Cast, login: Login) -> None:
    record = call(cast, price_state="unpriced", model="own/model")
    request_logs.load([record])
    browser = login(cast.alice)
    assert "unpriced" in body(browser.get(url("requests")))
    assert "No price is known for this model" in body(browser.get(url("request_detail", record.request_id)))
    (row,) = rows_of(browser.get(url("requests_csv")))
    assert (row["price_state"], row["cost_usd"]) == ("unpriced", "")


def test_an_estimated_cost_is_shown_and_counted_as_an_estimate(cast: Cast, login: Login) -> None:
    record = call(cast, price_state="estimated", provider_cost_nanousd=12_000, billed_nanousd=12_000)
    request_logs.load([record])
    browser = login(cast.alice)
    assert "Estimated: the provider did not report" in body(browser.get(url("requests")))
    detail = body(browser.get(url("request_detail", record.request_id)))
    assert "The cost of this call is estimated" in detail
    assert "$0.000012 billed, estimated" in detail
    assert "$0.000012 of the total is estimated" in body(browser.get(url("costs")))
    *_, row = rows_of(browser.get(url("costs_csv")))
    assert (Decimal(row["estimated_cost_usd"]), row["unpriced_calls"]) == (Decimal("0.000012"), "0")


@pytest.mark.parametrize(("who", "may_read"), [("alice", True), ("bob", True), ("victor", False)])
def test_content_is_for_those_who_may_read_it(cast: Cast, login: Login, who: str, may_read: bool) -> None:
    record = call(cast)
    content = RequestContent(
        organization_id=cast.acme.pk,
        workspace_id=record.workspace_id,
        request_id=record.request_id,
        started_us=record.started_us,
        expires_us=record.started_us + 10**15,
        request='{"messages": [{"role": "user", "content": "where is my order"}]}',
        response='{"content": "on its way"}',
    )
    request_logs.load([record], contents={record.request_id: content})
    text = body(login(getattr(cast, who)).get(url("request_detail", record.request_id)))
    assert ("where is my order" in text) is may_read
    assert ("on its way" in text) is may_read
    assert ("Your role does not include reading prompts" in text) is not may_read


def test_a_receipt_of_another_organization_is_not_found(cast: Cast, login: Login) -> None:
    theirs = call(cast, organization_id=cast.other.pk)
    request_logs.load([theirs])
    assert login(cast.alice).get(url("request_detail", theirs.request_id)).status_code == 404
    assert login(cast.charlie).get(url("request_detail", theirs.request_id)).status_code == 404
    assert login(cast.finn).get(url("request_detail", theirs.request_id)).status_code == 403
    address = reverse("request_detail", args=["other", theirs.request_id])
    assert login(cast.charlie).get(address).status_code == 200
    assert Client().get(address).status_code == 302
    assert login(cast.charlie).post(address).status_code == 405


def test_an_interrupted_and_a_failed_call_say_what_happened(cast: Cast, login: Login) -> None:
    interrupted = call(cast, state=request_log.INTERRUPTED, price_state="unused", http_status=0, finish_reason="")
    failed = call(
        cast, error_class="UpstreamTimeout", http_status=504, price_state="unused", input_tokens=0, output_tokens=0
    )
    request_logs.load([interrupted, failed])
    browser = login(cast.alice)
    assert "The gateway stopped while" in body(browser.get(url("request_detail", interrupted.request_id)))
    text = body(browser.get(url("request_detail", failed.request_id)))
    assert "UpstreamTimeout 504" in text
    assert "Nothing was used" in text


@pytest.mark.parametrize("dimension", ["model", "provider", "task", "agent", "feature", "key", "workspace"])
def test_costs_and_their_csv_agree_and_add_up(cast: Cast, login: Login, week: list[RequestLog], dimension: str) -> None:
    browser = login(cast.finn)
    text = body(browser.get(url("costs"), {"by": dimension}))
    rows = rows_of(browser.get(url("costs_csv"), {"by": dimension}))
    total = rows.pop()
    assert total[dimension] == "Total"
    spend = sum(record.provider_cost_nanousd for record in week)
    assert Decimal(total["cost_usd"]) * 10**9 == spend
    for column in ("calls", "input_tokens", "output_tokens", "cost_usd", "billed_usd", "simulated_cost_usd"):
        assert sum(Decimal(row[column]) for row in rows) == Decimal(total[column]), column
    for row in rows:
        assert row[dimension] in text
    assert f'title="{money.usd_exact(spend)}"' in text


def test_keys_and_workspaces_go_by_their_names(cast: Cast, login: Login, week: list[RequestLog]) -> None:
    browser = login(cast.alice)
    assert {row["key"] for row in rows_of(browser.get(url("costs_csv"), {"by": "key"}))} == {
        "nightly jobs",
        "laptop",
        "Total",
    }
    assert "Production" in body(browser.get(url("costs"), {"by": "workspace"}))


def test_a_dimension_that_does_not_exist_is_explained(cast: Cast, login: Login) -> None:
    browser = login(cast.alice)
    for name in ("costs", "costs_csv"):
        answer = browser.get(url(name), {"by": "colour"})
        assert answer.status_code == 400
        assert "Choose one of: model, provider" in body(answer)


def test_a_broken_link_to_a_further_page_is_explained(cast: Cast, login: Login) -> None:
    answer = login(cast.alice).get(url("requests"), {"after": "nonsense"})
    assert answer.status_code == 400
    assert "Start from the first page" in body(answer)


def test_onboarding_waits_and_then_links_to_the_receipt(cast: Cast, login: Login) -> None:
    browser = login(cast.bob)
    text = body(browser.get(url("onboarding")))
    assert "Waiting for the first call" in text
    assert 'http-equiv="refresh"' in text
    assert "/v1" in text
    assert browser.get(url("onboarding_status")).json() == {"arrived": False, "call": None}
    record = call(cast)
    request_logs.load([record])
    status = browser.get(url("onboarding_status")).json()
    assert status["arrived"]
    assert status["call"]["is_ok"]
    assert status["call"]["url"] == url("request_detail", record.request_id)
    text = body(browser.get(url("onboarding")))
    assert "The first call is here" in text
    assert 'http-equiv="refresh"' not in text
    assert url("request_detail", record.request_id) in text


def test_a_failed_first_call_is_shown_and_still_waited_for(cast: Cast, login: Login) -> None:
    request_logs.load([call(cast, error_class="ModelNotFound", http_status=404, price_state="unused")])
    browser = login(cast.bob)
    status = browser.get(url("onboarding_status")).json()
    assert (status["arrived"], status["call"]["is_ok"]) == (True, False)
    assert "ModelNotFound" in body(browser.get(url("onboarding")))


@pytest.mark.parametrize("language", ["python", "node", "curl", "cobol"])
def test_each_snippet_marks_its_two_changed_lines(cast: Cast, login: Login, language: str) -> None:
    text = body(login(cast.bob).get(url("onboarding"), {"language": language}))
    assert text.count('class="code__highlight"') == 2


def test_a_page_asks_the_control_database_a_fixed_number_of_questions(
    cast: Cast, login: Login, week: list[RequestLog], django_assert_max_num_queries: Any
) -> None:
    browser = login(cast.alice)
    for name in ("overview", "requests", "costs"):
        browser.get(url(name))
        with typing_cast(Any, django_assert_max_num_queries)(9):
            browser.get(url(name))
