"""Shared weights: a constraint that ties the weights of a tensor to a few values (see `constraints`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


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

    Code 0 is zero itself, which is nobody's to train: what was pruned stays exactly zero, and costs no value. It is not
    one of the shared values, because the file has an index of what is not zero: the codes that follow it then need
    log2(n_values) bits, not those of one value more.

    The constraint is the first on its tensor (`share_tensor`): the parameter behind it, `original`, holds the values,
    (n_values,), and nothing of the tensor's size is trained or kept beside the codes. The gradient of a value is the
    sum over its members (section 3.2).

    codes: integers from 0 to n_values, in the shape of the tensor.
    """

    codes: Tensor

    def __init__(self, codes: Tensor, n_values: int) -> None:
        super().__init__()
        self.n_values = n_values
        self.register_buffer("codes", codes.to(_code_dtype(n_values)))

    def forward(self, values: Tensor) -> Tensor:
        """Return the tensor that the values, (n_values,), make."""
        return _look_up(values, self.codes)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the values that come closest to `weight`: the mean over the members of each; 0 for one of none."""
        codes = self.codes.flatten().long()
        sums = torch.bincount(codes, weights=weight.detach().flatten().double(), minlength=self.n_values + 1)
        counts = torch.bincount(codes, minlength=self.n_values + 1).clamp(min=1)
        return (sums / counts)[1:].to(weight.dtype)

    def settings(self) -> dict[str, Any]:
        """Return what `constraints.impose` needs to make the constraint again, beside its buffers."""
        return {"kind": "codebook", "n_values": self.n_values}


def share_tensor(module: nn.Module, tensor_name: str, codebook: Codebook) -> None:
    """Put a parameter that has no constraint under `codebook`; a new parameter holds the values, see `right_inverse`.

    A tensor that stands in two modules is shared in this one only: the other keeps its own.
    """
    plain = getattr(module, tensor_name)
    # torch turns the parameter that it finds into the values, in place: any other place of it would see them.
    setattr(module, tensor_name, nn.Parameter(plain.detach().clone(), requires_grad=plain.requires_grad))
    parametrize.register_parametrization(module, tensor_name, codebook)


def _look_up(values: Tensor, codes: Tensor) -> Tensor:
    table = torch.cat([values.new_zeros(1), values])
    # 32-bit indices and index_select: a quarter of the time of table[codes], forward and backward.
    return table.index_select(0, codes.flatten().int()).view(codes.shape)


def _code_dtype(n_values: int) -> torch.dtype:
    """Return the smallest integer type that holds 0 to n_values."""
    return next(dtype for dtype in (torch.uint8, torch.int16, torch.int32) if n_values <= torch.iinfo(dtype).max)
