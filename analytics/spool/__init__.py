"""The local append log of the data plane: what a call was survives the process that served it.

    frames    the bytes of a frame and of a segment                        [pure]
    writer    appends intents and records; rotates and seals segments
    recovery  finishes what dead writers left behind
    parcel    a sealed segment as text for a message, and back             [pure]

Shipping sealed segments is `gateway.shipping`; reading them into the stores is `analytics.loader`.
"""

from __future__ import annotations

from analytics.spool.frames import DamagedSegment, Segment, read_segment
from analytics.spool.parcel import DamagedParcel, pack, unpack
from analytics.spool.recovery import Recovery, recover
from analytics.spool.writer import SpoolUnavailable, Writer

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
