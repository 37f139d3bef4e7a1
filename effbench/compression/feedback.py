"""Rounding that lets later weights make good for the errors of earlier ones.

Column by column the weights of a row are rounded, and what the layer's output loses by it is taken back, as far as it
goes, by those that are not rounded yet (optimal brain surgeon's update, Hassibi and Stork 1992; GPTQ, Frantar et al.
2022, arXiv:2210.17323, section 3, in whose order of columns, the natural one, all rows are done at once).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import constraints_on
from effbench.compression.layers import Weight

RoundColumn = Callable[[Tensor, int], Tensor]
"""round_column(values, column): what becomes of a column, (n_groups, n_rows) float64, in the units of the weight."""

_BLOCK = 128
DAMPING = 0.01
"""Of the mean of the moments' diagonal, added to it: without, columns that were never seen could take any value."""


def takes_feedback(weight: Weight, /) -> bool:
    """Whether the values of a weight can be chosen: it is under no constraint but masks."""
    return all(isinstance(constraint, Mask) for constraint in constraints_on(*weight.places[0]))


def round_with_feedback(rows: Tensor, spread: Tensor, round_column: RoundColumn, /) -> Tensor:
    """Return the rows rounded column by column, (n_groups, n_rows, n_columns) float64.

    rows: (n_groups, n_rows, n_columns), the rows of a weight; those of a group share their inputs. spread: what
    `spread_of_errors` makes of the inputs' moments. ValueError where the rows are not finite.
    """
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("weights that are not finite can't be rounded with feedback")
    left, rounded = rows.double().clone(), torch.empty_like(rows, dtype=torch.float64)
    n_groups, n_rows, n_columns = rows.shape
    for first in range(0, n_columns, _BLOCK):
        last = min(first + _BLOCK, n_columns)
        errors = torch.zeros(n_groups, n_rows, last - first, dtype=torch.float64)
        for column in range(first, last):
            rounded[..., column] = round_column(left[..., column], column)
            error = (left[..., column] - rounded[..., column]) / spread[:, column, column, None]
            left[..., column + 1 : last] -= error[..., None] * spread[:, None, column, column + 1 : last]
            errors[..., column - first] = error
        if last < n_columns:
            left[..., last:] -= errors @ spread[:, first:last, last:]
    return rounded


def output_error(rows: Tensor, rounded: Tensor, moments: Tensor, /) -> float:
    """Return the summed square of what a layer's output loses, a mean over the examples of `moments`."""
    errors = (rows - rounded).double()
    return float(torch.einsum("gri,gij,grj->", errors, moments.double(), errors))


def spread_of_errors(moments: Tensor, /) -> Tensor:
    """Return the upper Cholesky factor of the damped moments' inverse: row i says where an error in column i goes.

    moments: (n_groups, n_columns, n_columns), the second moments of the inputs; symmetric, not negative. Where those of
    a group are all zero (an input that is never there) its errors go nowhere. ValueError where one is not finite.
    """
    if not bool(torch.isfinite(moments).all()):
        raise ValueError("inputs that are not finite say nothing of how to round")
    diagonal = moments.double().diagonal(dim1=1, dim2=2)
    damping = DAMPING * diagonal.mean(1)
    unit = torch.eye(moments.shape[-1], dtype=torch.float64)
    damped = moments.double() + torch.where(damping > 0, damping, 1.0)[:, None, None] * unit
    spread: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    return torch.where((damping > 0)[:, None, None], spread, unit)
