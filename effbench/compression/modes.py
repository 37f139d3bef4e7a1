"""What holds for a network only while something is done with it: evaluation mode, gradients for every parameter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module, /) -> Iterator[None]:
    """While entered, the network is in evaluation mode; then each of its modules has its own mode again.

    A part may have been in another mode than the whole (a frozen batch norm): modes are kept module by module. Modules
    that join the network meanwhile keep the mode they have.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout().eval())
    >>> with evaluating(model):
    ...     print([module.training for module in model.modules()])
    [False, False, False]
    >>> [module.training for module in model.modules()]
    [True, True, False]
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


@contextmanager
def all_trainable(model: nn.Module, /) -> Iterator[None]:
    """While entered, every parameter that can has a gradient to get; then those do that did, by name, and none has one.

    By name, as a parameter may have been exchanged for a smaller one. A parameter that is new then is left alone.
    """
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    try:
        for parameter in model.parameters():
            # One of integers can have no gradient.
            parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.grad = None
            parameter.requires_grad_(trained.get(name, parameter.requires_grad))
