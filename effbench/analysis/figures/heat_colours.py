"""The colours of heat maps: even steps of loss are even steps to the eye, with every kind of colour vision."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MAP = "cividis_r"
"""Nuñez, Anderton & Renslow 2018, PLoS ONE 13(7): light is little, dark is much."""
_TOLERANCES = 5.0
"""From a loss of so many tolerances on all have the darkest colour: what is acceptable is where colours must differ."""


def darkest_loss(losses: NDArray[np.float64], tolerance: float, /) -> float:
    """Return the loss from which on colours are the darkest: the largest one, or five tolerances.

    >>> darkest_loss(np.array([0.01, 0.5, np.nan]), 0.02), darkest_loss(np.array([0.01, -0.1]), 0.02)
    (0.1, 0.02)
    """
    known = losses[np.isfinite(losses)]
    largest = max(float(known.max()) if len(known) else 0.0, tolerance)
    return min(largest, _TOLERANCES * tolerance) if tolerance > 0 else largest or 1.0


@lru_cache(maxsize=1024)
def colour_at(share: float, /) -> str:
    """Return the colour of a share of the darkest, as #rrggbb; below 0 the lightest, above 1 the darkest.

    >>> colour_at(-1.0) == colour_at(0.0), colour_at(1.0)
    (True, '#00224e')
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return to_hex(colormaps[MAP](min(max(share, 0.0), 1.0)))


def text_on(colour: str, /) -> str:
    """Return "black" or "white", whichever can be read better on a colour (WCAG 2.1, contrast of luminances).

    >>> text_on("#00224e"), text_on("#fee838")
    ('white', 'black')
    """
    parts = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"
