"""The optimiser of a training: AdamW in its fused form, or any class of torch.optim's form."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from effbench.checks.errors import kind_and_line
from effbench.compression.constraints.learned_grid import LearnedGrid
from effbench.training.options import Component, TrainingOptions, check_kind

OWN_KEYS = {"lr": "train.lr and finetune.lr", "weight_decay": "train.weight_decay and finetune.weight_decay"}
"""Options of an optimiser that are keys of their own, and these."""


def parameter_groups(
    parameters: Iterable[nn.Parameter], options: TrainingOptions, /, *, steady: Collection[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Return the trained parameters in groups: those of two or more dimensions decay, the others may, but `steady`."""
    apart = set(map(id, steady))
    trained = [p for p in parameters if p.requires_grad and id(p) not in apart]
    others = options.weight_decay if options.decay_norms else 0.0
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": others},
        *([{"params": [p for p in steady if p.requires_grad], "weight_decay": 0.0}] if steady else []),
    ]


def make_optimizer(model: nn.Module, options: TrainingOptions, /) -> Optimizer:
    """Return an optimiser of the trained parameters of `model`."""
    positions = {id(grid): grid.position for grid in model.modules() if isinstance(grid, LearnedGrid)}
    groups = parameter_groups(model.parameters(), options, steady=list(positions.values()))
    if options.optimizer is None:
        return torch.optim.AdamW(groups, lr=options.lr, fused=True)
    return _build(options.optimizer, groups, options)


def _build(component: Component, groups: Sequence[dict[str, Any]], options: TrainingOptions) -> Optimizer:
    filled = [group for group in groups if group["params"]]
    if not component.takes("weight_decay"):
        filled = [{"params": [p for group in filled for p in group["params"]]}]
    if component.takes("lr"):  # which has a default of the class's own
        filled = [{**group, "lr": options.lr} for group in filled]
    optimizer: Optimizer = component.build(("params", filled), lr=options.lr)
    return optimizer


def check_optimizer(options: TrainingOptions, shapes: Collection[tuple[int, ...]] = ((2, 2),), /) -> None:
    """Try the optimiser on small parameters of these shapes: one step. ValueError, of `optimizer`, says what is wrong.

    A shape may be smaller than that of the network's parameter, of as many dimensions.
    """
    component = options.optimizer
    if component is None:
        return
    check_kind("optimizer", component, Optimizer, "torch.optim.Optimizer")
    for name in OWN_KEYS:
        if name in component.options:
            raise ValueError(f"optimizer.{name}={component.options[name]}: is given as {OWN_KEYS[name]}")
    if options.weight_decay and not component.takes("weight_decay"):
        raise ValueError(
            f"optimizer: {component.target} has no weight decay, so weight_decay={options.weight_decay:g} must be 0"
        )
    parameters = [nn.Parameter(torch.ones(shape)) for shape in sorted(shapes)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer: object = _build(component, parameter_groups(parameters, options), options)
            if not isinstance(optimizer, Optimizer):
                raise ValueError(f"gives a {type(optimizer).__name__}, not a torch.optim.Optimizer")
            for parameter in parameters:
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()
    except ValueError as error:
        raise ValueError(f"optimizer: {component.target}: {' '.join(str(error).split())}") from None
    except TypeError as error:
        hint = "; one that needs a closure can't be used here, as each step has one gradient" * (
            "closure" in str(error)
        )
        raise ValueError(f"optimizer: {component.target}: {kind_and_line(error)}{hint}") from None
    except Exception as error:  # whatever a class makes of its options
        raise ValueError(f"optimizer: {component.target}: {kind_and_line(error)}") from None


def as_parameters(optimizer: Optimizer, /) -> None:
    """Have the optimiser's tensors lie in memory as the parameters that they belong to, as when it made them.

    What comes from a file is contiguous, and fused kernels go through both in the order in which they lie.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
