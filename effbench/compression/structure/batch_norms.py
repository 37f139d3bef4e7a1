"""Batch norms folded into the layers before them: the same function with fewer layers, as it is quantised and run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import constrained_value, constraints_on, parameter_behind
from effbench.compression.structure.edits import add_bias, places, remove_module
from effbench.compression.structure.watch import hooked, run_once

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norms(network: nn.Module, images: Tensor, /) -> tuple[str, ...]:
    """Fold each batch norm into the layer whose output it alone takes, in place; return the paths of those that went.

    W' = W · γ / √(σ² + ε) and b' = β + (b - μ) · γ / √(σ² + ε), for each output channel, with the running statistics
    (Krishnamoorthi 2018, arXiv:1806.08342, section 3.2). The batch norm then returns its input, and the layer has a
    bias: structural edits, which the run's file and the store keep. The network's evaluation is the same function, up
    to rounding; its training is another, without statistics.

    What can be folded is seen while the network runs. A batch norm stays where the layer's output goes elsewhere, too,
    or is the network's; where either runs more than once, or has a hook; where the layer shares a tensor with another,
    is a transposed convolution or a low-rank chain without a bias; where its weight is under another constraint than a
    mask, as a grid or a codebook is that of the weight as it was; and where there are no running statistics.

    images: (N, C, H, W), an input.
    """
    folded = []
    paths = {module: path for path, module in places(network)}
    for layer, norm in _find_pairs(network, images):
        if norm in paths and _can_take(layer, network):
            _fold(layer, norm)
            remove_module(network, paths[norm])
            folded.append(paths[norm])
    return tuple(folded)


def _fold(layer: nn.Module, norm: nn.Module) -> None:
    """Scale and shift a layer's outputs as the batch norm does."""
    assert isinstance(norm, _NORMS) and norm.running_mean is not None and norm.running_var is not None
    factor = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        factor = factor * norm.weight.detach().double()
    shift = -norm.running_mean.double() * factor
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    add_bias(layer)
    weight, bias = parameter_behind(layer, "weight"), parameter_behind(layer, "bias")
    with torch.no_grad():
        # A mask holds what it held: a scaled zero is zero.
        weight.copy_(weight.double() * factor.reshape(-1, *[1] * (weight.ndim - 1)))
        bias.copy_(bias.double() * factor + shift)


def _can_take(layer: nn.Module, network: nn.Module) -> bool:
    """Whether a layer's tensors are its own and may be scaled, and its bias is there or can be added."""
    if constraints_on(layer, "bias"):
        return False
    if not all(isinstance(constraint, Mask) and constraint.settled for constraint in constraints_on(layer, "weight")):
        return False
    has_bias = layer._parameters["bias"] is not None
    if not has_bias and all(module is not layer for _, module in places(network)):
        return False  # a part of a chain, which is rebuilt as a whole
    parameters = (parameter for module in network.modules() for parameter in module._parameters.values())
    uses = Counter(id(parameter) for parameter in parameters if parameter is not None)
    names = ("weight", "bias") if has_bias else ("weight",)
    return all(uses[id(parameter_behind(layer, name))] == 1 for name in names)


def _find_pairs(network: nn.Module, images: Tensor) -> list[tuple[nn.Module, nn.Module]]:
    """Return the layers and the batch norms that alone take their outputs, in the order in which they run."""
    uses = _Uses()
    layers = [module for module in network.modules() if _is_plain_layer(module)]
    norms = [module for module in network.modules() if _is_plain_norm(module)]
    with (
        hooked(layers, after=uses.layer_ran),
        hooked(norms, before=uses.norm_runs, after=uses.norm_ran),
        uses,
    ):
        uses.note(run_once(network, images))
    return uses.pairs()


def _is_plain_layer(module: nn.Module) -> bool:
    return parametrize.type_before_parametrizations(module) in _LAYERS and not module._forward_hooks


def _is_plain_norm(module: nn.Module) -> bool:
    """Whether a module is a batch norm with running statistics whose input and output no hook sees or changes."""
    if type(module) not in _NORMS or module.running_mean is None:
        return False
    return not module._forward_hooks and not module._forward_pre_hooks


class _Uses(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation while a network runs, and so whatever becomes of the outputs of layers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._n_calls: Counter[nn.Module] = Counter()
        self._outputs: dict[int, tuple[nn.Module, Tensor]] = {}
        """Layer and output, by the output's id: it is kept, so that no other gets this id."""
        self._norm_of: dict[nn.Module, nn.Module] = {}
        """The batch norm that takes a layer's output."""
        self._used_elsewhere: set[nn.Module] = set()
        self._in_norm: int | None = None
        """The id of what the batch norm that runs has been given."""

    def pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Return each layer with the batch norm that its output went into, once, and nothing else did."""
        return [
            (layer, norm)
            for layer, norm in self._norm_of.items()
            if layer not in self._used_elsewhere and self._n_calls[layer] == self._n_calls[norm] == 1
        ]

    def note(self, values: Any) -> None:
        """Note the outputs among `values` (in whatever nest) as used elsewhere than in their batch norm."""
        for value in tree_leaves(values):
            if id(value) in self._outputs and id(value) != self._in_norm:
                self._used_elsewhere.add(self._outputs[id(value)][0])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.note((args, kwargs))
        return func(*args, **(kwargs or {}))

    def layer_ran(self, layer: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        """Remember a layer's output."""
        self._n_calls[layer] += 1
        if output.ndim == constrained_value(layer, "weight").ndim:  # otherwise a batch norm has other channels
            self._outputs[id(output)] = (layer, output)

    def norm_runs(self, norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Remember which layer's output a batch norm is given: what is done with it now is the batch norm's doing."""
        self._n_calls[norm] += 1
        if inputs and id(inputs[0]) in self._outputs:
            self._in_norm = id(inputs[0])
            layer, _ = self._outputs[self._in_norm]
            if layer in self._norm_of:
                self._used_elsewhere.add(layer)
            self._norm_of[layer] = norm

    def norm_ran(self, _norm: nn.Module, _inputs: tuple[Any, ...], _output: Any) -> None:
        """Count what is done with the batch norm's input from now on as a use elsewhere."""
        self._in_norm = None
