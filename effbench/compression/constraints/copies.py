"""Networks as people make them, turned into modules, parameters and constraints: what techniques can act on and copy.

torch's older ways of changing a weight (its pruning, its first weight norm and spectral norm) keep the weight as an
attribute that a hook makes anew, and of which no copy can be made after a forward pass; they become constraints.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrizations, parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils import prune as torch_prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.recurrent import read_constrained
from effbench.compression.duplicate import duplicate, holds_graph

_HOOKS = (torch_prune.BasePruningMethod, WeightNorm, SpectralNorm)


def copy_network(model: nn.Module, /) -> nn.Module:
    """Return a copy of `model`, made of modules, parameters and constraints: see `plain_network`. Errors as there."""
    plain = plain_network(model)
    return duplicate(model) if plain is model else plain


def plain_network(model: nn.Module, /) -> nn.Module:
    """Return `model` where it is made of modules, parameters and constraints, else a copy that is; it is left alone.

    What `torch.compile` has wrapped is unwrapped. What torch's pruning, or its hooks for weight norm and spectral norm,
    make of a weight becomes a constraint on it. ValueError, with its name, for a module that has no sizes yet, and for
    what can't be copied.
    """
    for name, module in model.named_modules():
        if any(is_lazy(tensor) for tensor in (*module._parameters.values(), *module._buffers.values())):
            raise ValueError(
                f"{name or 'the network'}: a {type(module).__name__} has no weights before it has run; run the network "
                "on one example first"
            )
    if not any(_is_wrapped(module) or any(_hooks(module)) for module in model.modules()) and not holds_graph(model):
        return model
    memo: dict[int, object] = {}
    for module in reversed(list(model.modules())):  # the inner ones first
        if _is_wrapped(module):
            assert isinstance(module._orig_mod, nn.Module)
            memo[id(module)] = duplicate(module._orig_mod, memo)
    plain = duplicate(model, memo)
    for module in list(plain.modules()):
        for hook in list(_hooks(module)):
            _constrain(module, hook)
        if parametrize.is_parametrized(module):
            read_constrained(module)
    return plain


def _is_wrapped(module: nn.Module) -> bool:
    """Whether a module is what `torch.compile` gives; the compiler itself is not imported for it."""
    return type(module).__name__ == "OptimizedModule" and "_orig_mod" in module._modules


def _hooks(module: nn.Module) -> Iterator[object]:
    return (hook for hook in module._forward_pre_hooks.values() if isinstance(hook, _HOOKS))


def _constrain(module: nn.Module, hook: object) -> None:
    """Put a constraint in the place of one of torch's hooks, in place; the weight keeps its value."""
    if isinstance(hook, torch_prune.BasePruningMethod):
        name = hook._tensor_name
        original, mask = getattr(module, f"{name}_orig"), getattr(module, f"{name}_mask")
        torch_prune.remove(module, name)  # type: ignore[no-untyped-call]
        if bool(((mask == 0) | (mask == 1)).all()):
            module._parameters[name] = original
            parametrize.register_parametrization(module, name, Mask(mask != 0))
    elif isinstance(hook, WeightNorm):
        magnitude, direction = getattr(module, f"{hook.name}_g"), getattr(module, f"{hook.name}_v")
        remove_weight_norm(module, hook.name)
        parametrizations.weight_norm(module, hook.name, dim=hook.dim)
        _set(module, hook.name, original0=magnitude, original1=direction)
    elif isinstance(hook, SpectralNorm):
        original, left = getattr(module, f"{hook.name}_orig"), getattr(module, f"{hook.name}_u")
        right = getattr(module, f"{hook.name}_v")
        remove_spectral_norm(module, hook.name)
        with torch.random.fork_rng(devices=[]):  # its vectors begin at random
            parametrizations.spectral_norm(module, hook.name, hook.n_power_iterations, hook.eps, hook.dim)
        stack = _set(module, hook.name, original=original)
        (constraint,) = stack
        constraint._u, constraint._v = left.detach(), right.detach()


def _set(module: nn.Module, tensor_name: str, **originals: nn.Parameter) -> nn.ModuleList:
    """Give a constrained tensor, in place, the parameters that it is to be made of; return its constraints."""
    stacks = module.parametrizations
    assert isinstance(stacks, nn.ModuleDict)
    stack = stacks[tensor_name]
    assert isinstance(stack, nn.ModuleList)
    for name, parameter in originals.items():
        setattr(stack, name, parameter)
    return stack
