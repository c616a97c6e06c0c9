"""A sealed segment as text that travels inside a broker message, and back. Pure.

The body is base64 over zstd over the segment's bytes; the checksum is the SHA-256 of the segment's bytes themselves,
so it proves the whole way: file, compression, broker, decompression.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode

import zstandard

_LEVEL = 1  # a third less time than the default at a tenth more size, and it runs beside the data plane
_LIMIT_BYTES = 1 << 30  # what a worker is willing to unpack: far above any segment that a writer makes


class DamagedParcel(Exception):
    """The body does not unpack to the bytes that the sender packed. Sending it again from the file helps."""


def pack(data: bytes) -> tuple[str, str]:
    """Return `(body, sha256)` of a segment's bytes."""
    compressed = zstandard.ZstdCompressor(level=_LEVEL).compress(data)
    return b64encode(compressed).decode("ascii"), hashlib.sha256(data).hexdigest()


def unpack(body: str, sha256: str) -> bytes:
    """Return the segment's bytes.

    Raises:
        DamagedParcel: the body is not what `pack` made, or its checksum differs.
    """
    try:
        compressed = b64decode(body, validate=True)
        if zstandard.frame_content_size(compressed) > _LIMIT_BYTES:
            raise DamagedParcel("The segment is larger than any that a writer makes.")
        data = zstandard.ZstdDecompressor().decompress(compressed)
    except (binascii.Error, zstandard.ZstdError) as error:
        raise DamagedParcel("The segment's body cannot be unpacked.") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedParcel("The segment's checksum differs from the sender's.")
    return data
