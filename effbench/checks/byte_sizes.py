"""Numbers of bytes, as people write them."""

from __future__ import annotations

import re

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", re.IGNORECASE)


def parse_bytes(text: str | int, /) -> int:
    """Return a number of bytes. ValueError for what is none.

    >>> parse_bytes("20GB"), parse_bytes("1.5 GiB"), parse_bytes(4096)
    (20000000000, 1610612736, 4096)
    """
    written = _WRITTEN.fullmatch(str(text).strip())
    number = 0 if written is None or isinstance(text, bool) else float(written[1]) * _UNITS[(written[2] or "").lower()]
    if number < 1:
        raise ValueError(f"{text}: must be a number of bytes above 0, as in 20GB, 500MB, 1.5GiB or 1000000")
    return int(number)


def shown_bytes(n_bytes: int, /) -> str:
    """Return a number of bytes in three figures.

    >>> [shown_bytes(n) for n in (0, 999, 12_345, 999_999, 4_000_000_000)]
    ['0 B', '999 B', '12.3 KB', '1.00 MB', '4.00 GB']
    """
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if n_bytes >= 0.9995 * unit:
            number = f"{n_bytes / unit:#.3g}".rstrip(".")
            return f"{number} {name}"
    return f"{n_bytes} B"
