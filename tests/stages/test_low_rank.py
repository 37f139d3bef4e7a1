import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from effbench import models
from effbench.codec import decode, encode
from effbench.compression.constraints.masks import Mask
from effbench.compression.structure.decomposition import decompose
from effbench.compression.structure.edits import Edit, EditKind, edits_of
from effbench.compression.structure.factorized import Factored, build_factored
from effbench.measure.compute import count_cost
from effbench.run.store import Store
from effbench.stages.low_rank import LowRank
from effbench.stages.train import Train


def seeded(build, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


def factors(layer, scheme, ranks):
    """The chain for a layer at these ranks, however large it is."""
    weight = layer.weight.detach()
    chain = build_factored(layer, scheme, (weight.shape[1], *ranks, weight.shape[0]))
    with torch.no_grad():
        for one, values in zip(chain, decompose(weight, scheme).factors(ranks), strict=True):
            one.weight.copy_(values)
        if layer.bias is not None:
            chain[-1].bias.copy_(layer.bias)
    return chain


@given(n_out=st.integers(1, 12), n_in=st.integers(1, 12), rank=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_error_of_a_linear_layer_is_that_of_the_truncated_svd(n_out, n_in, rank, seed):
    rank = min(rank, n_out, n_in)
    weight = torch.randn(n_out, n_in, generator=torch.Generator().manual_seed(seed))
    first, second = decompose(weight, "svd").factors((rank,))
    left_out = torch.linalg.svdvals(weight.double())[rank:].square().sum().sqrt()  # Eckart & Young 1936
    error = torch.linalg.norm((second.double() @ first.double()) - weight.double())
    assert error == pytest.approx(float(left_out), abs=1e-5)
    assert torch.linalg.norm(first, dim=1) == pytest.approx(torch.linalg.norm(second, dim=0), rel=1e-2, abs=1e-3)


LAYERS = {
    "linear": (lambda: nn.Linear(20, 9), "svd", (5, 20)),
    "pointwise": (lambda: nn.Conv2d(6, 9, 1, stride=2), "svd", (2, 6, 9, 8)),
    "pointwise, 1-D": (lambda: nn.Conv1d(6, 9, 1), "svd", (2, 6, 9)),
    "spatial": (lambda: nn.Conv2d(5, 7, 3, padding=1, stride=(1, 2)), "spatial", (2, 5, 8, 9)),
    "spatial, uneven": (lambda: nn.Conv2d(5, 4, (2, 5), padding=(0, 2), dilation=(2, 1)), "spatial", (2, 5, 8, 9)),
    "spatial, same": (lambda: nn.Conv2d(3, 4, 3, padding="same", padding_mode="reflect"), "spatial", (2, 3, 8, 9)),
    "tucker": (lambda: nn.Conv2d(5, 7, 3, padding=1, stride=2), "tucker", (2, 5, 8, 9)),
    "tucker, wide": (lambda: nn.Conv2d(1, 30, 3, bias=False), "tucker", (2, 1, 8, 9)),
    "tucker, 1-D": (lambda: nn.Conv1d(5, 7, 3, padding=2, dilation=2), "tucker", (2, 5, 9)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_at_full_rank_the_chain_is_the_layer(name):
    build, scheme, size = LAYERS[name]
    layer, inputs = seeded(build), torch.randn(size)
    chain = factors(layer, scheme, decompose(layer.weight, scheme).full_ranks)
    with torch.no_grad():
        assert torch.allclose(chain(inputs), layer(inputs), atol=1e-5)


@pytest.mark.parametrize("scheme", ["spatial", "tucker"])
def test_more_rank_is_closer_and_a_weight_of_low_rank_is_met(scheme):
    layer = seeded(lambda: nn.Conv2d(8, 8, 3, padding=1, bias=False))
    exact = factors(layer, scheme, (3,) if scheme == "spatial" else (3, 2))
    images = torch.randn(2, 8, 6, 6)
    with torch.no_grad():  # the kernel of the chain, from what it makes of unit impulses
        impulses = torch.zeros(8, 8, 3, 3)
        impulses[range(8), range(8), 1, 1] = 1
        layer.weight.copy_(exact(impulses).flip(2, 3).transpose(0, 1))
        ranks = (3,) if scheme == "spatial" else (3, 2)
        assert torch.allclose(factors(layer, scheme, ranks)(images), exact(images), atol=1e-5)
        assert torch.allclose(layer(images), exact(images), atol=1e-5)
    other = seeded(lambda: nn.Conv2d(8, 8, 3, padding=1, bias=False), 1)
    ladder = [(n,) if scheme == "spatial" else (n, n) for n in (1, 3, 5, 8)]
    with torch.no_grad():
        errors = [float((factors(other, scheme, r)(images) - other(images)).norm()) for r in ladder]
    assert errors == sorted(errors, reverse=True)


def network():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 24, 1),
        nn.Flatten(),
        nn.Linear(24 * 16, 30),
        nn.Linear(30, 4),
    )


def test_multiply_adds_and_parameters_are_those_of_the_closed_form(toy_data, make_context):
    context = make_context(toy_data)
    model = seeded(network)
    low = LowRank(rank=0.25).apply(model, context)
    assert edits_of(low) == {
        "0": Edit(EditKind.TUCKER, (1, 1, 2, 16)),  # ranks floor(0.25 · (1, 9) + ½), at least 1
        "2": Edit(EditKind.TUCKER, (16, 4, 4, 16)),
        "5": Edit(EditKind.SVD, (16, 4, 24)),
        "7": Edit(EditKind.SVD, (384, 8, 30)),
        "8": Edit(EditKind.SVD, (30, 1, 4)),
    }
    macs = {
        "0": 64 * (1 + 18 + 32),
        "2": 64 * 64 + 16 * (9 * 16 + 64),
        "4": 16 * 16 * 9,
        "5": 16 * (64 + 96),
        "7": 8 * (384 + 30),
        "8": 34,
    }
    cost = count_cost(low, (1, 8, 8))
    assert cost.macs == sum(macs.values())
    weights = 51 + (64 + 144 + 64) + 144 + 160 + 8 * 414 + 34
    assert cost.params == weights + 16 + 16 + 16 + 24 + 30 + 4  # one bias a layer, as before


def test_spatial_factors_have_their_closed_form(toy_data, make_context):
    model = seeded(network)
    low = LowRank(rank=0.25, scheme="spatial").apply(model, make_context(toy_data))
    assert edits_of(low)["2"] == Edit(EditKind.SPATIAL, (16, 12, 16))
    by_layer = count_cost(low, (1, 8, 8)).by_layer.set_index("layer")["macs"]
    assert by_layer["2.0"] == 4 * 8 * 12 * 16 * 3  # half the height, the whole width
    assert by_layer["2.1"] == 4 * 4 * 16 * 12 * 3


@pytest.mark.matrix(fast=10)
@pytest.mark.parametrize("scheme", ["tucker", "spatial"])
@pytest.mark.parametrize("by", ["share", "energy", "macs"])
@pytest.mark.parametrize("rank", [0.1, 0.5, 0.9, 0.99])
def test_no_layer_grows(toy_data, make_context, scheme, by, rank):
    context, model = make_context(toy_data), seeded(network)
    before = count_cost(model, (1, 8, 8)).by_layer.set_index("layer")
    low = LowRank(rank=rank, scheme=scheme, by=by).apply(model, context)
    after = count_cost(low, (1, 8, 8)).by_layer.set_index("layer")
    for path in edits_of(low):
        parts = after[after.index.str.startswith(f"{path}.")]
        assert parts["macs"].sum() < before["macs"][path]
        assert parts["params"].sum() < before["params"][path]
        if by == "macs":
            budget = rank * before["macs"][path]
            assert parts["macs"].sum() <= budget or set(edits_of(low)[path].widths[1:-1]) == {1}
    assert "4" not in edits_of(low)


def test_energy_keeps_what_it_says():
    weight = torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.5]))
    energies = [16, 4, 1, 0.25]
    for rank in range(1, 5):
        share = sum(energies[:rank]) / sum(energies)
        assert decompose(weight, "svd").ranks_of_energy(share - 1e-6) == (rank,)
        assert decompose(weight, "svd").ranks_of_energy(min(1.0, share + 1e-6)) == (min(4, rank + 1),)
    assert decompose(torch.zeros(3, 5), "svd").ranks_of_energy(0.5) == (1,)


def test_degenerate_weights(toy_data, make_context):
    model = seeded(network)
    with torch.no_grad():
        model[7].weight.zero_()
        model[2].weight[:, 1:] = 0
    low = LowRank(rank=0.5).apply(model, make_context(toy_data))
    images = torch.randn(2, 1, 8, 8)
    assert low(images).isfinite().all()
    with torch.no_grad():
        model[2].weight[0, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        LowRank(rank=0.5).apply(model, make_context(toy_data))


def test_rank_one_is_the_network_itself_and_rounds_decompose_once(toy_data, make_context):
    context, model = make_context(toy_data), seeded(network)
    images = torch.randn(2, 1, 8, 8)
    same = LowRank(rank=1.0).apply(model, context)
    assert edits_of(same) == {} and torch.equal(same(images), model(images))
    once = LowRank(rank=0.5).at_round(1, 3).apply(model, context)
    for position in (2, 3):
        again = LowRank(rank=0.5).at_round(position, 3).apply(once, context)
        assert edits_of(again) == edits_of(once)
    assert edits_of(LowRank(rank=0.1).apply(once, context)) == edits_of(once)


def test_constraints_elsewhere_stay_and_those_on_a_decomposed_weight_are_in_its_values(toy_data, make_context):
    model = seeded(network)
    for position in (4, 7):
        mask = torch.rand(model[position].weight.shape, generator=torch.Generator().manual_seed(0)) < 0.1
        parametrize.register_parametrization(model[position], "weight", Mask(mask))
    low = LowRank(rank=0.9, by="energy").apply(model, make_context(toy_data))
    assert parametrize.is_parametrized(low[4])
    assert isinstance(low[7], Factored) and not parametrize.is_parametrized(low[7][0])
    product = low[7][1].weight @ low[7][0].weight
    assert ((product - model[7].weight).norm() / model[7].weight.norm()).square() < 0.1 + 1e-4


def test_it_comes_back_from_file_and_store_bit_by_bit(toy_data, make_context, tmp_path):
    for scheme in ("tucker", "spatial"):
        low = LowRank(rank=0.4, scheme=scheme).apply(seeded(network), make_context(toy_data)).eval()
        images = torch.randn(2, 1, 8, 8)
        Store(tmp_path).put_model(scheme, low)
        for back in (decode(encode(low), network()), Store(tmp_path).get_model(scheme, network())):
            assert edits_of(back) == edits_of(low) != {}
            with torch.no_grad():
                assert torch.equal(back.eval()(images), low(images))


def test_the_leading_components_beat_others_of_the_same_number(digits_data, make_context):
    context = make_context(digits_data)
    model = Train(epochs=3, lr=3e-3).apply(
        seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 48), nn.ReLU(), nn.Linear(48, 10))), context
    )
    layer = model[1]
    model[1] = factors(layer, "svd", (10,))
    leading = context.evaluate(model)
    with torch.no_grad():  # the control: projected onto ten random directions instead
        basis = torch.linalg.qr(torch.randn(48, 10, generator=torch.Generator().manual_seed(0)))[0]
        model[1][0].weight.copy_(basis.T @ layer.weight)
        model[1][1].weight.copy_(basis)
    others = context.evaluate(model)  # seen: 0.91 and 0.40
    assert leading > others + 0.2


@pytest.mark.extended
def test_mobilenet_v2_keeps_its_depthwise_layers(toy_data, make_context):
    build = lambda: models.torchvision_model(name="mobilenet_v2", num_classes=4, in_channels=1)  # noqa: E731
    model = seeded(build)
    low = LowRank(rank=0.3).apply(model, make_context(toy_data, side=32))
    depthwise = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert depthwise and not set(depthwise) & set(edits_of(low))
    assert count_cost(low, (1, 32, 32)).macs < 0.75 * count_cost(model, (1, 32, 32)).macs


@pytest.mark.parametrize(
    "options", [{"rank": 0.0}, {"rank": 1.1}, {"rank": 0.5, "scheme": "cp"}, {"rank": 1, "by": "x"}]
)
def test_what_is_no_option_is_refused(options):
    with pytest.raises(ValueError, match="must be"):
        LowRank(**options)


class ByName(nn.Module):
    """Calls its layers by keyword; reads the weight of one of them where asked to."""

    def __init__(self, *, reads=False):
        super().__init__()
        self.wide, self.head, self.reads = nn.Linear(64, 64), nn.Linear(64, 4), reads

    def forward(self, images):
        hidden = self.wide(input=images.flatten(1)).relu()
        return self.head(input=hidden @ self.wide.weight if self.reads else hidden)


def test_layers_called_by_keyword_are_decomposed(toy_data, make_context):
    decomposed = LowRank(rank=0.25).apply(seeded(ByName), make_context(toy_data))
    assert isinstance(decomposed.wide, Factored)
    assert decomposed.wide.widths == (64, 16, 64)


def test_a_weight_that_is_used_elsewhere_is_one_line_that_says_what_to_do(toy_data, make_context):
    with pytest.raises(ValueError, match=r"rank: ByName does not run .* skip these by layers=") as refusal:
        LowRank(rank=0.25).apply(seeded(lambda: ByName(reads=True)), make_context(toy_data))
    assert "\n" not in str(refusal.value)
    same = LowRank(rank=0.25, layers={"wide": "skip"}).apply(seeded(lambda: ByName(reads=True)), make_context(toy_data))
    assert isinstance(same.wide, nn.Linear)
