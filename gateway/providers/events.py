"""Cut a byte stream into server-sent events, wherever the network split it. Pure.

What an event means belongs to the protocol's own reader. Wire format: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

from gateway.errors import UpstreamGarbage

MAX_EVENT_BYTES = 32 * 1024 * 1024


class EventSplitter:
    """Collects bytes and hands out blocks of whole events.

    Line ends are LF, CRLF or CR on the wire and LF in what is handed out. JSON payloads hold no raw line ends,
    so replacing them never touches content.
    """

    __slots__ = ("_has_cr", "_tail", "is_holding")

    def __init__(self) -> None:
        self._tail = b""
        self._has_cr = False
        self.is_holding = False  # whether the next bytes continue something and cannot be read on their own

    def feed(self, data: bytes) -> bytes:
        """Return all events that are whole now, joined, each ending in a blank line; `b""` while none is.

        Raises:
            UpstreamGarbage: one event is larger than `MAX_EVENT_BYTES`.
        """
        if self._has_cr or b"\r" in data:
            data = self._unify(data)
        buffered = self._tail + data if self._tail else data
        end = buffered.rfind(b"\n\n")
        if end < 0:
            if len(buffered) > MAX_EVENT_BYTES:  # a provider that never ends its event must not fill the memory
                raise UpstreamGarbage("The provider sent an event that is too large.")
            self._tail = buffered
            self.is_holding = bool(buffered) or self._has_cr
            return b""
        end += 2
        self._tail = buffered[end:]
        self.is_holding = bool(self._tail) or self._has_cr
        return buffered[:end]

    def finish(self) -> bytes:
        """Return what was never ended by a blank line, as a block."""
        rest, self._tail = self._tail.strip(b"\r\n"), b""
        return rest + b"\n\n" if rest else b""

    def _unify(self, data: bytes) -> bytes:
        # A CR at the very end may be half of a CRLF: the LF that opens the next read is then not a line end of its own.
        if self._has_cr and data.startswith(b"\n"):
            data = data[1:]
        self._has_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def payload(event: bytes) -> bytes:
    """Return an event's data field: its `data:` lines joined by LF; `b""` for comments and bare fields."""
    if event.startswith(b"data:") and b"\n" not in event:
        return event[5:].strip()
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)
