"""An exponential moving average of a network's weights and norm statistics, by torch's own averaging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from effbench.compression.duplicate import duplicate
from effbench.training.tensors import copy_into, tensors_of


class WeightAverage:
    """w_average ← decay · w_average + (1 - decay) · w after each step; the first one copies.

    As `torch.optim.swa_utils.AveragedModel` with `use_buffers=True`, but for buffers that are no floating numbers:
    masks that close and counts of batches are the network's own. Running means and variances of norms are averaged as
    the weights are, so that they belong to them. Make it before masks are held (`held_masks`): then a network is not to
    be copied, and lists its parameters in another order.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.network = duplicate(model).requires_grad_(False)
        """A network of its own with the averaged tensors."""
        self.n_averaged = 0
        ours = tensors_of(self.network)
        pairs = [(ours[name], tensor.detach()) for name, tensor in tensors_of(model).items()]
        self._floating = [pair for pair in pairs if pair[0].is_floating_point()]
        self._others = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self) -> None:
        """Take the network's tensors in, as they are after a step."""
        averaged, new = [own for own, _ in self._floating], [tensor for _, tensor in self._floating]
        if self.n_averaged:
            self._average(averaged, new, self.n_averaged)
        else:
            torch._foreach_copy_(averaged, new)
        for own, tensor in self._others:
            own.copy_(tensor)
        self.n_averaged += 1

    @torch.no_grad()
    def give(self) -> None:
        """Give the network the averaged tensors, where there is an average."""
        if self.n_averaged:
            for own, tensor in self._floating:
                tensor.copy_(own)

    def state_dict(self) -> dict[str, Any]:
        """Return the average, and of how many steps it is."""
        return {"n_averaged": self.n_averaged, "tensors": tensors_of(self.network)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.n_averaged = state["n_averaged"]
        copy_into(tensors_of(self.network), state["tensors"], what="average")
