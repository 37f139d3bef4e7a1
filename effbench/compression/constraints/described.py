"""Which constraints a network carries, as plain data, and the same constraints made again from it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.codebook import Codebook, MovingCodebook, share_tensor
from effbench.compression.constraints.layer_inputs import impose_on_input, inputs
from effbench.compression.constraints.masks import Mask, RampedMask
from effbench.compression.constraints.quantizer import UniformQuantizer


def describe(model: nn.Module) -> list[dict[str, Any]]:
    """Return which constraints a network carries, as JSON-able data: what `impose` needs, beside the state dict."""
    found = [{"module": name, **constraint.settings()} for name, _, constraint in inputs(model)]
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            for tensor_name, stack in module.parametrizations.items():
                found += [{"module": name, "tensor": tensor_name, **constraint.settings()} for constraint in stack]
    return found


def impose(model: nn.Module, descriptions: list[dict[str, Any]]) -> None:
    """Impose the described constraints on a network that has none; their buffers come with the state dict."""
    for entry in descriptions:
        module = model.get_submodule(entry["module"])
        if "tensor" not in entry:
            impose_on_input(module, {key: value for key, value in entry.items() if key != "module"})
            continue
        tensor = getattr(module, entry["tensor"])
        constraint: nn.Module
        if entry["kind"] == "mask":
            constraint = Mask(torch.ones_like(tensor, dtype=torch.bool))
        elif entry["kind"] == "ramped":
            options = {key: value for key, value in entry.items() if key not in ("module", "tensor", "kind")}
            constraint = RampedMask(torch.ones_like(tensor, dtype=torch.bool), **options)
        elif entry["kind"] == "uniform":
            constraint = UniformQuantizer(**{k: v for k, v in entry.items() if k not in ("module", "tensor", "kind")})
        elif entry["kind"] in ("codebook", "moving"):
            share_tensor(module, entry["tensor"], _codebook(tensor, entry))
            continue
        else:
            raise ValueError(f"unknown kind of constraint: {entry['kind']!r}")
        parametrize.register_parametrization(module, entry["tensor"], constraint)


def _codebook(tensor: Tensor, entry: dict[str, Any]) -> Codebook:
    """Return the described codebook for a tensor; its codes (and values) come with the state dict."""
    codes, n_values = torch.zeros_like(tensor, dtype=torch.uint8), entry["n_values"]
    precision = entry.get("precision", "float32")  # a network that an earlier effbench kept has none
    if entry["kind"] == "codebook":
        return Codebook(codes, n_values, precision)
    values = tensor.new_zeros(n_values)
    return MovingCodebook(codes, values, every=entry["every"], precision=precision, settled=entry["settled"])
