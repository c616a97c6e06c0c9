"""CSV as RFC 4180 has it, streamed, and safe to open in a spreadsheet.

What the columns are is the caller's business; here is how cells are written and how the stream is served.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

Cell = str | int | float | None

# A spreadsheet runs a cell that begins so as a formula: OWASP, "CSV Injection".
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def guarded(cell: Cell) -> str:
    """Return a cell's text; text that a spreadsheet would run gets an apostrophe in front. Numbers stay numbers."""
    if cell is None:
        return ""
    if isinstance(cell, int):
        return str(int(cell))
    if isinstance(cell, float):
        return repr(cell)
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def encode(rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return rows as CSV in UTF-8: CRLF line ends, quotes where needed."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows([guarded(cell) for cell in row] for row in rows)
    return buffer.getvalue().encode()


def respond(
    request: HttpRequest, *, filename: str, header: Sequence[str], blocks: Iterable[Sequence[Sequence[Cell]]]
) -> StreamingHttpResponse:
    """Return a download that is written block by block; memory holds one block at a time.

    The first block is read before the response begins, so that a store that does not answer is an error page and not
    half a file.
    """
    iterator = iter(blocks)
    first = next(iterator, ())
    stream = _stream(header, first, iterator)
    response = StreamingHttpResponse(
        _in_threads(stream) if isinstance(request, ASGIRequest) else stream,
        content_type="text/csv; charset=utf-8",
    )
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    response["Cache-Control"] = "no-store"
    return response


def _stream(
    header: Sequence[str], first: Sequence[Sequence[Cell]], rest: Iterator[Sequence[Sequence[Cell]]]
) -> Iterator[bytes]:
    yield encode([header, *first])
    for block in rest:
        yield encode(block)


async def _in_threads(stream: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read a blocking iterator in threads: ASGI would otherwise gather the whole file first."""
    advance = sync_to_async(lambda: next(stream, None))
    while (block := await advance()) is not None:
        yield block
