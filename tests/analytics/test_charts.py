from __future__ import annotations

import datetime as dt
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from analytics import charts

START = dt.datetime(2026, 11, 18, tzinfo=dt.UTC)
BUCKETS = [START + dt.timedelta(hours=hour) for hour in range(6)]
POINTS = st.lists(
    st.tuples(st.sampled_from(BUCKETS), st.none() | st.text("abcdefghijklmnop", max_size=1), st.integers(0, 10**12)),
    max_size=60,
)


@given(POINTS)
def test_the_series_add_up_to_every_point(points: list[tuple[dt.datetime, str | None, int]]) -> None:
    found = charts.stack(points, buckets=BUCKETS, bucket_seconds=3600)
    assert found.total == sum(cost for _, _, cost in points)
    assert sum(total for _, _, total in found.rows()) == found.total
    assert len(found.series) <= charts.SERIES + 1


def test_the_dearest_have_colours_and_the_rest_is_other() -> None:
    points = [(BUCKETS[0], name, cost) for cost, name in enumerate("abcdefghij", start=1)]
    found = charts.stack(points, buckets=BUCKETS, bucket_seconds=3600)
    assert [one.name for one in found.series] == ["j", "i", "h", "g", "f", "e", "d", "Other"]
    assert found.series[-1].total == 1 + 2 + 3
    assert found.series[-1].colour == "chart-other"


def test_a_figure_is_json_without_styles_or_colours_of_its_own() -> None:
    found = charts.stack(
        [(BUCKETS[1], "m", 1_330_000)],
        buckets=BUCKETS,
        bucket_seconds=3600,
        markers=[charts.Marker(BUCKETS[2], "The route changed")],
    )
    text = json.dumps(found.figure)
    assert "#" not in text
    assert set(re.findall(r"<[^>]+>", text)) <= {"<br>", "<extra>", "</extra>"}
    assert found.figure["data"][0]["customdata"][1] == ["Wed 18 Nov, 01:00\u201302:00", "$0.001330"]
    assert found.figure["layout"]["annotations"][0]["hovertext"] == "The route changed"


def test_nothing_spent_is_an_empty_chart() -> None:
    assert charts.stack([(BUCKETS[0], "m", 0)], buckets=BUCKETS, bucket_seconds=3600).is_empty
    assert charts.stack([], buckets=BUCKETS, bucket_seconds=3600).is_empty


def test_bars_keep_the_first_row_on_top_and_tell_exact_amounts() -> None:
    figure = charts.bars([("dear", 2_000_000_000), ("cheap", 1)])
    assert figure["data"][0]["customdata"] == [["cheap", "$0.000000001"], ["dear", "$2.00"]]
    assert figure["layout"]["yaxis"]["ticktext"] == ["cheap", "dear"]
