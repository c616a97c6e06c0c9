"""A provider on loopback that answers with its recorded shapes: `[[case:tools]]` in the prompt names the one.

It is a script for `tests.gateway.rig.running`. A stream is sent up to its first output, then held until the gateway has
begun to pass it on, so that what follows happens inside the stream and not before it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress

from tests.fixtures.providers import Case, cases
from tests.gateway.providers import answers
from tests.gateway.rig import Script, chunked, http
from tests.gateway.test_upstream import read_request

_CASE = re.compile(rb"\[\[case:(\w+)\]\]")


def playing(provider: str, has_begun: Callable[[], bool]) -> Script:
    """Return the script of a provider; `has_begun` says whether the gateway passes a stream on."""
    streams = {case.name: case for case in cases("stream") if case.endpoint.provider == provider}
    bodies = {case.name: case for case in cases("body") if case.endpoint.provider == provider}

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await read_request(reader)
            wanted = _CASE.search(body)
            assert wanted is not None, body
            name = wanted[1].decode()
            if b'"stream":true' in body or b"streamGenerateContent" in head:
                await _stream(streams[name], reader, writer, has_begun)
            else:
                writer.write(http(200, bodies[name].body, "content-type: application/json"))

    return script


async def _stream(
    case: Case, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, has_begun: Callable[[], bool]
) -> None:
    first, rest = _parts(case)
    writer.write(chunked(first, ends=False))
    async with asyncio.timeout(5):
        while not has_begun():  # noqa: ASYNC110 - the gateway offers no event
            await asyncio.sleep(0.002)
    if case.name == "stall":
        with suppress(ConnectionError):
            await reader.read()
        return
    writer.write(chunked(rest).partition(b"\r\n\r\n")[2] if rest else b"0\r\n\r\n")


def _parts(case: Case) -> tuple[bytes, bytes]:
    """Return the stream up to its first output, and the rest."""
    reader = answers.reader_of(case)
    events = [event + b"\n\n" for event in case.stream.split(b"\n\n") if event]
    for number, event in enumerate(events, start=1):
        list(reader.feed(event))
        if reader.has_output:
            return b"".join(events[:number]), b"".join(events[number:])
    raise AssertionError(f"{case} has no output")
