"""Rewinding: the weights go back to what they were earlier; what is imposed on them stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.stack import bake
from effbench.compression.duplicate import duplicate
from effbench.plan.context import Context
from effbench.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Rewind(Stage):
    """Give every tensor the value of an earlier network of the recipe, and keep the masks (lottery tickets).

    to: "init", the fresh network (Frankle & Carbin 2019, arXiv:1803.03635, section 1), or the name of an earlier step,
    such as "early" (to weights of early training: Frankle et al. 2019, arXiv:1912.05671, section 4). Biases, norms and
    their statistics go back, too. A quantiser stays, and rounds the earlier weights.
    """

    VERSION: ClassVar[int] = 1

    to: Annotated[str, Field(pattern=r"\S", description="init, or the name of a step before, such as train")] = "init"
    """A step before this one."""

    @property
    def asks_for(self) -> tuple[str, ...]:
        """The steps whose networks it asks for."""
        return (self.to,)

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` with the earlier values under its own constraints.

        ValueError where the network has had another form since, or weights that are made of something else.
        """
        rewound = duplicate(model)
        earlier = bake(context.snapshot(self.to)).state_dict()
        own = _tensors(rewound)
        for name in sorted(own.keys() | earlier.keys()):
            if name not in own or name not in earlier or own[name].shape != earlier[name].shape:
                raise ValueError(
                    f"rewind: {name} is not what it was at {self.to}, so its values can't come back; "
                    "rewind before a stage that changes the network's form"
                )
            with torch.no_grad():
                own[name].copy_(earlier[name])
        return rewound


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a network by the names that they have without constraints."""
    tensors = {name: value for name, value in model.state_dict().items() if ".parametrizations." not in f".{name}"}
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            for tensor_name, stack in module.parametrizations.items():
                if isinstance(getattr(stack, "original", None), Tensor):
                    tensors[f"{name}.{tensor_name}" if name else tensor_name] = stack.original
    return tensors
