"""The figure of a run's sensitivities: what each layer's rounding alone costs, and the width that each was given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FONT_SIZE = 7.0
_VERMILION = "#D55E00"
_MOST_CELLS_WITH_FIGURES = 200


def plot_sensitivity(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the increase of the validation loss for each layer (a row) and width (a column), the chosen width framed.

    frame: the table `sensitivity` of a run with `bits_budget`: layer, weights, bits, loss_increase and chosen, one row
    for each layer and width; or `act_sensitivity` of one with `act_bits_budget`, which has activations for weights.
    Darker is worse, on a logarithmic scale; what does not raise the loss is white. Where there are few enough, cells
    hold their figures. `ax` None makes a figure as high as the layers need. ValueError where a column is missing, or a
    layer lacks a width.
    """
    increases, chosen, sizes = sensitivity_matrices(frame)
    if ax is None:
        ax = _new_axes(len(increases))
    from matplotlib.colors import LogNorm

    values = increases.to_numpy(dtype=float)
    positive = values[values > 0]
    top = float(positive.max()) if len(positive) else 1.0
    norm = LogNorm(vmin=max(top / 1e4, float(positive.min()) if len(positive) else 0.1) * 0.999, vmax=top)
    ax.imshow(np.ma.masked_less_equal(values, 0), norm=norm, cmap="Blues", aspect="auto")
    _write_figures(ax, values, norm)
    for row, column in zip(*np.nonzero(chosen.to_numpy(dtype=bool)), strict=True):
        _frame_cell(ax, int(row), int(column))
    ax.set_xticks(range(len(increases.columns)), [str(bits) for bits in increases.columns], fontsize=_FONT_SIZE)
    labels = [f"{layer} ({_short(sizes[layer])})" for layer in increases.index]
    ax.set_yticks(range(len(labels)), labels, fontsize=_FONT_SIZE)
    across, down = axis_titles(sizes)
    ax.set_xlabel(across, fontsize=_FONT_SIZE + 1)
    ax.set_ylabel(down, fontsize=_FONT_SIZE + 1)
    ax.set_title("increase of the validation loss; framed: the width chosen", fontsize=_FONT_SIZE + 1)
    ax.tick_params(length=0)
    return ax


def sensitivity_matrices(frame: pd.DataFrame, /) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Return increases and choices, both (layers, widths, the widest first), and how many weights each layer has.

    Of a table of activations it is how many of these, by the name of the series. ValueError where a column is missing,
    or a layer lacks a width.
    """
    counted = "activations" if "activations" in frame.columns else "weights"
    for name in ("layer", counted, "bits", "loss_increase", "chosen"):
        if name not in frame.columns:
            raise ValueError(f"{name}: a table of sensitivities has this column; there are {', '.join(frame.columns)}")
    order = list(dict.fromkeys(frame["layer"]))
    increases, chosen = (
        frame.pivot_table(index="layer", columns="bits", values=name, aggfunc="first", dropna=False)
        .reindex(order)
        .sort_index(axis=1, ascending=False)
        for name in ("loss_increase", "chosen")
    )
    if increases.isna().any(axis=None):
        missing = increases.index[increases.isna().any(axis=1)][0]
        raise ValueError(f"{missing}: each layer needs a figure for each width")
    return increases, chosen, frame.groupby("layer")[counted].first()


def axis_titles(sizes: pd.Series, /) -> tuple[str, str]:
    """Return what the widths and the layers are titled; sizes: of `sensitivity_matrices`."""
    if sizes.name == "activations":
        return "bits of what goes into this layer alone", "layer (activations that go into it)"
    return "bits of this layer's weights alone", "layer (weights that are not zero)"


def _new_axes(n_layers: int) -> Axes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 1.1 + 0.2 * max(n_layers, 4)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots()


def _write_figures(ax: Axes, values: np.ndarray, norm: object) -> None:
    if values.size > _MOST_CELLS_WITH_FIGURES:
        return
    for (row, column), value in np.ndenumerate(values):
        is_dark = value > 0 and float(norm(value)) > 0.6  # type: ignore[operator]
        text = f"{value:.2g}".replace("-", "−") if abs(value) >= 1e-5 else "0"
        colour = "white" if is_dark else "black"
        ax.text(column, row, text, ha="center", va="center", fontsize=_FONT_SIZE - 0.5, color=colour)


def _frame_cell(ax: Axes, row: int, column: int) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((column - 0.47, row - 0.44), 0.94, 0.88, fill=False, edgecolor=_VERMILION, linewidth=1.6))


def _short(count: float) -> str:
    """Write a count in three digits.

    >>> [_short(n) for n in (0, 512, 36864, 2359296)]
    ['0', '512', '36.9 K', '2.36 M']
    """
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if count >= size:
            digits = 2 - math.floor(math.log10(count / size))
            return f"{count / size:.{max(0, digits)}f} {prefix}"
    return f"{count:.0f}"
