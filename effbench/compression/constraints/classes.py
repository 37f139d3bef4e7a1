"""The class that torch makes for a module with constrained tensors, each of which is a property of it."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize


def own_class(module: nn.Module, /, *, without: str | None = None) -> None:
    """Give a module with constrained tensors, in place, a class that no other module has.

    A copy shares its class with the original, where a property that is added or taken away would be the other's, too.
    without: a constrained tensor that is to be none of its properties.
    """
    if parametrize.is_parametrized(module):
        shared = type(module)
        attributes = {name: value for name, value in vars(shared).items() if name != without}
        module.__class__ = type(shared.__name__, shared.__bases__, attributes)
