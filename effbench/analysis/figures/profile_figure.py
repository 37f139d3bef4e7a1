"""The figure of a profile: a row per layer in order, and a panel each for multiply-adds, parameters and activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.figures.marks import COLOURS, GREY
from effbench.analysis.profile import COSTS, profile_summary, with_shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {"macs": "multiply-adds", "params": "parameters", "activations": "activations"}
_GROUPS = ("convolution", "fully connected", "attention", "recurrent", "embedding")
"""Groups whose layers have rows and colours of their own; what else there is is added to the layer before it."""
_BEHIND = "norms, activations, poolings and others behind it"
_FONT_SIZE = 7.0
_PITCH, _LEAST_HEIGHT, _MOST_HEIGHT = 0.15, 2.2, 13.0
"""Inches: from row to row where there is room, and of all rows."""
_LABEL_HEIGHT = 0.12
"""Inches that a line of text takes with its gap."""
_LONGEST = 38
_SAID_FROM = 0.03
"""The least share that is written beside its bar."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """What is drawn: n layers."""

    labels: list[str]
    colours: list[str]
    own: pd.DataFrame
    """(n, costs): of the layers themselves."""
    behind: pd.DataFrame
    """(n, costs): of norms, activations, poolings and others between a layer and the next one."""


def profile_figure(layers: pd.DataFrame, /, *, title: str = "") -> Figure:
    """Draw where a network's cost sits: its layers from top to bottom in their order, coloured by their groups.

    layers: a row per layer, as `effbench.profile_layers` returns them. What is neither convolution, fully connected,
    attention, recurrent nor embedding, nor multiplies, is a grey part of the layer that it stands behind, so that bars
    add up to the whole network. A figure is as high as its layers need, up to a page; of more layers than there is room
    for, the most costly ones are named. ValueError for a frame without the columns, or without rows.

    >>> import pandas as pd
    >>> counts = {"macs": 6, "params": 8, "weights": 6, "activations": 2, "activation_bytes": 8}
    >>> effective = {"macs_effective": 6, "params_nonzero": 8}
    >>> layers = pd.DataFrame([{"layer": "fc", "group": "fully connected", "form": "linear", **counts, **effective}])
    >>> [axes.get_title(loc="left").split(chr(10))[0] for axes in profile_figure(layers).axes]
    ['multiply-adds: 6', 'parameters: 8', 'activations: 2']
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.style import context

    shares, summary = with_shares(layers), profile_summary(layers)
    if not len(layers):
        raise ValueError("the profile has no layers: there is nothing to draw")
    rows = _rows(shares)
    height = float(np.clip(len(rows.labels) * _PITCH, _LEAST_HEIGHT, _MOST_HEIGHT))
    with context("default"):  # the user's own style may be dark
        figure = Figure(figsize=(10.5, height + 1.5), facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        panels: Sequence[Axes] = figure.subplots(1, len(COSTS), sharey=True)
        for ax, cost in zip(panels, COSTS, strict=True):
            _draw(ax, rows, cost, gap=_gap(len(rows.labels), height))
            ax.set_title(_title(summary, layers, cost), loc="left", fontsize=_FONT_SIZE + 1)
        _name_rows(panels[0], rows, gap=_gap(len(rows.labels), height))
        if title:
            figure.suptitle(title, fontsize=_FONT_SIZE + 3, parse_math=False)
        _write_legend(figure, rows)
    return figure


def _rows(layers: pd.DataFrame) -> _Rows:
    is_drawn = (layers["group"].isin(_GROUPS) | (layers["macs"] > 0)).to_numpy()
    is_drawn = is_drawn if is_drawn.any() else np.ones_like(is_drawn)
    place = np.maximum(np.cumsum(is_drawn) - 1, 0)  # what stands before the first layer goes with that one
    costs = layers[list(COSTS)]
    drawn = layers[is_drawn]
    n_rows = len(drawn)
    own = costs[is_drawn].reset_index(drop=True)
    behind = costs[~is_drawn].groupby(place[~is_drawn]).sum().reindex(range(n_rows), fill_value=0)
    colours = dict(zip(_GROUPS, COLOURS, strict=False))
    return _Rows(
        labels=[_label(layer, form) for layer, form in zip(drawn["layer"], drawn["form"], strict=True)],
        colours=[colours.get(group, GREY) for group in drawn["group"]],
        own=own,
        behind=behind,
    )


def _label(layer: str, form: str) -> str:
    """Return what a row is called, its end at least.

    >>> _label("encoder.layers.encoder_layer_11.self_attention.out_proj", "projection")
    '…oder_layer_11.self_attention.out_proj'
    """
    text = (layer or "(the network itself)") + (f" {form}" if form == "products" else "")
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"


def _gap(n_rows: int, height: float) -> int:
    """Return how many rows two lines of text must be apart."""
    return max(1, int(np.ceil(_LABEL_HEIGHT * n_rows / height)))


def _apart(weights: NDArray[np.float64], gap: int) -> list[int]:
    """Return rows that are at least `gap` apart: the heaviest first, then as many as there is room for.

    >>> _apart(np.array([0.1, 0.2, 0.7, 0.6, 0.0, 0.0]), 2)
    [0, 2, 4]
    """
    taken: list[int] = []
    for row in np.argsort(-weights, kind="stable"):
        if all(abs(row - other) >= gap for other in taken):
            taken.append(int(row))
    return sorted(taken)


def _draw(ax: Axes, rows: _Rows, cost: str, *, gap: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    places = np.arange(len(rows.labels))
    own, behind = rows.own[cost].to_numpy(dtype=float), rows.behind[cost].to_numpy(dtype=float)
    ax.barh(places, own, height=0.82, color=rows.colours, gid=cost)
    ax.barh(places, behind, left=own, height=0.82, color="0.78", gid="behind")
    whole, total = own + behind, float(own.sum() + behind.sum())
    shares = whole / total if total else whole
    for row in _apart(shares, gap):
        if shares[row] >= _SAID_FROM:
            text = f" {100 * shares[row]:.1f} %"
            ax.text(whole[row], row, text, va="center", fontsize=_FONT_SIZE - 0.5, color="0.25", gid="share")
    for artist in (*ax.patches, *ax.texts):
        artist.set_in_layout(False)  # all are within the axes; looking at each takes seconds
    ax.set_xlim(0, (float(whole.max()) or 1.0) * 1.22)
    ax.set_ylim(len(rows.labels) - 0.4, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    ax.tick_params(labelsize=_FONT_SIZE, length=2)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)


def _name_rows(ax: Axes, rows: _Rows, *, gap: int) -> None:
    whole = (rows.own + rows.behind).to_numpy(dtype=float)
    shares = (whole / np.maximum(whole.sum(axis=0), 1)).max(axis=1)
    named = _apart(shares, gap)
    ax.set_yticks(named, [rows.labels[row] for row in named], fontsize=_FONT_SIZE - 0.5, parse_math=False)


def _title(summary: pd.DataFrame, layers: pd.DataFrame, cost: str) -> str:
    """Return a panel's title: the sum, and what the largest groups have of it."""
    largest = summary.sort_values(f"{cost}_share", ascending=False, kind="stable").head(3)
    lines = [f"{_TITLES[cost]}: {short_count(int(layers[cost].sum()))}"]
    for group, share in zip(largest["group"], largest[f"{cost}_share"], strict=True):
        lines.append(f"{group} {100 * share:.1f} %" if share >= 5e-4 else "")
    return "\n".join(lines + [""] * (4 - len(lines)))


def _write_legend(figure: Figure, rows: _Rows) -> None:
    from matplotlib.patches import Patch

    known = dict(zip(COLOURS, _GROUPS, strict=False))
    entries = [Patch(color=colour, label=known[colour]) for colour in COLOURS if colour in {*rows.colours} & {*known}]
    if GREY in rows.colours:
        entries.append(Patch(color=GREY, label="other"))
    if rows.behind.to_numpy().any():
        entries.append(Patch(color="0.78", label=_BEHIND))
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), fontsize=_FONT_SIZE + 0.5)


def short_count(count: float, /) -> str:
    """Write a count in three figures.

    >>> [short_count(count) for count in (0, 512, 86704128, 15470264320, 4000000, 999999)]
    ['0', '512', '86.7 M', '15.5 G', '4 M', '1 M']
    """
    for size, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " K")):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{prefix}"
    return f"{count:.3g}"
