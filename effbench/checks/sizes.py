"""Sizes as people write them: 20GB, 1.5GiB, 500MB, or a number of bytes."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_PREFIXES = "kmgt"
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:([kmgt]i?)?b)?\s*", re.ASCII | re.IGNORECASE)


def n_bytes(size: str | int | float, /) -> int:
    """Return the number of bytes that a size means, rounded down; 1GB is 1000³ and 1GiB 1024³ bytes.

    Units are B, KB, MB, GB, TB and KiB, MiB, GiB, TiB, in upper or lower case. ValueError, which begins with the size,
    for anything else and for less than one byte.

    >>> n_bytes("1.5GiB"), n_bytes("500 MB"), n_bytes(4096)
    (1610612736, 500000000, 4096)
    """
    number = Fraction(0)
    if isinstance(size, str):
        found = _SIZE.fullmatch(size)
        if found is not None:
            number = Fraction(found[1]) * _factor((found[2] or "").lower())
    elif not isinstance(size, bool) and math.isfinite(size):
        number = Fraction(size)
    if number < 1:
        raise ValueError(f"{size}: must be a size above 0, such as 20GB, 1.5GiB, 500MB, or a number of bytes")
    return int(number)


def shown_size(number: int, /) -> str:
    """Return a number of bytes in three figures.

    >>> [shown_size(n) for n in (0, 999, 12_345, 999_999, 4_000_000_000)]
    ['0 B', '999 B', '12.3 KB', '1.00 MB', '4.00 GB']
    """
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if number >= 0.9995 * unit:
            return f"{number / unit:#.3g}".rstrip(".") + f" {name}"
    return f"{number} B"


def _factor(prefix: str) -> int:
    """Return how many bytes a unit with that prefix has."""
    if not prefix:
        return 1
    return int((1024 if prefix.endswith("i") else 1000) ** (1 + _PREFIXES.index(prefix[0])))
