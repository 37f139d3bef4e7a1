"""Zeros are followed to where the weight is used: through views, copies, products and joins of parameters."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from effbench.measure.compute import count_cost
from effbench.measure.derived import Weight, storage_key


@pytest.mark.parametrize(("n_nonzero", "effective"), [(12, 100), (6, 50), (5, 41), (0, 0)])
def test_every_weight_takes_part_in_equally_many(n_nonzero, effective):
    assert Weight(numel=12, n_nonzero=n_nonzero).effective(100) == effective


def test_views_of_a_tensor_are_known_by_what_they_have_in_common():
    weight, other = (torch.empty(4, 3, device="meta") for _ in range(2))
    assert storage_key(weight) == storage_key(weight.t()) == storage_key(weight[1:])
    assert storage_key(weight) != storage_key(other)


class Made(nn.Module):
    """A linear network that uses what `make` makes of its parameters and buffers."""

    def __init__(self, make, zeros=5, mask_zeros=0, shape=(4, 6)):
        super().__init__()
        self.make = make
        self.weight = nn.Parameter(1 + torch.rand(shape))
        self.other = nn.Parameter(1 + torch.rand(shape))
        mask = torch.ones(shape)
        self.weight.data.flatten()[:zeros] = 0
        mask.flatten()[-mask_zeros or mask.numel() :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x):
        return F.linear(x, self.make(self))


FOLLOWED = {
    "itself": lambda m: m.weight,
    "scaled": lambda m: m.weight * 2,
    "per row": lambda m: m.weight * torch.arange(1.0, 5).view(4, 1),
    "by a number of its own": lambda m: m.weight * m.weight.abs().max(),
    "divided": lambda m: m.weight / m.weight.norm(dim=1, keepdim=True),
    "transposed twice": lambda m: m.weight.t().contiguous().t(),
    "copied": lambda m: m.weight.clone(),
    "in another shape": lambda m: m.weight.t().reshape(-1).view(6, 4).t(),
    "converted": lambda m: m.weight.bfloat16().float(),
    "changed in place": lambda m: m.weight.clone().mul_(3).neg_(),
    "masked by ones": lambda m: m.weight * m.mask,
    "from the inside": lambda m: torch.sign(m.weight) * m.weight.abs().sqrt(),
}
NOT_FOLLOWED = {
    "shifted": lambda m: m.weight + 1,
    "shifted in place": lambda m: m.weight.clone().add_(1),
    "another's zeros": lambda m: m.other + m.weight,
    "overwritten": lambda m: m.weight.clone().copy_(m.other),
    "exponential": lambda m: m.weight.exp(),
    "replaced": lambda m: torch.where(m.mask > 0, m.other, m.weight),
    "divided by": lambda m: 1 / (m.weight + 1),
}


@pytest.mark.parametrize("make", FOLLOWED.values(), ids=FOLLOWED)
def test_zeros_of_a_parameter_are_followed(make):
    model = Made(make)
    cost = count_cost(model, (6,))
    assert (cost.macs, cost.macs_effective) == (24, 24 - 5)
    with torch.no_grad():
        assert int((model.make(model) != 0).sum()) == 19


@pytest.mark.parametrize("make", NOT_FOLLOWED.values(), ids=NOT_FOLLOWED)
def test_what_cannot_be_known_is_not_claimed(make):
    assert count_cost(Made(make), (6,)).macs_effective == 24


def test_the_zeros_of_a_mask_count_in_a_product():
    assert count_cost(Made(lambda m: m.weight * m.mask, zeros=0, mask_zeros=9), (6,)).macs_effective == 24 - 9
    # Which of the mask's zeros are the parameter's own is not known: at least the larger number are zero.
    assert count_cost(Made(lambda m: m.weight * m.mask, zeros=5, mask_zeros=9), (6,)).macs_effective == 24 - 9


def test_joined_weights_have_the_zeros_of_all():
    cost = count_cost(Made(lambda m: torch.cat([m.weight, m.other])), (6,))
    assert (cost.macs, cost.macs_effective) == (48, 48 - 5)


def test_a_convolution_in_channels_last_has_its_zeros():
    class Convolved(Made):
        def forward(self, x):
            return F.conv2d(x, self.make(self))

    model = Convolved(lambda m: m.weight.contiguous(memory_format=torch.channels_last), shape=(4, 3, 3, 3))
    cost = count_cost(model, (3, 5, 5))
    assert (cost.macs, cost.macs_effective) == (108 * 9, 108 * 9 * (108 - 5) // 108)


def test_a_layer_whose_weight_came_from_elsewhere_has_its_multiplications():
    cost = count_cost(nn.Sequential(Made(FOLLOWED["scaled"])), (6,))
    assert cost.by_layer.set_index("layer").macs_effective.to_dict() == {"0": 19}


def test_what_an_input_went_into_is_no_weight():
    class Gate(nn.Module):
        """As many activations as a parameter has numbers, half of these zero."""

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([0.0, 1, 0, 1]))

        def forward(self, x):
            gated = x * self.scale
            kept = torch.zeros(1, 4)
            kept[:, :] = gated
            return gated @ x.t() + kept @ x.t()

    cost = count_cost(Gate(), (4,))
    assert cost.macs == cost.macs_effective == 8


chains = st.lists(
    st.sampled_from(
        [
            lambda w: w * 3,
            lambda w: -w,
            lambda w: w.t().contiguous(),
            lambda w: w.abs(),
            lambda w: w.tanh(),
            lambda w: w.flip(0),
            lambda w: w + 0.5,
            lambda w: w.clamp(min=-1),
            lambda w: w.exp(),
            lambda w: w.relu(),
            lambda w: w * w.roll(1, 0),
            lambda w: w / w.abs().max(),
            lambda w: w.clone().mul_(2),
        ]
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=40)
@given(chains, st.integers(0, 24))
def test_never_fewer_are_counted_than_there_are(chain, zeros):
    def make(model):
        weight = model.weight
        for step in chain:
            weight = step(weight)
        return weight.reshape(4, 6)

    model = Made(make, zeros=zeros)
    with torch.no_grad():
        n_nonzero = int((make(model) != 0).sum())
    assert n_nonzero <= count_cost(model, (6,)).macs_effective <= 24
