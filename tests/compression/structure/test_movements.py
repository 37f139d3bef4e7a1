"""Where the values go, the labels go; what divides, selects or reorders channels by number keeps them."""

import pytest
import torch
import torch.nn.functional as F

aten = torch.ops.aten
X = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))


def as_values(flow, labels, given, shape):
    """The number of the channel, counted from its first label, at each place."""
    ((dim, own),) = flow.items()
    sizes = [1] * len(shape)
    sizes[dim] = -1
    return (own - given[0]).reshape(sizes).expand(shape)


NUMBERS = torch.arange(6).reshape(1, 6, 1, 1).expand(2, 6, 4, 4)
MOVES = {
    "flattened": (aten.view.default, ([2, 96],)),
    "in tokens": (aten.view.default, ([2, 6, 16],)),
    "examples joined": (aten.view.default, ([12, 16],)),
    "permuted": (aten.permute.default, ([0, 2, 3, 1],)),
    "transposed": (aten.transpose.int, (1, 3)),
    "one more dimension": (aten.unsqueeze.default, (1,)),
    "a row": (aten.select.int, (2, 1)),
    "some rows": (aten.slice.Tensor, (2, 0, 3, 2)),
    "places rolled": (aten.roll.default, ([1, 1], [2, 3])),
    "flipped": (aten.flip.default, ([1],)),
    "expanded": (aten.expand.default, ([2, 6, 4, 4],)),
}


@pytest.mark.parametrize("kind", MOVES)
def test_labels_go_where_the_values_go(run, kind):
    function, options = MOVES[kind]
    (given,), (flow,), labels = run(function, X, *options)
    moved = function(NUMBERS.contiguous(), *options)
    if kind == "examples joined":  # each channel of each example has a row, and its own
        assert torch.equal(flow[0] - given[0], moved[:, 0])
        return
    assert torch.equal(as_values(flow, labels, given, moved.shape), moved)
    assert labels.reason(given) is None


CUTS = {
    "divided": (aten.view.default, ([2, 2, 3, 4, 4],)),
    "one channel": (aten.select.int, (1, 0)),
    "some channels": (aten.slice.Tensor, (1, 0, 3)),
    "channels rolled": (aten.roll.default, ([1], [1])),
    "repeated": (aten.repeat.default, ([1, 2, 1, 1],)),
}


@pytest.mark.parametrize("kind", CUTS)
def test_what_names_channels_by_number_keeps_them(run, kind):
    function, options = CUTS[kind]
    (given,), (flow,), labels = run(function, X, *options)
    assert flow == {}
    assert labels.reason(given)


def test_equal_parts_go_together_and_others_stay(run):
    (given,), flows, labels = run(aten.split.Tensor, X, 3, 1)
    assert [flow[1].tolist() for flow in flows] == given.reshape(2, 3).tolist()
    assert torch.equal(labels.sets()[given[:3]], labels.sets()[given[3:]])
    assert len(set(labels.channels()[given].tolist())) == 6
    (given,), flows, labels = run(aten.split_with_sizes.default, X, [2, 4], 1)
    assert not any(flows)
    assert "divides them into 2, 4" in labels.reason(given)
    (given,), flows, labels = run(aten.split.Tensor, X, 1, 2)
    assert all(torch.equal(flow[1], given) for flow in flows)


def test_the_halves_of_a_gate_are_the_same_channels(run):
    (given,), (flow,), labels = run(aten.glu.default, X, 1)
    assert torch.equal(flow[1], given[:3])
    assert torch.equal(labels.channels()[given[:3]], labels.channels()[given[3:]])


def test_concatenated_channels_stand_one_after_another(run):
    (given,), (flow,), _ = run(aten.cat.default, [X, X.clone()], 1)
    assert flow[1].tolist() == [*given.tolist(), *[0] * 6]
    (one, other), (flow,), labels = run(aten.cat.default, [X, X.clone()], 2, channels=((0, 1), (1, 1)))
    assert torch.equal(labels.channels()[one], labels.channels()[other])
    assert torch.equal(flow[1], one)


@pytest.mark.parametrize(
    ("function", "options", "reference"),
    [
        (aten.pixel_unshuffle.default, (2,), lambda x: F.pixel_unshuffle(x, 2)),
        (aten.im2col.default, ([2, 2], [1, 1], [0, 0], [1, 1]), lambda x: F.unfold(x, 2)),
    ],
)
def test_channels_that_become_several(run, function, options, reference):
    (given,), (flow,), _ = run(function, X, *options)
    numbers = reference(NUMBERS.float().contiguous())
    assert torch.equal(flow[1] - given[0], numbers[0].flatten(1)[:, 0].long())


def test_channels_that_become_one(run):
    images = torch.cat([X, X[:, :2]], 1)
    (given,), (flow,), labels = run(aten.pixel_shuffle.default, images, 2)
    assert flow[1].tolist() == given[::4].tolist()
    assert labels.channels()[given].tolist() == given[::4].repeat_interleave(4).tolist()
