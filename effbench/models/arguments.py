"""What the factories ask of their arguments: the checks, the width multiplier's rounding, and widths in a text."""

from __future__ import annotations

import math
from collections.abc import Iterable


def require_positive_integers(**values: int) -> None:
    """Refuse, by name, what is not an integer of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def require_flags(**values: bool) -> None:
    """Refuse, by name, what is neither True nor False."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r}")


def require_choice(value: str, choices: Iterable[str], /, *, name: str) -> None:
    """Refuse, by name, what is none of the choices, which are listed."""
    known = tuple(choices)
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


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


def hidden_widths(hidden: int | str | Iterable[int], /, *, n_layers: int | None = None) -> tuple[int, ...]:
    """Return the widths of hidden fully connected layers, read from 300, "300-100" or [300, 100].

    n_layers: how many there are; one number is then that of all. None: as many as there are numbers. ValueError for
    what is no width of at least 1, and for another number of them.

    >>> hidden_widths("300-100"), hidden_widths(50, n_layers=2)
    ((300, 100), (50, 50))
    """
    if isinstance(hidden, str):
        widths = tuple(int(part) if part.isdecimal() else 0 for part in hidden.split("-"))
    else:
        widths = tuple(hidden) if isinstance(hidden, Iterable) else (hidden,)
    whole = all(isinstance(width, int) and not isinstance(width, bool) and width >= 1 for width in widths)
    if not widths or not whole:
        raise ValueError(f"hidden must be a width of at least 1, or one for each layer as in 300-100; got {hidden!r}")
    if n_layers is not None and len(widths) == 1:
        widths *= n_layers
    if n_layers is not None and len(widths) != n_layers:
        layers = f"{n_layers} hidden layer{'s' if n_layers > 1 else ''}"
        raise ValueError(f"hidden={hidden}: the network has {layers}, and {len(widths)} widths are given")
    return widths
