"""What comes out of an operation has the labels of what went in, or these stay."""

import pytest
import torch

aten = torch.ops.aten
X = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))
VECTORS = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))


PASSES = {
    "activation": (aten.relu.default, (X,), {1: 1}),
    "scalar": (aten.mul.Tensor, (X, torch.tensor(2.0)), {1: 1}),
    "map of one channel": (aten.mul.Tensor, (X, torch.randn(2, 1, 4, 4)), {1: 1}),
    "mean over places": (aten.mean.dim, (X, [2, 3]), {1: 1}),
    "mean over examples": (aten.mean.dim, (X, [0]), {1: 0}),
    "softmax over places": (aten._softmax.default, (X, 3, False), {1: 1}),
    "pooling": (aten.avg_pool2d.default, (X, [2, 2]), {1: 1}),
    "resizing": (aten.upsample_nearest2d.default, (X, [8, 8]), {1: 1}),
    "padding of places": (aten.constant_pad_nd.default, (X, [1, 1, 1, 1]), {1: 1}),
    "copies": (aten.clone.default, (X,), {1: 1}),
    "norm over places": (aten.native_layer_norm.default, (X, [4, 4], None, None, 1e-5), {1: 1}),
}


@pytest.mark.parametrize("kind", PASSES)
def test_channels_are_passed_on(run, kind):
    function, args, dims = PASSES[kind]
    (given,), flows, labels = run(function, *args)
    assert flows[0].keys() == set(dims.values())
    assert torch.equal(flows[0][dims[1]], given)
    assert labels.reason(given) is None


STAYS = {
    "constant map": (aten.add.Tensor, (X, torch.ones(2, 6, 4, 4)), "meets them"),
    "mean over channels": (aten.mean.dim, (X, [1]), "takes them together"),
    "mean of all": (aten.mean.default, (X,), "takes them together"),
    "softmax over channels": (aten._softmax.default, (X, 1, False), "takes them together"),
    "sum in a product": (aten.mm.default, (VECTORS, torch.ones(6, 2)), "sums over them"),
    "norm over channels": (aten.native_layer_norm.default, (VECTORS, [6], None, None, 1e-5), "takes them together"),
    "padding of channels": (aten.constant_pad_nd.default, (X, [0, 0, 0, 0, 1, 1]), "takes them together"),
    "unknown": (aten.fft_fftn.default, (X,), "can't be followed"),
    "sorted": (aten.topk.default, (X, 2, 1), "takes them together"),
}


@pytest.mark.parametrize("kind", STAYS)
def test_what_takes_channels_together_keeps_them(run, kind):
    function, args, reason = STAYS[kind]
    (given,), flows, labels = run(function, *args)
    assert not any(flows)
    assert reason in labels.reason(given)


def test_terms_of_a_sum_are_the_same_channels(run):
    (one, other), flows, labels = run(aten.add.Tensor, X, X.clone(), channels=((0, 1), (1, 1)))
    assert torch.equal(labels.channels()[one], labels.channels()[other])
    assert torch.equal(flows[0][1], one)


def test_rows_and_columns_of_a_product_stay_apart(run):
    a, b = torch.randn(2, 3, 5), torch.randn(2, 5, 4)
    (rows, columns), flows, labels = run(aten.bmm.default, a, b, channels=((0, 1), (1, 2)))
    assert torch.equal(flows[0][1], rows)
    assert torch.equal(flows[0][2], columns)
    assert labels.reason(torch.cat([rows, columns])) is None
