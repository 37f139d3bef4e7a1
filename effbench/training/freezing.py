"""Layers that a training leaves as they are: a backbone under a new classifier, say."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from effbench.checks.patterns import matches
from effbench.compression.layers import weight_layers

BACKBONE = "backbone"
"""All but the classifier, which is the last convolution or linear layer."""


def as_patterns(freeze: str | Sequence[str] | None, /) -> tuple[str, ...]:
    """Return the patterns that an option gives: one, several or none."""
    return (freeze,) if isinstance(freeze, str) else tuple(freeze or ())


def is_frozen(name: str, patterns: Collection[str], classifier: str, /) -> bool:
    """Whether patterns meet a module or parameter by its dotted name, or something that it is a part of.

    >>> [is_frozen(name, ["features"], "head") for name in ("features.0.weight", "features", "head.bias")]
    [True, True, False]
    >>> [is_frozen(name, [BACKBONE], "head") for name in ("features.0.weight", "table", "head.bias")]
    [True, True, False]
    >>> is_frozen("features.0.parametrizations.weight.original", ["features.0.weight"], "head")
    True
    """
    name = name.replace(".parametrizations.", ".")  # a constrained weight, and what constrains it, are that weight
    wholes = [name.rsplit(".", n)[0] for n in range(name.count(".") + 1)]
    if any(matches(pattern, whole) for pattern in patterns if pattern != BACKBONE for whole in wholes):
        return True
    return BACKBONE in patterns and classifier not in wholes


def check_freeze(patterns: Sequence[str], parameters: Sequence[str], classifier: str, /) -> None:
    """Refuse patterns that meet nothing, and those that leave nothing to train: ValueError, which begins with `freeze`.

    parameters: the names of those of the network that are trained.
    """
    for pattern in patterns:
        if pattern != BACKBONE and not any(is_frozen(name, [pattern], classifier) for name in parameters):
            outermost = ", ".join(dict.fromkeys(name.partition(".")[0] for name in parameters))
            raise ValueError(
                f"freeze: {pattern} meets nothing that is trained; must be {BACKBONE}, or patterns such as {outermost}"
            )
    if patterns and all(is_frozen(name, patterns, classifier) for name in parameters):
        raise ValueError(f"freeze=[{', '.join(patterns)}]: leaves nothing to train")


def classifier_of(network: nn.Module, /) -> str:
    """Return the name of the layer that gives the outputs: the last convolution or linear layer; "" without any."""
    return next(reversed([name for name, _layer in weight_layers(network)]), "")


@contextmanager
def frozen(network: nn.Module, freeze: str | Sequence[str] | None, /) -> Iterator[None]:
    """While entered, what `freeze` names gets no gradient, and its modules are in evaluation mode.

    So norms keep their statistics, and no dropout is drawn. Afterwards parameters are trained that were before; modes
    are left as they are.
    """
    patterns = as_patterns(freeze)
    classifier = classifier_of(network) if BACKBONE in patterns else ""
    held = [p for n, p in network.named_parameters() if p.requires_grad and is_frozen(n, patterns, classifier)]
    for name, module in network.named_modules():
        if is_frozen(name, patterns, classifier):
            module.training = False
    try:
        for parameter in held:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
