from __future__ import annotations

import csv as reader
import io
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.test import AsyncRequestFactory, RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from analytics.exports import csv

CELLS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=30)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_a_spreadsheet_would_run_is_defused(text: str) -> None:
    assert csv.guarded(text) == f"'{text}"


def test_numbers_stay_numbers() -> None:
    assert (csv.guarded(-5), csv.guarded(0), csv.guarded(None)) == ("-5", "0", "")


def test_lines_end_as_rfc_4180_has_it_and_quotes_are_doubled() -> None:
    assert csv.encode([("a", 'say "hi", now', "two\nlines")]) == b'a,"say ""hi"", now","two\nlines"\r\n'


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=5))
def test_a_reader_gets_back_what_was_written(rows: list[list[str]]) -> None:
    text = csv.encode(rows).decode()
    expected = [[csv.guarded(cell) for cell in row] for row in rows]
    assert list(reader.reader(io.StringIO(text, newline=""))) == expected


def blocks(seen: list[int]) -> Iterator[list[tuple[csv.Cell, ...]]]:
    for number in range(3):
        seen.append(number)
        yield [(number, f"row {number}")]


def test_blocks_are_read_one_after_the_other_while_the_answer_goes_out() -> None:
    seen: list[int] = []
    response = csv.respond(RequestFactory().get("/"), filename="x.csv", header=("n", "name"), blocks=blocks(seen))
    assert seen == [0]
    parts = iter(cast("Iterator[bytes]", response.streaming_content))
    assert next(parts) == b"n,name\r\n0,row 0\r\n"
    assert seen == [0]
    assert b"".join(parts) == b"1,row 1\r\n2,row 2\r\n"
    assert response["Content-Disposition"] == 'attachment; filename="x.csv"'


async def test_an_asgi_server_streams_it_too() -> None:
    seen: list[int] = []
    request = AsyncRequestFactory().get("/")
    assert isinstance(request, ASGIRequest)
    response = await sync_to_async(csv.respond)(request, filename="x.csv", header=("n", "name"), blocks=blocks(seen))
    parts = cast("AsyncIterator[bytes]", response.streaming_content)
    assert [part async for part in parts] == [b"n,name\r\n0,row 0\r\n", b"1,row 1\r\n", b"2,row 2\r\n"]
