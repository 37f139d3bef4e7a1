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
from effbench.compression.structure.attention_heads import is_attention
from effbench.compression.structure.edits import places, remove_module
from effbench.compression.structure.merged_blocks import merging_off
from effbench.compression.structure.watch import fast_paths_off, run_once
from effbench.plan.context import Context
from effbench.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class PruneBlocks(Stage):
    """Let whole residual blocks or layers return their input, the least harmful first.

    A block is a child of an `nn.Sequential` or `nn.ModuleList` that holds convolution or linear weights and whose
    output has the shape of its input, whatever else it is called with (Veit et al. 2016, arXiv:1605.06431, section 4.1,
    remove such blocks from trained residual networks, Fan et al. 2019, arXiv:1909.11556, section 3.2, layers from
    transformers). Of blocks within blocks the outermost counts, but a part that holds several blocks with attention is
    none itself: these are (a stage of a Swin). Blocks that return a tuple stay. Greedy: each one left is removed on
    trial, and the one goes after whose removal the accuracy on validation is highest; of equal ones, the one of most
    parameters.
    """

    VERSION: ClassVar[int] = 2

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
                "children of a Sequential or ModuleList with weights whose output has the shape of their input"
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
    candidates = [
        path
        for path, module in places(network)
        if path and module in fitting and isinstance(_parent(network, path), nn.Sequential | nn.ModuleList)
    ]
    attending = [path for path in candidates if _holds_attention(network.get_submodule(path))]
    blocks: list[str] = []
    for path in candidates:
        holds_several = sum(other.startswith(f"{path}.") for other in attending) > 1
        if not holds_several and not any(path.startswith(f"{block}.") for block in blocks):
            blocks.append(path)
    return [path for path in blocks if _runs_without(network, path, images)]


def _parent(network: nn.Module, path: str) -> nn.Module:
    return network.get_submodule(path.rpartition(".")[0])


def _holds_attention(module: nn.Module) -> bool:
    """Whether a module has attention within it, and is more than that."""
    return any(part is not module and is_attention(part) for part in module.modules())


def _shape_keepers(network: nn.Module, images: Tensor) -> set[nn.Module]:
    """Return the modules with weights that run once and return a tensor of the shape and type of their first input.

    Of those that are called with several such tensors it is not known which one they pass on: they are none.
    """
    seen: dict[nn.Module, list[bool]] = {}

    def note(module: nn.Module, inputs: tuple[object, ...], named: dict[str, object], output: object) -> None:
        tensors = [value for value in (*inputs, *named.values()) if isinstance(value, Tensor)]
        alike = [one for one in tensors if isinstance(output, Tensor) and _form(one) == _form(output)]
        seen.setdefault(module, []).append(len(alike) == 1 and bool(inputs) and alike[0] is inputs[0])

    watched = [module for _, module in places(network) if any(True for _ in weight_layers(module))]
    with ExitStack() as hooks, fast_paths_off(), evaluating(network), torch.no_grad():
        for module in dict.fromkeys(watched):
            hooks.callback(module.register_forward_hook(note, with_kwargs=True).remove)
        network(images)
    return {module for module, fits in seen.items() if fits == [True]}


def _form(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


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
