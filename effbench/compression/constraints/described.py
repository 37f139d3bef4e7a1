"""Which constraints a network carries, as plain data, and the same constraints made again from it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.codebook import Codebook, MovingCodebook, share_tensor
from effbench.compression.constraints.layer_inputs import constraints_on_inputs, impose_on_input
from effbench.compression.constraints.learned_grid import LearnedGrid
from effbench.compression.constraints.masks import Mask, RampedMask
from effbench.compression.constraints.quantizer import HeldGrid, UniformQuantizer
from effbench.compression.constraints.stack import Place, bake_tensor, constrained_value, originals, register

_OURS = (Mask, UniformQuantizer, Codebook)


def describe(model: nn.Module, /) -> list[dict[str, Any]]:
    """Return which constraints a network carries, as JSON-able data: what `impose` needs, beside the state dict.

    A constraint that a tied tensor has in several places is described once, with the `others`. Of a constraint that is
    the network's own (torch's weight norm, say) it is told only that it is there.
    """
    described: dict[object, dict[str, Any]] = {
        number: {"module": name, **constraint.settings()}
        for number, (name, _, constraint) in enumerate(constraints_on_inputs(model))
    }
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            for tensor_name, stack in module.parametrizations.items():
                for constraint in stack:
                    key = (id(constraint), *map(id, originals(module, tensor_name)))
                    if key in described:
                        described[key].setdefault("others", []).append([name, tensor_name])
                    else:
                        settings = constraint.settings() if isinstance(constraint, _OURS) else {"kind": "own"}
                        described[key] = {"module": name, "tensor": tensor_name, **settings}
    return list(described.values())


def impose(model: nn.Module, descriptions: list[dict[str, Any]], /) -> None:
    """Impose the described constraints on a network that has none but its own; their buffers come with the state dict.

    A constraint of the network's own that is not described has ended, and is taken off. ValueError where a kind of
    constraint is not known.
    """
    own = {
        (description["module"], description["tensor"]) for description in descriptions if description["kind"] == "own"
    }
    for name, module in list(model.named_modules()):
        if parametrize.is_parametrized(module):
            for tensor_name in list(module.parametrizations):
                if (name, tensor_name) not in own:
                    bake_tensor(module, tensor_name)
    for description in descriptions:
        settings = {key: value for key, value in description.items() if key not in ("module", "tensor", "others")}
        if "tensor" in description:
            places = [(description["module"], description["tensor"]), *description.get("others", ())]
            _impose_on_tensor([(model.get_submodule(name), tensor_name) for name, tensor_name in places], settings)
        else:
            impose_on_input(model.get_submodule(description["module"]), settings)


def _impose_on_tensor(places: list[Place], settings: dict[str, Any]) -> None:
    """Impose what `settings` describes on a tensor in all its places, after the constraints that it has."""
    kind, options = settings["kind"], {key: value for key, value in settings.items() if key != "kind"}
    (module, tensor_name), *others = places
    tensor = constrained_value(module, tensor_name)
    codes = torch.zeros(tensor.shape, dtype=torch.uint8, device=tensor.device)
    constraint: nn.Module
    match kind:
        case "own":
            return
        case "mask" | "ramped":
            mask = torch.ones(tensor.shape, dtype=torch.bool, device=tensor.device)
            constraint = RampedMask(mask, **options) if kind == "ramped" else Mask(mask)
        case "uniform":
            constraint = UniformQuantizer(**options)
        case "held":
            shape = tensor.shape[:1] if options.pop("granularity") == "channel" else ()
            scale = tensor.new_ones(shape, dtype=torch.float32)
            constraint = HeldGrid(scale, tensor.new_zeros(shape, dtype=torch.int32), **options)
        case "learned":
            constraint = LearnedGrid(tensor.new_zeros((), dtype=torch.float32), **options)
        case "codebook":
            share_tensor(module, tensor_name, Codebook(codes, **options), also=others)
            return
        case "moving":
            values = tensor.new_zeros(options.pop("n_values"))
            share_tensor(module, tensor_name, MovingCodebook(codes, values, **options), also=others)
            return
        case _:
            raise ValueError(f"unknown kind of constraint: {kind!r}")
    for place, name in places:
        register(place, name, constraint)
