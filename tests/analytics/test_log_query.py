from __future__ import annotations

import dataclasses
import datetime as dt
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import log_query, timerange
from analytics.log_query import InvalidQuery, LogQuery

NOW = dt.datetime(2026, 11, 18, 15, 42, 7, tzinfo=dt.UTC)
TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=40).map(str.strip)


def parse(query_string: str, **kwargs: object) -> LogQuery:
    return log_query.parse(parse_qs(query_string, keep_blank_values=True), now=NOW, **kwargs)  # type: ignore[arg-type]


def problems_of(query_string: str) -> dict[str, str]:
    with pytest.raises(InvalidQuery) as refusal:
        parse(query_string)
    return {problem.name: problem.message for problem in refusal.value.problems}


def test_an_empty_url_is_the_last_seven_days_of_everything() -> None:
    query = parse("")
    assert query == log_query.default(now=NOW)
    assert query.range.preset == "last7d"
    assert query.encode() == ""


def test_a_relative_range_stays_relative_in_links() -> None:
    assert parse("range=last24h&model=openai/gpt-5.4").encode() == "range=last24h&model=openai%2Fgpt-5.4"


def test_every_filter_reaches_the_url_and_comes_back() -> None:
    asked = (
        "from=2026-11-01T00:00&to=2026-11-02T12:30&mode=test&status=error&signal=refusal&stream=no&workspace=ws_1"
        "&agent=(none)&feature=f&key=key_1&model=m&provider=p&task=code&error=UpstreamTimeout&session=s&run=r&user=u"
        "&request=req_1&experiment=exp_1&arm=control&policy=pol_1&min_cost=0.05&min_latency=2000&sort=cost"
    )
    query = parse(asked)
    assert log_query.parse({name: [value] for name, value in query.parameters().items()}, now=NOW) == query
    assert all(
        getattr(query, field.name) != field.default
        for field in dataclasses.fields(query)
        if field.default is not dataclasses.MISSING
    )


@given(agent=TEXT, session=TEXT, cost=st.none() | st.integers(0, 10**17), latency=st.none() | st.integers(0, 10**8))
def test_queries_survive_the_url(agent: str, session: str, cost: int | None, latency: int | None) -> None:
    query = LogQuery(
        range=timerange.relative("last30d", now=NOW),
        agent=agent,
        session=session,
        min_cost_nanousd=cost,
        min_latency_ms=latency,
    )
    assert parse(query.encode()) == query


@pytest.mark.parametrize(
    ("query_string", "name", "message"),
    [
        ("modle=x", "modle", "There is no filter “modle”. Filters are: range, from"),
        ("range=last8d", "range", "There is no time range “last8d”. Use one of: last1h"),
        ("range=today&from=2026-11-01", "range", "not both"),
        ("status=bad", "status", "Choose one of: ok, error, interrupted"),
        ("sort=random", "sort", "Choose one of: newest"),
        ("mode=prod", "mode", "Choose one of: all, live, test"),
        ("min_cost=cheap", "min_cost", "an amount in US dollars, such as 0.05"),
        ("min_cost=1e9", "min_cost", "an amount"),
        ("min_cost=-1", "min_cost", "an amount"),
        ("min_latency=2s", "min_latency", "a whole number of milliseconds"),
        ("min_latency=%C2%B2", "min_latency", "a whole number of milliseconds"),
        ("model=a&model=b", "model", "given 2 times"),
        (f"agent={'x' * 201}", "agent", "too long"),
    ],
)
def test_bad_input_says_what_to_write_instead(query_string: str, name: str, message: str) -> None:
    assert message in problems_of(query_string)[name]


def test_all_problems_are_told_at_once() -> None:
    assert set(problems_of("modle=x&range=never&min_cost=free")) == {"modle", "range", "min_cost"}


def test_a_page_may_have_parameters_of_its_own() -> None:
    assert parse("by=agent&model=m", also=("by",)).model == "m"


@pytest.mark.parametrize("prefix", ["req", "rcpt", "gen"])
def test_a_receipt_id_finds_its_request(prefix: str) -> None:
    assert parse(f"request={prefix}_abc").request == "req_abc"


def test_values_are_bound_and_never_part_of_the_sql() -> None:
    hostile = "x'; DROP TABLE request_logs; --"
    query = dataclasses.replace(parse(""), agent=hostile, model=hostile, session=hostile)
    assert hostile not in query.conditions()
    assert query.bindings("org_1")["agent"] == hostile


def test_the_tenant_cannot_come_from_the_url() -> None:
    assert "organization" in next(iter(problems_of("organization_id=org_2")))
    bindings = parse("").bindings("org_1")
    assert bindings["organization_id"] == "org_1"
    assert parse("").conditions().startswith("organization_id = {organization_id:String}")


def test_none_asks_for_calls_that_lack_the_attribute() -> None:
    query = parse("agent=(none)")
    assert "agent = {agent:String}" in query.conditions()
    assert query.bindings("org_1")["agent"] == ""


def test_every_placeholder_is_bound() -> None:
    query = parse("status=ok&model=m&min_cost=1&min_latency=5&user=u&arm=a")
    placeholders = {part.split(":")[0] for part in query.conditions().split("{")[1:]}
    assert placeholders == set(query.bindings("org_1"))


def test_removing_a_filter_gives_back_its_default() -> None:
    query = parse("mode=test&sort=cost&model=m&min_cost=1")
    assert query.changed(mode="", sort=None, model="", min_cost_nanousd=None) == parse("")
