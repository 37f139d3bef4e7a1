"""Shared weights: constraints that tie the weights of a tensor to a few values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.classes import own_class
from effbench.compression.constraints.recurrent import read_constrained

ValuePrecision = Literal["float32", "bfloat16"]
"""What shared values are rounded to, while they are trained and in the file, whatever their dtype."""


@dataclass(frozen=True, kw_only=True)
class SharedTensor:
    """A tensor in the form in which it is stored: zero where the code is 0, else values[code - 1].

    codes: integers from 0 to n_values, the tensor's own shape. values: (n_values,), the tensor's own dtype.
    """

    codes: Tensor
    values: Tensor

    def dequantize(self) -> Tensor:
        """Return the tensor."""
        return _look_up(self.values, self.codes)

    def cpu(self) -> SharedTensor:
        """Return the same on the CPU."""
        return SharedTensor(codes=self.codes.cpu(), values=self.values.cpu())


class Codebook(nn.Module):
    """Tie every weight that is not zero to one of a few shared values (Han et al. 2015, arXiv:1510.00149, section 3).

    Code 0 is zero itself, which no gradient trains: what was pruned stays exactly zero, and costs no value. It is not
    one of the shared values, because the file has an index of what is not zero: the codes that follow it then need
    log2(n_values) bits, not those of one value more.

    The constraint is the first on its tensor (`share_tensor`): the parameter behind it, `original`, holds the values,
    (n_values,), and nothing of the tensor's size is trained or kept beside the codes. The gradient of a value is the
    sum over its members (section 3.2).

    codes: integers from 0 to n_values, in the shape of the tensor. precision: what the values are rounded to; the
    gradient passes the rounding.
    """

    codes: Tensor

    def __init__(self, codes: Tensor, n_values: int, precision: ValuePrecision = "float32") -> None:
        super().__init__()
        self.n_values = n_values
        self.precision = precision
        self.register_buffer("codes", codes.to(_code_dtype(n_values)))

    def forward(self, values: Tensor) -> Tensor:
        """Return the tensor that the values, (n_values,), make."""
        return _look_up(self.rounded(values), self.codes)

    def rounded(self, values: Tensor) -> Tensor:
        """Return values as they are in use."""
        if self.precision == "float32":
            return values
        # Both differences are exact: what is returned has the rounded value's bits.
        return values.detach().bfloat16().to(values.dtype) + (values - values.detach())

    def stored(self, original: Tensor) -> SharedTensor:
        """Return the tensor in its stored form; `original` is the parameter behind the constraint."""
        return SharedTensor(codes=self.codes, values=self.rounded(original.detach()))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the values that come closest to `weight`: the mean over the members of each; 0 for one of none."""
        codes = self.codes.flatten().long()
        sums = torch.bincount(codes, weights=weight.detach().flatten().double(), minlength=self.n_values + 1)
        counts = torch.bincount(codes, minlength=self.n_values + 1).clamp(min=1)
        return (sums / counts)[1:].to(weight.dtype)

    def settings(self) -> dict[str, Any]:
        """Return what `described.impose` needs to make the constraint again, beside its buffers."""
        return {"kind": "codebook", "n_values": self.n_values, "precision": self.precision}


class MovingCodebook(Codebook):
    """A codebook whose weights change their value while the network is trained.

    The parameter behind it, `original`, keeps a weight of its own for each place. A place has the nearest of the shared
    values, chosen anew every `every` steps; the gradient moves the value (the sum over its members) and, straight
    through, the weight of the place, until it is nearer to another value. Zeros stay zeros. At the end of the training
    the choice is settled: later trainings move the values only. (Deep Compression, arXiv:1510.00149, section 3.2, keeps
    the first choice; choosing in the forward pass with a straight-through gradient is what quantisation-aware training
    does, for values that are learned.)

    values: (n_values,), where they begin.
    """

    values: Tensor

    def __init__(
        self, codes: Tensor, values: Tensor, *, every: int, precision: ValuePrecision = "float32", settled: bool = False
    ) -> None:
        super().__init__(codes, len(values), precision)
        self.values = nn.Parameter(values.detach().clone())
        self.every = every
        self.settled = settled

    def forward(self, weight: Tensor) -> Tensor:
        """Return the tensor that the chosen values make; the gradient reaches `weight` where it is not zero."""
        tied = super().forward(self.values)
        if self.settled or not (torch.is_grad_enabled() and weight.requires_grad):
            return tied
        return tied + torch.where(self.codes > 0, weight - weight.detach(), 0.0)  # an exact zero

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the weights that places begin with."""
        return weight

    def stored(self, original: Tensor) -> SharedTensor:
        """Return the tensor in its stored form, whatever `original` is."""
        return super().stored(self.values)

    def settings(self) -> dict[str, Any]:
        """Return what `described.impose` needs to make the constraint again, beside its parameter and buffers."""
        return {**super().settings(), "kind": "moving", "every": self.every, "settled": self.settled}

    def advance(self, weight: Tensor, step: int, n_steps: int, /) -> None:
        """Choose values anew where it is time, before step `step` of `n_steps`; after the last one, for good."""
        if self.settled or (step % self.every and step < n_steps):
            return
        flat = self.codes.flatten().clone()
        (places,) = torch.nonzero(flat, as_tuple=True)
        ordered, numbers = self.rounded(self.values.detach()).sort()
        nearest = torch.bucketize(weight.detach().flatten()[places], (ordered[1:] + ordered[:-1]) / 2)
        flat[places] = (numbers[nearest] + 1).to(flat.dtype)
        self.codes.copy_(flat.view(self.codes.shape))
        self.settled = step == n_steps


def share_tensor(
    module: nn.Module, tensor_name: str, codebook: Codebook, *, also: Sequence[tuple[nn.Module, str]] = ()
) -> None:
    """Put a parameter that has no constraint under `codebook`; a new parameter holds the values, see `right_inverse`.

    also: other places of the same tensor, which stays tied. A place that is not named keeps its own.
    """
    plain = getattr(module, tensor_name)
    for place, name in ((module, tensor_name), *also):
        # torch turns the parameter that it finds into the values, in place: any other place of it would see them.
        setattr(place, name, nn.Parameter(plain.detach().clone(), requires_grad=plain.requires_grad))
        own_class(place)
        parametrize.register_parametrization(place, name, codebook)
        read_constrained(place)
        _stack(place, name).original = _stack(module, tensor_name).original


def _stack(module: nn.Module, tensor_name: str) -> nn.Module:
    stacks = module.parametrizations
    assert isinstance(stacks, nn.ModuleDict)
    return stacks[tensor_name]


def _look_up(values: Tensor, codes: Tensor) -> Tensor:
    table = torch.cat([values.new_zeros(1), values])
    # 32-bit indices and index_select: a quarter of the time of table[codes], forward and backward.
    return table.index_select(0, codes.flatten().int()).view(codes.shape)


def _code_dtype(n_values: int) -> torch.dtype:
    """Return the smallest integer type that holds 0 to n_values."""
    return next(dtype for dtype in (torch.uint8, torch.int16, torch.int32) if n_values <= torch.iinfo(dtype).max)
