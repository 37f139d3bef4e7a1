"""Depth pruning: whole blocks are removed where the network fits together without them."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from effbench.compression.duplicate import duplicate
from effbench.compression.layers import weight_layers
from effbench.compression.modes import evaluating
from effbench.compression.structure.edits import places, remove_module
from effbench.compression.structure.merged_blocks import merging_off
from effbench.compression.structure.watch import run_once
from effbench.plan.context import Context
from effbench.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class PruneBlocks(Stage):
    """Let whole residual blocks or layers return their input, the least harmful first.

    A block is a child of an `nn.Sequential` that holds convolution or linear weights and whose output has the shape of
    its input (Veit et al. 2016, arXiv:1605.06431, section 4.1, remove such blocks from trained residual networks); of
    blocks within blocks the outermost counts. Greedy: each one left is removed on trial, and the one goes after
    whose removal the accuracy on validation is highest; of equal ones, the one of most parameters.
    """

    VERSION: ClassVar[int] = 1

    count: Annotated[int, Field(ge=0)]
    """How many blocks are removed."""

    def value_after(self, position: int, n_rounds: int) -> float:
        """Return how many blocks are removed after a round."""
        return self.count * position // n_rounds

    def at_round(self, position: int, n_rounds: int) -> PruneBlocks:
        """Return the stage for round `position` of `n_rounds`: together they remove `count` blocks."""
        done, before = (self.count * number // n_rounds for number in (position, position - 1))
        return dataclasses.replace(self, count=done - before)

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` without some blocks. ValueError where it has not as many."""
        pruned = duplicate(model)
        candidates = removable_blocks(pruned, context.example()) if self.count else []
        if len(candidates) < self.count:
            known = f" ({', '.join(candidates)})" if candidates else ""
            raise ValueError(
                f"prune_blocks={self.count}: {type(model).__name__} has {len(candidates)} removable blocks{known}: "
                "children of a Sequential with weights whose output has the shape of their input"
            )
        for _ in range(self.count):
            worth = {path: _worth_without(pruned, path, context) for path in candidates}
            least_harmful = max(candidates, key=worth.__getitem__)
            remove_module(pruned, least_harmful)
            candidates.remove(least_harmful)
        return pruned


def removable_blocks(network: nn.Module, images: Tensor, /) -> list[str]:
    """Return the paths of the blocks that can be removed from a network, in its order; it is left as it is.

    images: (N, C, H, W), an input.
    """
    with merging_off(network):  # which calls the blocks one by one
        fitting = _shape_keepers(network, images)
    blocks: list[str] = []
    for path, module in places(network):
        parent = network.get_submodule(path.rpartition(".")[0])
        within = any(path.startswith(f"{block}.") for block in blocks)
        if path and not within and isinstance(parent, nn.Sequential) and module in fitting:
            blocks.append(path)
    return [path for path in blocks if _runs_without(network, path, images)]


def _shape_keepers(network: nn.Module, images: Tensor) -> set[nn.Module]:
    """Return the modules with weights that run once, on one tensor, and return another of its shape and type."""
    seen: dict[nn.Module, list[bool]] = {}

    def note(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        tensors = [value for value in (*inputs, output) if isinstance(value, Tensor)]
        forms = {(tensor.shape, tensor.dtype) for tensor in tensors}
        seen.setdefault(module, []).append(len(inputs) == 1 and len(tensors) == 2 and len(forms) == 1)

    watched = [module for _, module in places(network) if any(True for _ in weight_layers(module))]
    with ExitStack() as hooks, evaluating(network), torch.no_grad():
        for module in dict.fromkeys(watched):
            hooks.callback(module.register_forward_hook(note).remove)
        network(images)
    return {module for module, fits in seen.items() if fits == [True]}


def _runs_without(network: nn.Module, path: str, images: Tensor) -> bool:
    """Whether a network runs without a block: another part of it may use the block's weights."""
    trial = duplicate(network)
    remove_module(trial, path)
    try:
        run_once(trial, images)
    except Exception:
        return False
    return True


def _worth_without(network: nn.Module, path: str, context: Context) -> tuple[float, int]:
    """Return the accuracy without a block and the number of parameters that go with it."""
    trial = duplicate(network)
    n_parameters = sum(parameter.numel() for parameter in trial.get_submodule(path).parameters())
    remove_module(trial, path)
    return context.evaluate(trial), n_parameters
