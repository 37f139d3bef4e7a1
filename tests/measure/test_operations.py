"""Which operations multiply-add: counted, known to be free, or not known."""

import pytest
import torch

from effbench.measure.operations import macs_of

aten = torch.ops.aten


def meta(*shape):
    return torch.empty(*shape, device="meta")


def counted(operation, *args, **kwargs):
    """Return the multiply-adds of an operation on tensors without values."""
    return macs_of(operation, args, kwargs, operation(*args, **kwargs))


@pytest.mark.parametrize(
    ("operation", "args", "macs"),
    [
        (aten.mm.default, (meta(2, 3), meta(3, 5)), 30),
        (aten.addmm.default, (meta(5), meta(2, 3), meta(3, 5)), 30),
        (aten.bmm.default, (meta(7, 2, 3), meta(7, 3, 5)), 210),
        (aten.mv.default, (meta(2, 3), meta(3)), 6),
        (aten.addmv.default, (meta(2), meta(2, 3), meta(3)), 6),
        (aten.dot.default, (meta(9), meta(9)), 9),
        (aten.addbmm.default, (meta(2, 5), meta(7, 2, 3), meta(7, 3, 5)), 210),
        (
            aten.convolution.default,
            (meta(1, 4, 8, 8), meta(6, 2, 3, 3), None, [1, 1], [1, 1], [1, 1], False, [0, 0], 2),
            64 * 6 * 2 * 9,
        ),
    ],
)
def test_products_count(operation, args, macs):
    assert counted(operation, *args) == macs


@pytest.mark.parametrize(
    ("operation", "args"),
    [
        (aten.relu.default, (meta(4),)),
        (aten.relu_.default, (meta(4),)),
        (aten.add.Tensor, (meta(4), meta(4))),
        (aten.view.default, (meta(4), [2, 2])),
        (aten._softmax.default, (meta(2, 4), 1, False)),
        (aten.max_pool2d_with_indices.default, (meta(1, 1, 4, 4), [2, 2])),
        (aten.cat.default, ([meta(2), meta(3)],)),
        (aten.sum.default, (meta(4),)),
        (aten.index_put_.default, (meta(4), [torch.empty(2, dtype=torch.int64, device="meta")], meta(2))),
    ],
)
def test_what_is_known_not_to_multiply_add_is_free(operation, args):
    assert counted(operation, *args) == 0


@pytest.mark.parametrize(
    ("operation", "args"),
    [
        (aten._fft_r2c.default, (meta(4), [0], 0, True)),
        (aten._cdist_forward.default, (meta(2, 3), meta(4, 3), 2.0, None)),
    ],
)
def test_what_is_not_known_is_neither_counted_nor_free(operation, args):
    assert counted(operation, *args) is None


def test_another_librarys_operation_is_not_free_for_its_name():
    with torch.library._scoped_library("effbench_test_operations", "FRAGMENT") as library:
        library.define("where(Tensor x) -> Tensor")
        library.impl("where", torch.empty_like, "Meta")
        assert counted(torch.ops.effbench_test_operations.where.default, meta(3)) is None
