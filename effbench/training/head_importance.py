"""How important each attention head is: what the removal of heads ranks by."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor, nn

from effbench.compression.duplicate import duplicate
from effbench.compression.modes import all_trainable, evaluating
from effbench.compression.structure.attention_forwards import call_layers
from effbench.compression.structure.attention_heads import Heads, find_heads
from effbench.compression.structure.watch import fast_paths_off
from effbench.data import ImageData
from effbench.tasks import Task
from effbench.training.gradients import BATCH_SIZE, N_SCORING_EXAMPLES

HeadCriterion = Literal["gradient", "norm", "random"]


def norms_of_heads(heads: Heads, /) -> Tensor:
    """Return the l2 norm of all that a layer has of each head's own, (heads,) float64 on the CPU."""
    squares = torch.zeros(heads.n, dtype=torch.float64)
    for tensor in heads.tensors:
        values = getattr(tensor.owner, tensor.name).detach().cpu().double().movedim(tensor.dim, 0)
        squares += values.reshape(tensor.n_parts, heads.n, -1).square().sum((0, 2))
    return squares.sqrt()


def gate_gradients(
    network: nn.Module,
    paths: list[str],
    data: ImageData,
    /,
    *,
    task: Task,
    side: int,
    device: torch.device,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], int]:
    """Return |d loss / d gate| of each head, summed over training examples, and over how many (Michel et al. 2019).

    A gate multiplies what a head gives before the projection (arXiv:1905.10650, section 4.1); the absolute value is
    taken of each example's gradient. paths: of attention layers; of one that the network does not call (torch's own
    included, whose evaluation mode skips it otherwise) there is no entry. (heads,) float64 each, on the CPU. As many
    examples are seen, in the same way, as by `training.gradients.sum_gradients`. The network is left as it is.
    """
    scored = duplicate(network).to(device)
    gates: dict[str, _Gates] = {}
    for path in paths:
        call_layers(scored.get_submodule(path))
        heads = find_heads(scored.get_submodule(path))
        assert heads is not None, path
        gates[path] = _Gates(heads)
    n_seen = 0
    batches = data.batches("train", side=side, batch_size=BATCH_SIZE, generator=generator, augmented=False)
    with ExitStack() as stack:
        for one in gates.values():
            stack.callback(one.heads.projection.register_forward_pre_hook(one.watch).remove)
        for context in (fast_paths_off(), evaluating(scored), all_trainable(scored), torch.enable_grad()):
            stack.enter_context(context)
        for images, targets in batches:
            task.summed_loss(scored(images.to(device)), targets.to(device)).backward()  # type: ignore[no-untyped-call]
            scored.zero_grad()
            n_seen += len(targets)
            for one in gates.values():
                one.add(len(targets))
            if n_seen >= N_SCORING_EXAMPLES:
                break
    # What some batches do not reach is ranked by other examples than the rest: not at all.
    return {path: one.total for path, one in gates.items() if one.n_seen == n_seen}, n_seen


class _Gates:
    """The gates of one layer's heads, all open: their gradients."""

    def __init__(self, heads: Heads) -> None:
        self.heads = heads
        self.total = torch.zeros(heads.n, dtype=torch.float64)
        self.n_seen = 0
        self._products: list[Tensor] = []

    def watch(self, _projection: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Have the gradient of what the heads give, (examples × windows, …, heads × width), multiplied with it."""
        given = inputs[0]

        def multiply(gradient: Tensor) -> None:
            products = (gradient * given.detach()).cpu().double()
            self._products.append(products.reshape(*products.shape[:-1], self.heads.n, -1))

        given.register_hook(multiply)

    def add(self, n_examples: int) -> None:
        """Add the absolute gradients of a batch of examples, over all its calls."""
        if self._products:
            parts = [one.movedim(-2, -1).reshape(n_examples, -1, self.heads.n).sum(1) for one in self._products]
            self.total += torch.stack(parts).sum(0).abs().sum(0)
            self.n_seen += n_examples
        self._products = []
