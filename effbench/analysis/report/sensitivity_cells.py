"""The report's picture of layers: what rounding each one alone costs, and the width that each was given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from effbench.analysis.figures.profile_figure import short_count
from effbench.analysis.figures.sensitivity import axis_titles, sensitivity_matrices
from effbench.analysis.report.cells import Cells, Content

SENSITIVITIES = ("sensitivity", "act_sensitivity")
"""The names of the tables that have them, of weights and of activations: a row for each layer and width."""
_NOTHING, _SMALL = 1e-5, 1e-3
"""Increases below are written as 0, and with one digit."""


def sensitivity_cells(tables: Mapping[str, Mapping[str, pd.DataFrame]], /) -> list[Cells]:
    """Return of each kind the picture of the first run that has such a table; none where a table lacks something.

    tables: of runs, by their names. What was measured is the same for other budgets of the same network: these differ
    in the widths that were given.
    """
    found = (_first(tables, kind) for kind in SENSITIVITIES)
    return [cells for cells in found if cells is not None]


def _first(tables: Mapping[str, Mapping[str, pd.DataFrame]], kind: str) -> Cells | None:
    for name, own in tables.items():
        if kind in own:
            try:
                return _cells(name, own[kind])
            except ValueError:
                continue
    return None


def _cells(name: str, table: pd.DataFrame) -> Cells:
    increases, chosen, sizes = sensitivity_matrices(table)
    values, given = increases.to_numpy(dtype=float), chosen.to_numpy(dtype=bool)
    positive = values[np.isfinite(values) & (values > 0)]
    top = float(positive.max()) if len(positive) else 1.0
    low = max(top / 1e4, float(positive.min())) if len(positive) else top
    layers, widths = [str(layer) for layer in increases.index], [str(bits) for bits in increases.columns]
    across, down = axis_titles(sizes)
    contents = [
        [
            _content(layers[row], widths[column], float(values[row, column]), low, top, bool(given[row, column]))
            for column in range(len(widths))
        ]
        for row in range(len(layers))
    ]
    return Cells(
        title=f"increase of the validation loss ({name})",
        described=f"The increase of the validation loss for each of {len(layers)} layers, its {sizes.name} alone at "
        f"{', '.join(widths)} bits; framed is the width that the layer was given.",
        note="framed: the width that the layer was given; darker is worse, on a logarithmic scale",
        x_title=across,
        y_title=down,
        key_title="increase of the validation loss, logarithmic",
        key_ends=(f"{low:.2g} or less", f"{top:.2g}"),
        contents=contents,
        across=widths,
        down=[f"{layer} ({short_count(sizes[layer])})" for layer in increases.index],
    )


def _content(layer: str, bits: str, value: float, low: float, top: float, is_framed: bool) -> Content:
    share = np.log(value / low) / np.log(top / low) if value > low and top > low else float(value >= top)
    text = _text(value)
    return Content(
        text=text,
        said=f"{layer} at {bits} bits: {text}{', the width that it was given' if is_framed else ''}",
        share=float(share),
        is_framed=is_framed,
    )


def _text(value: float) -> str:
    """Write an increase in few letters.

    >>> _text(0.0613), _text(0.00034), _text(0.000043), _text(-0.5), _text(1e-7)
    ('0.061', '0.0003', '4e−05', '−0.5', '0')
    """
    if abs(value) < _NOTHING:
        return "0"
    return f"{value:.{2 if abs(value) >= _SMALL else 1}g}".replace("-", "−")
