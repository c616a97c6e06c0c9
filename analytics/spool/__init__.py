"""The local append log of the data plane: what a call was survives the process that served it.

    frames    the bytes of a frame and of a segment                        [pure]
    files     one open segment file: reserved, locked, sealed
    appending frames, offsets and promised room of the current segment
    writer    the log of one process: intents and records; sync, rotation, seal
    recovery  finishes what dead writers left behind
    parcel    a sealed segment as text for a message, and back             [pure]

Shipping sealed segments is `gateway.shipping`; reading them into the stores is `analytics.loader`.
"""

from __future__ import annotations

from analytics.spool.appending import SpoolUnavailable
from analytics.spool.frames import DamagedSegment, Segment, read_segment
from analytics.spool.parcel import DamagedParcel, pack, unpack
from analytics.spool.recovery import Recovery, recover
from analytics.spool.writer import Writer

__all__ = [
    "DamagedParcel",
    "DamagedSegment",
    "Recovery",
    "Segment",
    "SpoolUnavailable",
    "Writer",
    "pack",
    "read_segment",
    "recover",
    "unpack",
]
