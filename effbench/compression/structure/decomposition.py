"""A weight as a product of smaller ones: truncated singular value and Tucker-2 decompositions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from effbench.compression.structure.factorized import Factorization


@dataclass(frozen=True, kw_only=True, eq=False)
class Decomposition:
    """All components of a weight of shape (out, in, *kernel), to be cut off at any ranks.

    bases: of each mode, orthonormal columns, the most important first; energies: the squared singular values, (n,) and
    descending. `svd` and `spatial` have one mode, `tucker` has two: the input and the output channels.
    """

    factorization: Factorization
    weight: Tensor
    bases: tuple[Tensor, ...]
    energies: tuple[Tensor, ...]

    @property
    def full_ranks(self) -> tuple[int, ...]:
        """The ranks at which the decomposition is exact."""
        return tuple(len(energies) for energies in self.energies)

    def ranks_of_energy(self, share: float) -> tuple[int, ...]:
        """Return, for each mode, the smallest rank whose components have a share of the energy, at least 1."""
        ranks = []
        for energies in self.energies:
            enough = energies.cumsum(0) >= share * energies.sum() * (1 - 1e-12)
            ranks.append(int(enough.int().argmax()) + 1 if enough.any() else 1)
        return tuple(ranks)

    def factors(self, ranks: Sequence[int], /) -> tuple[Tensor, ...]:
        """Return the weights of the chain of layers, first to last, in the type of the weight."""
        parts = self._tucker(*ranks) if self.factorization == "tucker" else self._product(*ranks)
        return tuple(part.to(self.weight.dtype).contiguous() for part in parts)

    def _product(self, rank: int) -> tuple[Tensor, ...]:
        """Cut the matrix to a product of two: of all of that rank the closest (Eckart & Young 1936)."""
        matrix, basis = _as_matrix(self.weight, self.factorization), self.bases[0][:, :rank]
        scale = self.energies[0][:rank].clamp(min=0) ** 0.25  # both factors share the singular values: they train alike
        scale = torch.where(scale > 1e-4 * self.energies[0][0] ** 0.25, scale, torch.ones_like(scale))
        if len(basis) == len(matrix):
            first, second = (basis.T @ matrix) / scale[:, None], basis * scale
        else:
            first, second = basis.T * scale[:, None], (matrix @ basis) / scale
        n_out, n_in, *kernel = self.weight.shape
        if self.factorization == "spatial":
            height, width = kernel
            second = second.reshape(n_out, width, rank).movedim(2, 1)
            return first.reshape(rank, n_in, height, 1), second.reshape(n_out, rank, 1, width)
        ones = [1] * len(kernel)
        return first.reshape(rank, n_in, *ones), second.reshape(n_out, rank, *ones)

    def _tucker(self, n_in: int, n_out: int) -> tuple[Tensor, ...]:
        inputs, outputs = self.bases[0][:, :n_in], self.bases[1][:, :n_out]
        core = torch.einsum("oi...,or,is->rs...", self.weight.double(), outputs, inputs)
        ones = [1] * (self.weight.ndim - 2)
        return inputs.T.reshape(n_in, -1, *ones), core, outputs.reshape(-1, n_out, *ones)


def decompose(weight: Tensor, factorization: Factorization, /) -> Decomposition:
    """Return the components of a weight of shape (out, in, *kernel), computed in float64.

    `svd` (Denton et al. 2014, arXiv:1404.0736, section 3.2) is of a kernel of one place or none; `spatial` of a two
    dimensional one, as the matrix (out · width) × (in · height) (Tai et al. 2015, arXiv:1511.06067, section 2);
    `tucker` is the higher-order SVD of the channel modes (Kim et al. 2015, arXiv:1511.06530, section 3).
    ValueError for values that are not finite.
    """
    weight = weight.detach()
    if not bool(torch.isfinite(weight).all()):
        raise ValueError("a weight that is not finite can't be decomposed")
    if factorization == "tucker":
        matrices = [weight.double().movedim(mode, 0).flatten(1) for mode in (1, 0)]
        # Of a mode wider than all the others together, the surplus components are zero.
        modes = [_components(matrix, min(matrix.shape)) for matrix in matrices]
    else:
        matrix = _as_matrix(weight, factorization)
        modes = [_components(matrix if len(matrix) <= matrix.shape[1] else matrix.T, min(matrix.shape))]
    return Decomposition(
        factorization=factorization,
        weight=weight,
        bases=tuple(basis for basis, _ in modes),
        energies=tuple(energies for _, energies in modes),
    )


def _as_matrix(weight: Tensor, factorization: Factorization) -> Tensor:
    """Return the weight as (out, in), or (out · width, in · height), in float64."""
    if factorization == "spatial":
        n_out, n_in, height, width = weight.shape
        return weight.double().permute(0, 3, 1, 2).reshape(n_out * width, n_in * height)
    return weight.double().flatten(1)


def _components(matrix: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the first `n` left singular vectors of a matrix, as columns, and their squared singular values."""
    energies, basis = torch.linalg.eigh(matrix @ matrix.T)
    return basis.flip(1)[:, :n], energies.flip(0)[:n].clamp(min=0)
