"""What the factories ask of their arguments: the checks, and the width multiplier's rounding."""

from __future__ import annotations

import math


def require_positive_integers(**values: int) -> None:
    """Refuse, by name, what is not an integer of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def require_width(alpha: float, *, name: str = "alpha") -> None:
    """Refuse, by name, a width multiplier that is not a finite number above 0."""
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha) or alpha <= 0:
        raise ValueError(f"{name} must be a finite number above 0 (1 keeps the network's own width), got {alpha!r}")


def scaled_width(channels: int, alpha: float) -> int:
    """Return `alpha` × `channels`, rounded half up, at least 1.

    >>> scaled_width(6, 0.25), scaled_width(6, 0.75), scaled_width(8, 0.01)
    (2, 5, 1)
    """
    return max(1, math.floor(alpha * channels + 0.5))
