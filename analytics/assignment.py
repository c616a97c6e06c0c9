"""Who gets which arm: a pure function of salt and unit, so that every process answers alike without asking anybody.

On the hot path of the data plane: standard library only. What is measured with it stands in `experiments`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

_SPACE = float(1 << 64)


def assign(salt: str, unit_id: str, arms: Sequence[tuple[str, float]]) -> str:
    """Return the name of the arm that `unit_id` belongs to under `salt`.

    `arms` are (name, share) with positive shares of any scale (two halves may be 1 and 1); order matters: the unit's
    place in [0, 1), the first 8 bytes of BLAKE2b(salt NUL unit) read big-endian, is looked up in the cumulated
    shares. The same salt, unit and arms give the same arm for ever; another salt reshuffles. When a share grows, the
    arms before it keep all their units.

    Raises:
        ValueError: there are no arms, or their shares add up to nothing.
    """
    total = 0.0
    for _, share in arms:
        total += share
    if total <= 0.0:
        raise ValueError("An assignment needs at least one arm with a positive share.")
    digest = blake2b(f"{salt}\0{unit_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / _SPACE * total
    reached = 0.0
    chosen = ""
    for name, share in arms:
        if share > 0.0:
            reached += share
            chosen = name
            if place < reached:
                return name
    return chosen  # rounding at the very end of the last arm
