"""Where a network's cost sits: multiply-adds, parameters and activations of each layer, counted on the meta device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import nn

from effbench.compression.layers import other_matrices, weights_of
from effbench.measure.compute import COUNTS, Cost, counted_by
from effbench.measure.layer_kinds import ATTENTION, form_of, group_of, kind_of
from effbench.measure.layer_watch import Given, LayerWatch
from effbench.measure.meta_run import countable
from effbench.measure.tensors import standing_modules

COLUMNS = ["layer", "kind", "group", "form", "output", *COUNTS, "weights", "activations", "activation_bytes"]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Where the cost of a network's inference sits, for one input."""

    cost: Cost
    """Of the whole network: `count_cost`."""
    layers: pd.DataFrame = field(compare=False, repr=False)
    """A row for each layer: see `profile_layers`."""


def profile_layers(model: nn.Module, input_size: Sequence[int], /) -> pd.DataFrame:
    """Return what each layer of `model` computes, holds and gives for one input, in the order in which layers begin.

    A row is a module that has parameters, that multiplies, or that gives a new tensor and contains no others (a
    pooling, an activation that is not in place). Attention's products, queries × keys and that × values, have a row of
    their own in the module that computes them. Multiply-adds and parameters are those of `effbench.count_cost`, which
    they add up to.

    Parameters
    ----------
    model
        A network of one floating-point input, on any device, with or without constraints; nothing is allocated.
    input_size
        Size of one input without the batch: (channels, height, width) for images, (n_features,) for a linear network.

    Returns
    -------
    pandas.DataFrame
        layer (the module's name, "" for the network itself), kind (its class), group (convolution, fully connected,
        attention, recurrent, norm, embedding or other), form (such as "3×3 depthwise", "linear", "projection",
        "products"), output (the shape of what it gives, without the batch); macs, macs_effective, params,
        params_nonzero; weights (of the parameters, those that are multiplied: no biases, normalisations or tables);
        activations (elements of what it gives, over all its calls) and activation_bytes. What stands between layers,
        such as the sum of a shortcut, and what attention does with its scores before it multiplies again are no layers.

    Raises
    ------
    ValueError
        As for `effbench.count_cost`.

    Examples
    --------
    >>> import effbench
    >>> layers = effbench.profile_layers(effbench.models.lenet_300_100(), (1, 28, 28))
    >>> layers.loc[layers["macs"] > 0, ["layer", "group", "macs", "weights", "activations"]].values.tolist()[0]
    ['fc1', 'fully connected', 235200, 235200, 300]
    """
    return profile_of(model, input_size).layers


def profile_of(model: nn.Module, input_size: Sequence[int], /) -> Profile:
    """Return the layers of a network as `profile_layers` does, and its cost as a whole, which tells what is unknown."""
    cost, watch = counted_by(LayerWatch, model, input_size)
    plain = countable(model)
    modules = dict(standing_modules(plain))
    counts = {row["layer"]: {name: int(row[name]) for name in COUNTS} for row in cost.by_layer.to_dict("records")}
    weights = _weights(plain, watch)
    products, others = watch.products(of_attention=True), watch.products(of_attention=False)
    projections = watch.projections
    rows: list[dict[str, Any]] = []
    for layer, is_product in dict.fromkeys((*watch.order, *((name, False) for name in modules))):
        module, own = modules[layer], products.get(layer)
        if is_product:
            if own is not None:
                macs = {"macs": own.macs, "macs_effective": own.macs}
                rows.append(_row(layer, module, ATTENTION, "products", macs, 0, own.given))
            continue
        count = dict(counts.get(layer, {}))
        if own is not None:
            count |= {name: count[name] - own.macs for name in ("macs", "macs_effective")}
        given = watch.given.get(layer) or (others[layer].given if layer in others else Given())
        if any(count.values()) or given.elements:
            operation = watch.operations.get(layer)
            group = group_of(module, operation, attends=own is not None or layer in projections)
            form = form_of(module, group, operation)
            rows.append(_row(layer, module, group, form, count, weights[layer], given))
    return Profile(cost=cost, layers=pd.DataFrame(rows, columns=COLUMNS))


def _row(
    layer: str, module: nn.Module, group: str, form: str, count: Mapping[str, int], n_weights: int, given: Given
) -> dict[str, Any]:
    return {
        "layer": layer,
        "kind": kind_of(module),
        "group": group,
        "form": form,
        "output": "" if given.shape is None else "×".join(map(str, given.shape)),
        **{name: count.get(name, 0) for name in COUNTS},
        "weights": n_weights,
        "activations": given.elements,
        "activation_bytes": given.n_bytes,
    }


def _weights(model: nn.Module, watch: LayerWatch) -> Counter[str]:
    """Return how many weights stand first in each layer: those that techniques know, and matrices that multiply."""
    names = {id(module): name for name, module in reversed(list(standing_modules(model)))}
    found: Counter[str] = Counter()
    for weight in weights_of(model):
        found[names[id(weight.module)]] += weight.value().numel()
    for name, n_values in other_matrices(model).items():
        layer = name.rpartition(".")[0]
        if layer in watch.operations:
            found[layer] += n_values
    return found
