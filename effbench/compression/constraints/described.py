"""Which constraints a network carries, as plain data, and the same constraints made again from it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.codebook import Codebook, MovingCodebook, share_tensor
from effbench.compression.constraints.layer_inputs import constraints_on_inputs, impose_on_input
from effbench.compression.constraints.masks import Mask, RampedMask
from effbench.compression.constraints.quantizer import UniformQuantizer


def describe(model: nn.Module, /) -> list[dict[str, Any]]:
    """Return which constraints a network carries, as JSON-able data: what `impose` needs, beside the state dict."""
    described = [{"module": name, **constraint.settings()} for name, _, constraint in constraints_on_inputs(model)]
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            for tensor_name, stack in module.parametrizations.items():
                described += [{"module": name, "tensor": tensor_name, **constraint.settings()} for constraint in stack]
    return described


def impose(model: nn.Module, descriptions: list[dict[str, Any]], /) -> None:
    """Impose the described constraints on a network that has none; their buffers come with the state dict.

    ValueError where a kind of constraint is not known.
    """
    for description in descriptions:
        settings = {key: value for key, value in description.items() if key not in ("module", "tensor")}
        module = model.get_submodule(description["module"])
        if "tensor" in description:
            _impose_on_tensor(module, description["tensor"], settings)
        else:
            impose_on_input(module, settings)


def _impose_on_tensor(module: nn.Module, tensor_name: str, settings: dict[str, Any]) -> None:
    """Impose what `settings` describes on a tensor, after the constraints that it has."""
    kind, options = settings["kind"], {key: value for key, value in settings.items() if key != "kind"}
    tensor = getattr(module, tensor_name)
    codes = torch.zeros_like(tensor, dtype=torch.uint8)
    match kind:
        case "mask" | "ramped":
            mask = torch.ones_like(tensor, dtype=torch.bool)
            constraint = RampedMask(mask, **options) if kind == "ramped" else Mask(mask)
            parametrize.register_parametrization(module, tensor_name, constraint)
        case "uniform":
            parametrize.register_parametrization(module, tensor_name, UniformQuantizer(**options))
        case "codebook":
            share_tensor(module, tensor_name, Codebook(codes, **options))
        case "moving":
            values = tensor.new_zeros(options.pop("n_values"))
            share_tensor(module, tensor_name, MovingCodebook(codes, values, **options))
        case _:
            raise ValueError(f"unknown kind of constraint: {kind!r}")
