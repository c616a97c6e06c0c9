"""A sealed segment as text that travels inside a broker message, and back. Pure.

The body is base64 over zstd over the segment's bytes. The SHA-256 is that of the compressed bytes, and zstd's own
checksum of the content stands inside them (RFC 8878 §3.1.1): together they prove the whole way at a tenth of the
hashing.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode

import zstandard

_LEVEL = 1  # a third less time than level 3 for the same size here, and it runs beside the data plane
_LIMIT_BYTES = 1 << 30  # what a worker is willing to unpack: far above any segment that a writer makes


class DamagedParcel(Exception):
    """The body does not unpack to the bytes that the sender packed. Sending it again from the file helps."""


def pack(data: bytes) -> tuple[str, str]:
    """Return `(body, sha256)` of a segment's bytes."""
    compressed = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data)
    return b64encode(compressed).decode("ascii"), hashlib.sha256(compressed).hexdigest()


def unpack(body: str, sha256: str) -> bytes:
    """Return the segment's bytes.

    Raises:
        DamagedParcel: the body is not what `pack` made, or its checksum differs.
    """
    try:
        compressed = b64decode(body, validate=True)
        if hashlib.sha256(compressed).hexdigest() != sha256:
            raise DamagedParcel("The segment's checksum differs from the sender's.")
        if zstandard.frame_content_size(compressed) > _LIMIT_BYTES:
            raise DamagedParcel("The segment is larger than any that a writer makes.")
        return zstandard.ZstdDecompressor().decompress(compressed)
    except (binascii.Error, zstandard.ZstdError) as error:
        raise DamagedParcel("The segment's body cannot be unpacked.") from error
