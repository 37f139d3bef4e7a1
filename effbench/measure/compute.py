"""Multiply-adds and parameters of a model, counted on the meta device: no weight is copied, no activation allocated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.measure.derived import Weight, storage_key
from effbench.measure.input_size import checked_size
from effbench.measure.meta import meta_double
from effbench.measure.meta_run import countable, run_once
from effbench.measure.tally import Tally
from effbench.measure.tensors import Place, count_nonzero, parameter_places, standing_modules

AnyTally = TypeVar("AnyTally", bound=Tally)
COUNTS = ["macs", "macs_effective", "params", "params_nonzero"]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a model computes for one input, and what it holds.

    A MAC is one multiply-add of a convolution, linear layer, matrix product or attention; biases, normalisation,
    activations and poolings are not counted. Papers' "mult-adds" are `macs`; one MAC is two FLOPs.

    >>> import effbench
    >>> cost = effbench.count_cost(effbench.models.lenet_300_100(), (1, 28, 28))
    >>> cost.macs, cost.flops, cost.params
    (266200, 532400, 266610)
    >>> cost.by_layer["layer"].tolist()
    ['fc1', 'fc2', 'classifier']
    """

    macs: int
    macs_effective: int
    """Multiply-adds whose weight is not zero. Those without a weight (attention's products) all count."""
    params: int
    """Parameters, biases and normalisation included; a tied one counts once."""
    params_nonzero: int
    """Parameters that are not zero once their constraints are applied; all of them on the meta device."""
    by_layer: pd.DataFrame = field(compare=False, repr=False)
    """A row per module with parameters or MACs: layer (its name), kind (its class) and the four counts. A tied
    parameter is in the row of its first place."""
    unknown: tuple[str, ...] = ()
    """Operations that the counter does not know: `macs` leaves out whatever they multiply-add."""

    @property
    def flops(self) -> int:
        """Floating-point operations: 2 × `macs`."""
        return 2 * self.macs


def count_cost(model: nn.Module, input_size: Sequence[int], /) -> Cost:
    """Count multiply-adds and parameters of `model` in eval mode for one input.

    A double of the model runs once on the meta device: nothing is allocated, and the model (its training flags,
    gradients, hooks and weights) is left alone. Multiply-adds follow torch.utils.flop_counter, padding included.

    Parameters
    ----------
    model
        A network of one floating-point input, on any device, with or without constraints.
    input_size
        Size of one input without the batch: (channels, height, width) for images, (n_features,) for a linear network.

    Raises
    ------
    ValueError
        If `input_size` is not made of integers of at least 1, if the network does not accept it, or if its forward pass
        can't run without values.

    Examples
    --------
    >>> cost = count_cost(nn.Conv2d(3, 64, 3, padding=1, bias=False), (3, 224, 224))
    >>> cost.macs, cost.params
    (86704128, 1728)
    """
    return counted_by(Tally, model, input_size)[0]


def counted_by(
    watch: Callable[[nn.Module, Mapping[int, Weight]], AnyTally], model: nn.Module, input_size: Sequence[int], /
) -> tuple[Cost, AnyTally]:
    """Count the cost of a model as `count_cost` does, by a tally that may note more; return that one, too."""
    size = checked_size(input_size)
    model = countable(model)
    counted = [_count(place) for place in parameter_places(model)]
    constrained = [parameter for parameter in counted if parameter.is_constrained]
    double = meta_double(model, {(p.layer, p.tensor): p.stand_in for p in constrained})
    tally = watch(double, _buffers(model, double) | _weights(double, counted))
    run_once(double, tally, size)
    by_layer = _by_layer(model, counted, tally)
    totals = {name: int(by_layer[name].sum()) for name in COUNTS}
    return Cost(**totals, by_layer=by_layer, unknown=tuple(sorted(tally.unknown))), tally


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """A parameter in its place, counted; `stand_in` has its shape and no values."""

    layer: str
    tensor: str
    is_constrained: bool
    stand_in: Tensor
    n_nonzero: int
    is_first: bool


def _count(place: Place) -> _Counted:
    """Count one parameter. A constrained value exists only while this function runs."""
    value = place.value()
    return _Counted(
        layer=place.layer,
        tensor=place.tensor,
        is_constrained=parametrize.is_parametrized(place.module, place.tensor),
        stand_in=torch.empty_like(value, device="meta", requires_grad=False),
        n_nonzero=count_nonzero(value),
        is_first=place.is_first,
    )


def _weights(double: nn.Module, counted: Sequence[_Counted]) -> dict[int, Weight]:
    """Map the double's tensors to what was counted of them."""
    weights: dict[int, Weight] = {}
    for parameter in counted:
        if parameter.stand_in.numel() > 0:
            key = storage_key(getattr(double.get_submodule(parameter.layer), parameter.tensor))
            weight = weights.setdefault(key, Weight(numel=parameter.stand_in.numel(), n_nonzero=parameter.n_nonzero))
            weight.layers.append(parameter.layer)
    return weights


def _buffers(model: nn.Module, double: nn.Module) -> dict[int, Weight]:
    """Map the double's buffers, and tensors that are attributes, to what is known of them."""
    weights: dict[int, Weight] = {}
    for layer, module in standing_modules(model):
        inside = double.get_submodule(layer)
        for name, tensor in (*module._buffers.items(), *vars(module).items()):
            if isinstance(tensor, Tensor) and tensor.numel() > 0:
                known = Weight(numel=tensor.numel(), n_nonzero=count_nonzero(tensor))
                weights[storage_key(getattr(inside, name))] = known
    return weights


def _by_layer(model: nn.Module, counted: Sequence[_Counted], tally: Tally) -> pd.DataFrame:
    """Return the counts of every module that has any, in the order of the modules."""
    firsts = [parameter for parameter in counted if parameter.is_first]
    params: dict[str, int] = dict.fromkeys((parameter.layer for parameter in firsts), 0)
    nonzero = params.copy()
    for parameter in firsts:
        params[parameter.layer] += parameter.stand_in.numel()
        nonzero[parameter.layer] += parameter.n_nonzero
    modules = [(name, module) for name, module in standing_modules(model) if name in params or name in tally.macs]
    columns = dict(zip(COUNTS, (tally.macs, tally.macs_effective, params, nonzero), strict=True))
    return pd.DataFrame(
        {
            "layer": [name for name, _module in modules],
            "kind": [parametrize.type_before_parametrizations(module).__name__ for _name, module in modules],
            **{
                count: np.array([column.get(name, 0) for name, _module in modules], dtype=np.int64)
                for count, column in columns.items()
            },
        }
    )
