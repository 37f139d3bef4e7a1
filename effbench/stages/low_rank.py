"""Low rank: a layer becomes a chain of smaller ones, from the singular values of its weight."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import floor, prod
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from effbench.checks.errors import kind_and_line
from effbench.compression.constraints.copies import copy_network
from effbench.compression.layers import weight_layers, weight_of
from effbench.compression.modes import evaluating
from effbench.compression.structure.decomposition import Decomposition, decompose
from effbench.compression.structure.edits import has_added_bias, replace_module
from effbench.compression.structure.factorized import Factored, Factorization, build_factored, can_factor, factor_shapes
from effbench.compression.structure.watch import run_once
from effbench.plan.context import Context
from effbench.plan.stage import Stage

By = Literal["share", "energy", "macs"]


@dataclass(frozen=True, kw_only=True)
class LowRank(Stage):
    """Replace layers by truncated decompositions of their weights; those that would not shrink are left alone.

    Linear layers and 1×1 convolutions become two layers by the truncated singular value decomposition (Denton et al.
    2014, arXiv:1404.0736, section 3.2), other convolutions what `scheme` says: `spatial` k×1 and 1×k (Jaderberg et al.
    2014, arXiv:1405.3866, in closed form: Tai et al. 2015, arXiv:1511.06067) or `tucker`, 1×1, k×k and 1×1 (Kim et al.
    2015, arXiv:1511.06530). Grouped and depthwise convolutions stay as they are, and so does what was decomposed
    before, or has had a batch norm folded into it. A constraint on a decomposed weight is made permanent: its factors
    are free.

    by: what `rank` is a share of. `share`: of each layer's full rank. `energy`: of the squared singular values' sum,
    the smallest rank that keeps it. `macs`: of the layer's multiply-adds, the largest rank that needs no more.
    """

    VERSION: ClassVar[int] = 1
    LAYER_FIELD: ClassVar[str | None] = "rank"
    RENAMES_LAYERS: ClassVar[bool] = True

    rank: Annotated[float, Field(gt=0, le=1)]
    """Share that is kept; 1 decomposes nothing."""
    scheme: Literal["spatial", "tucker"] = "tucker"
    by: By = "share"

    def at_round(self, position: int, n_rounds: int) -> LowRank:
        """Return the stage for the first round, and one that does nothing for the others: factors stay as they are."""
        return self if position == 1 else self.with_layer_values(lambda rank: 1.0)

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` with decomposed layers. ValueError where it does not run with them."""
        decomposed = copy_network(model)
        ranks = {name: rank for name, rank in self.values_by_layer(decomposed, context).items() if rank < 1}
        if ranks:
            images = next(context.data.batches("val", side=context.side, batch_size=1))[0]
            sizes = _sizes(decomposed, images)
            for path, layer in _candidates(decomposed):
                if path in ranks and layer in sizes:
                    factors = self._factored(layer, sizes[layer], ranks[path])
                    if factors is not None:
                        replace_module(decomposed, path, factors)
            try:
                run_once(decomposed, images)
            except Exception as error:
                raise ValueError(
                    f"rank: {type(model).__name__} does not run with chains for layers: it uses what only the "
                    f"layers have ({kind_and_line(error)}); skip these by layers="
                ) from error
        return decomposed

    def _factored(self, layer: nn.Module, size: _Size, rank: float) -> Factored | None:
        """Return what replaces a layer; None where it has no scheme, or nothing smaller."""
        scheme: Factorization = "svd" if can_factor(layer, "svd") else self.scheme
        if not can_factor(layer, scheme):
            return None
        weight = weight_of(layer)
        decomposition = decompose(weight, scheme)
        ranks = self._ranks(layer, decomposition, size, rank)
        widths = (weight.shape[1], *ranks, weight.shape[0])
        shapes = factor_shapes(layer, scheme, widths)
        if sum(map(prod, shapes)) >= weight.numel() or _macs(scheme, shapes, size) >= weight.numel() * size.n_out:
            return None
        factored = build_factored(layer, scheme, widths)
        with torch.no_grad():
            for factor, values in zip(factored, decomposition.factors(ranks), strict=True):
                weight_of(factor).copy_(values)
            if isinstance(layer.bias, Tensor) and isinstance(factored[-1].bias, Tensor):
                factored[-1].bias.copy_(layer.bias)
        return factored

    def _ranks(self, layer: nn.Module, decomposition: Decomposition, size: _Size, share: float) -> tuple[int, ...]:
        """Return the ranks that the share stands for, one for each mode, at least 1."""
        full = decomposition.full_ranks
        if self.by == "energy":
            return decomposition.ranks_of_energy(share)
        if self.by == "share":
            return tuple(max(1, floor(share * n + 0.5)) for n in full)
        weight = decomposition.weight
        budget = share * weight.numel() * size.n_out
        for step in range(max(full), 1, -1):
            ranks = tuple(max(1, n * step // max(full)) for n in full)
            shapes = factor_shapes(layer, decomposition.factorization, (weight.shape[1], *ranks, weight.shape[0]))
            if _macs(decomposition.factorization, shapes, size) <= budget:
                return ranks
        return (1,) * len(full)


@dataclass(frozen=True)
class _Size:
    """Of one layer and one input: the places of its input, its output, and those after a vertical pass over it."""

    n_in: int
    n_out: int
    n_between: int


def _macs(scheme: Factorization, shapes: Sequence[tuple[int, ...]], size: _Size) -> int:
    """Return the multiply-adds of a chain whose weights have these shapes."""
    places = {"svd": (size.n_out,) * 2, "spatial": (size.n_between, size.n_out)}
    each = places.get(scheme, (size.n_in, size.n_out, size.n_out))
    return sum(prod(shape) * n for shape, n in zip(shapes, each, strict=True))


def _sizes(model: nn.Module, images: Tensor) -> dict[nn.Module, _Size]:
    """Return the sizes of the layers that one input runs through once. images: (1, C, H, W)."""
    sizes: dict[nn.Module, list[_Size]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> None:
        before, after = (inputs[0] if inputs else named["input"]).shape[2:], output.shape[2:]
        if isinstance(layer, nn.Linear):
            n_in = n_between = n_out = output.shape[:-1].numel()
        else:
            n_in, n_out, n_between = prod(before), prod(after), prod((*after[:1], *before[1:]))
        sizes.setdefault(layer, []).append(_Size(n_in, n_out, n_between))

    with ExitStack() as hooks, evaluating(model), torch.no_grad():
        for _, layer in weight_layers(model):
            hooks.callback(layer.register_forward_hook(note, with_kwargs=True).remove)
        model(images)
    return {layer: of_layer[0] for layer, of_layer in sizes.items() if len(of_layer) == 1}


def _candidates(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers that are no factors already, and whose bias, if any, a chain made of the fresh layer has."""
    fixed = {part for chain in model.modules() if isinstance(chain, Factored) for part in chain}
    fixed |= {layer for _, layer in weight_layers(model) if has_added_bias(layer)}
    return [(path, layer) for path, layer in weight_layers(model) if path and layer not in fixed]
