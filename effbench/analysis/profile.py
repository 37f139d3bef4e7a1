"""Where a network's cost sits: shares, a summary by group, and the layers that are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

COSTS = ("macs", "params", "activations")
"""What a profile divides among layers."""
SORTS = ("order", *COSTS)
_SUMS = ("macs", "macs_effective", "params", "params_nonzero", "weights", "activations", "activation_bytes")
_COLUMNS = ("layer", "group", "form", *_SUMS)


def with_shares(layers: pd.DataFrame, /) -> pd.DataFrame:
    """Return a profile's layers with the share of each in all multiply-adds, parameters and activations.

    layers: a row per layer, as `effbench.profile_layers` returns them. The columns are macs_share, params_share and
    activations_share, fractions; 0 where there is nothing to divide. ValueError for a frame without the columns.
    """
    _check(layers)
    shares = {f"{cost}_share": _shares(layers[cost]) for cost in COSTS}
    return layers.assign(**shares)


def profile_summary(layers: pd.DataFrame, /, *, groups: Sequence[str] = ()) -> pd.DataFrame:
    """Return a row per group of layers (convolution, fully connected, attention, …): how many, their sums and shares.

    groups: the order of those that are known; others follow as they come. The largest share need not be first.

    >>> table = pd.DataFrame({"layer": ["conv", "fc"], "group": ["convolution", "fully connected"], "form": "",
    ...     "macs": [300, 100], "macs_effective": [300, 100], "params": [1, 3], "params_nonzero": [1, 3],
    ...     "weights": [1, 3], "activations": [8, 0], "activation_bytes": [32, 0]})
    >>> profile_summary(table)[["group", "macs_share", "params_share"]].values.tolist()
    [['convolution', 0.75, 0.25], ['fully connected', 0.25, 0.75]]
    """
    _check(layers)
    order = [*(group for group in groups if group in set(layers["group"])), *layers["group"]]
    grouped = layers.groupby("group", sort=False)
    summary = grouped[list(_SUMS)].sum().assign(layers=grouped.size()).loc[list(dict.fromkeys(order))]
    return with_shares(summary.reset_index().assign(layer="", form=""))[
        ["group", "layers", *_SUMS, *(f"{cost}_share" for cost in COSTS)]
    ]


def chosen_layers(layers: pd.DataFrame, /, *, sort: str = "order", top: int | None = None) -> pd.DataFrame:
    """Return the layers sorted: the largest first, or in their order, and at most `top` of them.

    In their order, `top` keeps those with the largest share of anything. ValueError for an unknown order.
    """
    if sort not in SORTS:
        raise ValueError(f"sort={sort}: must be one of {', '.join(SORTS)}")
    if sort != "order":
        return layers.sort_values(sort, ascending=False, kind="stable").head(len(layers) if top is None else top)
    if top is None:
        return layers
    largest = pd.concat([_shares(layers[cost]) for cost in COSTS], axis=1).max(axis=1)
    kept = largest.sort_values(ascending=False, kind="stable").head(top).index
    return layers[layers.index.isin(kept)]


def _shares(values: pd.Series) -> pd.Series:
    total = int(values.sum())
    return values / total if total else pd.Series(np.zeros(len(values)), index=values.index)


def _check(layers: pd.DataFrame) -> None:
    for name in _COLUMNS:
        if name not in layers.columns:
            raise ValueError(f"{name}: a profile has this column; there are {', '.join(map(str, layers.columns))}")
