"""The bytes of the spool: frames, and the segments that they make up. Pure: it reads no file and writes none.

A frame is `u32 length | u32 crc32 | u8 kind | payload`, integers little-endian; length and checksum cover kind and
payload. Kinds: `H` header (JSON object, first frame of every segment), `I` intent, `R` record, `F` feedback (each one
JSON array), `C` content (an encrypted envelope). A segment ends where its frames end; zeros after that are room that
was reserved and not used.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import msgspec

HEADER, INTENT, RECORD, CONTENT, FEEDBACK = b"H", b"I", b"R", b"C", b"F"
VERSION = 1
PREFIX_BYTES = 9

_PREFIX = struct.Struct("<IIB")
_KIND = re.compile(rb"[HIRCF]")
_KIND_CRC = tuple(crc32(bytes([kind])) for kind in range(256))


class DamagedSegment(Exception):
    """The bytes hold no readable header, so nothing says what their columns mean."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame of a segment. `columns` names the fields of the JSON arrays by frame kind."""

    version: int
    segment_id: str
    writer: str
    columns: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Frames:
    """What `scan` found: frames in file order, where the last one ends, and what could not be read.

    `torn_bytes` is an unfinished end, which a crash leaves behind; `damaged_bytes` lie between readable frames, where
    only a failing disk puts them.
    """

    items: list[tuple[int, bytes]]  # kind as a number, payload
    end: int
    torn_bytes: int
    damaged_bytes: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as its readers see it. On a sound disk a sealed one has neither torn nor damaged bytes."""

    segment_id: str
    writer: str
    columns: dict[str, list[str]]
    torn_bytes: int
    damaged_bytes: int
    _payloads: dict[int, list[bytes]] = field(repr=False)

    def lines(self, kind: str) -> list[bytes]:
        """Return the payloads of one kind (`"R"`, `"F"`, `"C"`, `"I"`) in the order in which they were written."""
        return self._payloads.get(ord(kind), [])


def encode(kind: bytes, payload: bytes) -> bytes:
    """Return one frame."""
    return _PREFIX.pack(len(payload) + 1, crc32(payload, crc32(kind)), kind[0]) + payload


def payload_of(frame: bytes) -> bytes:
    """Return what `encode` framed."""
    return frame[PREFIX_BYTES:]


def encode_header(segment_id: str, writer: str, columns: dict[str, list[str]]) -> bytes:
    """Return the first frame of a segment."""
    header = Header(version=VERSION, segment_id=segment_id, writer=writer, columns=columns)
    return encode(HEADER, msgspec.json.encode(header))


def scan(data: bytes) -> Frames:
    """Read every frame whose checksum holds.

    After an unreadable place the scan goes on at the next readable frame, so that one bad sector costs the calls that
    lie in it and no others. Text cannot pose as a frame there: a frame's length holds zero bytes, JSON text never does.
    """
    items: list[tuple[int, bytes]] = []
    size = len(data)
    last = size - PREFIX_BYTES
    offset = damaged = 0
    while offset <= last:
        length, checksum, kind = _PREFIX.unpack_from(data, offset)
        end = offset + 8 + length
        if length and end <= size:
            payload = data[offset + PREFIX_BYTES : end]
            if crc32(payload, _KIND_CRC[kind]) == checksum:
                items.append((kind, payload))
                offset = end
                continue
        following = _next_frame(data, offset + 1)
        if not following:
            break
        damaged += following - offset
        offset = following
    torn = len(data[offset:].rstrip(b"\0"))
    return Frames(items=items, end=offset, torn_bytes=torn, damaged_bytes=damaged)


def header_of(frames: Frames) -> Header:
    """Return the header.

    Raises:
        DamagedSegment: the first readable frame is no header of a version that this release reads.
    """
    if not frames.items or frames.items[0][0] != HEADER[0]:
        raise DamagedSegment("The segment does not begin with a readable header.")
    try:
        header = msgspec.json.decode(frames.items[0][1], type=Header)
    except msgspec.DecodeError as error:
        raise DamagedSegment("The segment's header is not the JSON object that it should be.") from error
    if header.version != VERSION:
        raise DamagedSegment(f"The segment has version {header.version}; this release reads version {VERSION}.")
    return header


def read_segment(data: bytes) -> Segment:
    """Read a whole segment.

    Raises:
        DamagedSegment: its header cannot be read.
    """
    frames = scan(data)
    header = header_of(frames)
    payloads: dict[int, list[bytes]] = {}
    for kind, payload in frames.items:
        payloads.setdefault(kind, []).append(payload)
    return Segment(
        segment_id=header.segment_id,
        writer=header.writer,
        columns=header.columns,
        torn_bytes=frames.torn_bytes,
        damaged_bytes=frames.damaged_bytes,
        _payloads=payloads,
    )


def request_id_of(line: bytes) -> str:
    """Return the request id of an encoded RequestLog: the first element of its array."""
    end = line.find(b'"', 2)
    if line[:2] == b'["' and end > 0 and b"\\" not in line[2:end]:
        return line[2:end].decode()
    first: Any = msgspec.json.decode(line)[0]
    return str(first)


def _next_frame(data: bytes, start: int) -> int:
    """Return where the next sound frame begins, 0 when there is none."""
    size = len(data)
    for match in _KIND.finditer(data, start + 8):
        candidate = match.start() - 8
        length, checksum, kind = _PREFIX.unpack_from(data, candidate)
        end = candidate + 8 + length
        if length and end <= size and crc32(data[candidate + PREFIX_BYTES : end], _KIND_CRC[kind]) == checksum:
            return candidate
    return 0
