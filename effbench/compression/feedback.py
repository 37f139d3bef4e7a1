"""Rounding that lets later weights make good for the errors of earlier ones.

Column by column the weights of a row are rounded, and what the layer's output loses by it is taken back, as far as it
goes, by those that are not rounded yet (optimal brain surgeon's update, Hassibi and Stork 1992; GPTQ, Frantar et al.
2022, arXiv:2210.17323, section 3, in whose order of columns, the natural one, all rows are done at once).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

RoundColumn = Callable[[Tensor, int], Tensor]
"""round_column(values, column): what becomes of a column, (n_rows,) float64, in the units of the weight."""

_BLOCK = 128
DAMPING = 0.01
"""Of the mean of the moments' diagonal, added to it: without, columns that were never seen could take any value."""


def round_with_feedback(rows: Tensor, moments: Tensor, round_column: RoundColumn, /) -> Tensor:
    """Return the rows rounded column by column, (n_rows, n_columns) float64.

    rows: (n_rows, n_columns), rows of a weight that share their inputs. moments: (n_columns, n_columns), the second
    moments of the inputs; symmetric, not negative. Where they are all zero (an input that is never there) the columns
    are rounded as they are. ValueError where either is not finite.
    """
    if not bool(torch.isfinite(rows).all()) or not bool(torch.isfinite(moments).all()):
        raise ValueError("weights or inputs that are not finite can't be rounded with feedback")
    left, rounded = rows.double().clone(), torch.empty_like(rows, dtype=torch.float64)
    spread = _spread_of_errors(moments.double())
    n_columns = rows.shape[1]
    for first in range(0, n_columns, _BLOCK):
        last = min(first + _BLOCK, n_columns)
        errors = torch.zeros(len(rows), last - first, dtype=torch.float64)
        for column in range(first, last):
            rounded[:, column] = round_column(left[:, column], column)
            error = (left[:, column] - rounded[:, column]) / spread[column, column]
            left[:, column + 1 : last] -= torch.outer(error, spread[column, column + 1 : last])
            errors[:, column - first] = error
        left[:, last:] -= errors @ spread[first:last, last:]
    return rounded


def output_error(rows: Tensor, rounded: Tensor, moments: Tensor, /) -> float:
    """Return the summed square of what a layer's output loses, a mean over the examples of `moments`."""
    errors = (rows - rounded).double()
    return float(torch.einsum("ri,ij,rj->", errors, moments.double(), errors))


def _spread_of_errors(moments: Tensor) -> Tensor:
    """Return the upper Cholesky factor of the damped moments' inverse: row i says where an error in column i goes."""
    damping = DAMPING * float(moments.diagonal().mean())
    if damping <= 0:
        return torch.eye(len(moments), dtype=torch.float64)
    damped = moments + damping * torch.eye(len(moments), dtype=torch.float64)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    spread: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return spread
