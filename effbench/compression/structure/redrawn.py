"""Weights drawn anew as those were that they replace: the same kind of distribution, at a scale that suits them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from effbench.compression.structure.rewritten import Rewritten

_UNIFORM_UP_TO = 1.9
"""Times the root mean square: a uniform distribution ends at √3, and of ten normal values one is above 1.9 or so."""


@dataclass(frozen=True)
class Drawn:
    """How a layer's weight was drawn, as far as its values tell."""

    scale: float
    """The root mean square of its entries."""
    is_uniform: bool
    """Uniform, as torch's own; else normal."""

    @classmethod
    def like(cls, weight: Tensor, /) -> Drawn:
        """Return how a weight was drawn. ValueError for values that are not finite."""
        if not bool(torch.isfinite(weight).all()):
            raise ValueError("its weight is not finite")
        values = weight.detach().double()
        scale = float(values.square().mean().sqrt())
        return cls(scale, float(values.abs().max()) <= _UNIFORM_UP_TO * scale)

    def draw(self, weight: Tensor, generator: torch.Generator, /, *, scale: float) -> None:
        """Fill a weight with values of this distribution at another scale."""
        values = torch.empty(weight.shape, dtype=torch.float32)
        if self.is_uniform:
            values.uniform_(-math.sqrt(3) * scale, math.sqrt(3) * scale, generator=generator)
        else:
            values.normal_(0, scale, generator=generator)
        with torch.no_grad():
            weight.copy_(values)


def draw_weights(network: nn.Module, drawn: Mapping[str, Drawn], generator: torch.Generator, /) -> None:
    """Draw the weights of what stands at these paths in place of convolutions, which were drawn so; biases stay.

    What is put in a layer's place gives outputs of that layer's variance, for inputs of independent entries: a
    depthwise convolution of k × k places, which nothing rectifies, keeps the variance (scale 1/k), the pointwise one
    after it has k times the layer's scale; one in g groups has √g times that. For whatever rule sets the variance by
    the number of inputs, of outputs or of both (Glorot & Bengio 2010; He et al. 2015, arXiv:1502.01852, section 2.2;
    torch's own), the pointwise or grouped layer so has that rule's scale, counted within its groups.
    """
    for path, how in drawn.items():
        module = network.get_submodule(path)
        if isinstance(module, Rewritten) and not module.widths[2]:
            depthwise, pointwise = module.get_submodule("depthwise"), module.get_submodule("pointwise")
            n_places = math.prod(depthwise.kernel_size)  # type: ignore[arg-type]
            how.draw(_weight(depthwise), generator, scale=n_places**-0.5)
            how.draw(_weight(pointwise), generator, scale=how.scale * n_places**0.5)
            continue
        layer = module.get_submodule("grouped") if isinstance(module, Rewritten) else module
        groups = layer.groups
        assert isinstance(groups, int)
        how.draw(_weight(layer), generator, scale=how.scale * groups**0.5)


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight
