"""Which weights stages act on, beside those of layers that have one `weight`: tied, attention's, recurrent ones."""

import copy
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from effbench.codec import decode, encode
from effbench.compression.constraints.described import describe, impose
from effbench.compression.constraints.layer_inputs import InputCast, InputGrid, grid_on, set_input
from effbench.compression.constraints.stack import bake, constraints_on
from effbench.compression.layers import weights_of
from effbench.measure.compute import count_cost
from effbench.measure.size import float32_bytes
from effbench.stages.bits_budget import BitsBudget
from effbench.stages.prune import Prune, sparsity
from effbench.stages.prune_nm import PruneNM
from effbench.stages.quantize import Quantize
from effbench.stages.quantize_inputs import QuantizeInputs
from effbench.stages.share import Share
from effbench.stages.train import Train

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


class Rows(nn.Module):
    """A network that takes the toy data's images as eight steps of eight numbers."""

    def forward(self, x):
        return self.f(self.read(x.flatten(1, 2)).mean(1))


class Tied(Rows):
    """Two linear layers with one weight."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.f = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.b.weight = self.a.weight

    def read(self, x):
        return F.relu(self.b(F.relu(self.a(x))))


class Language(Rows):
    """Tokens are embedded by the very weight that the output is read with."""

    def __init__(self):
        super().__init__()
        self.embedding, self.inner = nn.Embedding(10, 6), nn.Linear(6, 6)
        self.head, self.f = nn.Linear(6, 10, bias=False), nn.Linear(10, 4)
        self.head.weight = self.embedding.weight

    def read(self, x):
        return self.head(F.relu(self.inner(self.embedding(x[..., 0].abs().mul(3).long().clamp(max=9)))))


class Twice(Rows):
    """One layer in two places, that runs twice."""

    def __init__(self):
        super().__init__()
        self.a, self.f = nn.Linear(8, 8), nn.Linear(8, 4)
        self.again = self.a

    def read(self, x):
        return F.relu(self.again(F.relu(self.a(x))))


class Recurrent(Rows):
    def __init__(self, kind, **options):
        super().__init__()
        self.r = kind(8, 6, batch_first=True, **options)
        width = options.get("proj_size", 6) * (2 if options.get("bidirectional") else 1)
        self.f = nn.Linear(width, 4)

    def read(self, x):
        return self.r(x)[0]


class Cells(Rows):
    def __init__(self):
        super().__init__()
        self.r, self.g, self.f = nn.LSTMCell(8, 6), nn.GRUCell(6, 5), nn.Linear(5, 4)

    def read(self, x):
        state, other = (x.new_zeros(len(x), 6), x.new_zeros(len(x), 6)), x.new_zeros(len(x), 5)
        for step in x.unbind(1):
            state = self.r(step, state)
            other = self.g(state[0], other)
        return other[:, None]


class Attention(Rows):
    def __init__(self, **options):
        super().__init__()
        self.m, self.f = nn.MultiheadAttention(8, 2, batch_first=True, **options), nn.Linear(8, 4)

    def read(self, x):
        sizes = (self.m.kdim, self.m.vdim)
        return x + self.m(x, *(x[..., :size] for size in sizes), need_weights=False)[0]


class Encoder(Rows):
    """torch's own block, which takes a path of its own where no gradient is asked for."""

    def __init__(self):
        super().__init__()
        self.e = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dropout=0.0)
        self.f = nn.Linear(8, 4)

    def read(self, x):
        return self.e(x)


NETWORKS = {
    "tied": Tied,
    "language": Language,
    "twice": Twice,
    "lstm": lambda: Recurrent(nn.LSTM),
    "lstm of two layers": lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True),
    "projected lstm": lambda: Recurrent(nn.LSTM, proj_size=3),
    "gru": lambda: Recurrent(nn.GRU),
    "rnn": lambda: Recurrent(nn.RNN, bias=False),
    "cells": Cells,
    "attention": Attention,
    "attention of other widths": lambda: Attention(kdim=5, vdim=3, add_bias_kv=True),
    "encoder": Encoder,
}
STAGES = {
    "prune": Prune(ratio=0.5),
    "random": Prune(ratio=0.5, criterion="random"),
    "gradient": Prune(ratio=0.5, criterion="gradient"),
    "rows": Prune(ratio=0.3, granularity="row", scope="layer"),
    "cubic": Prune(ratio=0.5, schedule="cubic", every=1),
    "n:m": PruneNM(pattern="2:4"),
    "bits": Quantize(bits=4),
    "affine": Quantize(bits=3, scheme="affine", range="mse"),
    "kmeans": Quantize(bits=2, scheme="kmeans"),
    "share": Share(values=5, values_bias=2),
    "moving": Share(values=5, reassign=1),
    "budget": BitsBudget(budget=4, widths="6-4-2"),
}


@pytest.fixture(params=NETWORKS)
def make_network(request):
    def make(seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return NETWORKS[request.param]()

    return make


@pytest.fixture(params=STAGES)
def stage(request):
    return STAGES[request.param]


def assert_comes_back(result, make, images):
    """Assert that a network is the same from its file, and as the store keeps it: return the latter.

    make(seed=...) gives a network to fill.
    """
    with torch.no_grad():
        expected = result(images)
        restored = decode(encode(result), make(seed=1)).eval()
        assert same_state(restored, bake(result))
        assert torch.equal(restored(images), bake(result)(images))
        # torch multiplies by a tensor with a gradient to get in another order: the last bit may differ.
        assert torch.allclose(restored(images), expected, atol=1e-6)
        fresh = make(seed=1)
        impose(fresh, json.loads(json.dumps(describe(result))))
        fresh.load_state_dict(result.state_dict())
        assert describe(fresh) == describe(result)
        assert torch.equal(fresh.eval()(images), expected)
    return fresh


def same_state(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.matrix(fast=2)
def test_what_a_stage_made_is_what_comes_back_and_it_goes_on_being_so_in_training(
    stage, make_network, toy_data, make_context
):
    context = make_context(toy_data)
    network = make_network()
    state = copy.deepcopy(network.state_dict())
    images = next(toy_data.batches("val", side=8, batch_size=5))[0]
    made = stage.apply(network, context).eval()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    trained = Train(epochs=1, lr=1e-2).apply(made, context).eval()
    for result in (made, trained):
        with torch.no_grad():
            assert torch.equal(copy.deepcopy(result)(images), result(images))
        fresh = assert_comes_back(result, make_network, images)
        assert len({id(parameter) for parameter in fresh.parameters()}) == len(list(result.parameters()))
        assert same_state(bake(fresh), bake(result))
    assert not same_state(bake(trained), bake(made))


@pytest.mark.matrix(fast=24)
def test_every_weight_has_its_constraint_in_all_its_places(stage, make_network, toy_data, make_context):
    made = stage.apply(make_network(), make_context(toy_data))
    for weight in weights_of(made):
        first, *others = (constraints_on(*place) for place in weight.places)
        assert first
        assert all(list(map(id, other)) == list(map(id, first)) for other in others)
    assert len(list(weights_of(made))) == len(list(weights_of(make_network())))


@pytest.mark.parametrize("name", ["prune", "random", "gradient", "cubic"])
def test_the_share_that_is_zero_is_that_of_all_weights_each_once(name, make_network, toy_data, make_context):
    made = STAGES[name].apply(make_network(), make_context(toy_data))
    n_weights = sum(weight.value().numel() for weight in weights_of(made))
    assert sparsity(made) == pytest.approx(0.5, abs=0.51 / n_weights)


def test_a_mask_holds_while_the_network_is_trained(make_network, toy_data, make_context):
    context = make_context(toy_data)
    made = Prune(ratio=0.5).apply(make_network(), context)
    trained = Train(epochs=1, lr=1e-2).apply(made, context)
    for one, other in zip(weights_of(made), weights_of(trained), strict=True):
        assert (other.value()[one.value() == 0] == 0).all()
    assert sparsity(trained) == sparsity(made)


def test_a_tied_weight_counts_once_and_its_multiplications_at_each_use():
    network = Tied()
    assert float32_bytes(network) == 4 * (64 + 8 + 8 + 32 + 4)
    cost = count_cost(network, (1, 8, 8))
    assert (cost.params, cost.macs) == (64 + 8 + 8 + 36, 8 * 64 * 2 + 32)
    assert cost.by_layer.set_index("layer").params.to_dict() == {"a": 72, "b": 8, "f": 36}
    assert cost.by_layer.set_index("layer").macs.to_dict() == {"a": 512, "b": 512, "f": 32}


def test_a_file_of_a_network_that_nothing_was_done_to_is_no_smaller_than_its_numbers(make_network):
    network = make_network()
    assert float32_bytes(network) / len(encode(network, coder="none")) < 1.15


@pytest.mark.matrix(fast=3)
def test_half_the_weights_are_half_of_the_multiplications(make_network, toy_data, make_context):
    made = Prune(ratio=0.5, scope="layer").apply(make_network(), make_context(toy_data))
    before, after = count_cost(make_network(), (1, 8, 8)), count_cost(made, (1, 8, 8))
    assert (after.macs, after.params) == (before.macs, before.params)
    assert after.params_nonzero == before.params_nonzero - sum(int((w.value() == 0).sum()) for w in weights_of(made))
    assert after.macs_effective < before.macs_effective
    assert count_cost(bake(made), (1, 8, 8)).macs_effective == after.macs_effective


def test_stages_name_what_they_leave_alone(toy_data, make_context):
    class Bare(Rows):
        def __init__(self):
            super().__init__()
            self.w, self.position = nn.Parameter(torch.randn(8, 6)), nn.Parameter(torch.zeros(1, 1, 8))
            self.both, self.norm, self.f = nn.Bilinear(6, 6, 5), nn.LayerNorm((8, 8)), nn.Linear(5, 4)

        def read(self, x):
            x = torch.einsum("nsc,cd->nsd", self.norm(x) + self.position, self.w)
            return self.both(x, x)

    context = make_context(toy_data)
    Quantize(bits=4, tables=False).apply(Bare(), context)
    assert context.findings.metrics == {f"acted_share/{context.step}": 20 / (20 + 48 + 180)}
    assert context.findings.words == {f"left/{context.step}": "w, both.weight"}
    Quantize(bits=4).apply(Bare(), context)
    assert context.findings.metrics == {f"acted_share/{context.step}": (20 + 48) / (20 + 48 + 180)}
    assert context.findings.words == {
        f"left/{context.step}": "both.weight",
        f"tables/{context.step}": "w, position",
    }


def test_a_network_of_layers_alone_has_nothing_left_to_say(toy_network, toy_data, make_context):
    context = make_context(toy_data)
    Quantize(bits=4).apply(toy_network(), context)
    assert context.findings.is_empty


def test_single_weights_may_have_values_of_their_own_by_any_of_their_names(toy_data, make_context):
    context = make_context(toy_data)
    own = Prune(ratio=0.5, layers={"r.weight_hh*": 0.75, "f": "skip"}).apply(Recurrent(nn.LSTM), context)
    zeros = {weight.name: float((weight.value() == 0).float().mean()) for weight in weights_of(own)}
    assert zeros == {"r.weight_ih_l0": 0.5, "r.weight_hh_l0": 0.75, "f": 0.0}
    n_acted = 24 * 8 + 24 * 6
    assert context.findings.metrics[f"acted_share/{context.step}"] == n_acted / (n_acted + 24)
    assert context.findings.words == {f"left/{context.step}": "f"}
    tied = Quantize(bits=8, layers={"b": 2}).apply(Tied(), context)
    (weight, _) = weights_of(tied)
    assert weight.names == ("a", "b")
    assert all(len(row.unique()) <= 3 for row in weight.value())


def test_a_scripted_network_is_refused_in_a_line(toy_data, make_context):
    scripted = torch.nn.Linear(64, 4)
    with pytest.warns(FutureWarning):
        scripted = torch.jit.script(scripted)
    with pytest.raises(ValueError, match="is scripted, and its weights can't be changed: give the network as it was"):
        Quantize(bits=4).apply(scripted, make_context(toy_data))


@pytest.mark.matrix(fast=3)
def test_constraints_of_the_networks_own_stay_and_are_acted_on(stage, toy_data, make_context):
    def make(seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = nn.Sequential(
                nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)
            )
            nn.utils.parametrizations.weight_norm(network[1])
            nn.utils.parametrizations.spectral_norm(network[3])
            nn.utils.parametrizations.orthogonal(network[5])
        return network

    network, context = make(), make_context(toy_data)
    state = copy.deepcopy(network.state_dict())
    images = next(toy_data.batches("val", side=8, batch_size=5))[0]
    made = stage.apply(network, context).eval()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    trained = Train(epochs=1, lr=1e-2).apply(made, context).eval()
    for result in (made, trained):
        assert all(parametrize.is_parametrized(weight.module) for weight in weights_of(result))
        assert_comes_back(result, make, images)


class ByKeyword(Rows):
    """Layers that get their input by name, one of them twice, and a network whose outputs are a dict."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.f = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = F.relu(self.a(input=x.flatten(1, 2)))
        return {"out": self.f(input=self.b(input=self.b(input=x)).mean(1)), "inside": (x,)}


def test_layers_that_are_called_by_keyword_have_their_inputs_rounded_and_cast(toy_data, make_context):
    model, images = ByKeyword().eval(), next(toy_data.batches("val", side=8, batch_size=5))[0]
    plain = copy.deepcopy(model)
    grids = {name: InputGrid.between(-1.0, 2.0, bits=3) for name in "abf"}
    for name, grid in grids.items():
        set_input(model.get_submodule(name), grid)
    with torch.no_grad():
        x = F.relu(plain.a(grids["a"].round(images.flatten(1, 2))))
        for _ in range(2):
            x = plain.b(grids["b"].round(x))
        expected = plain.f(grids["f"].round(x.mean(1)))
        assert torch.equal(model(images)["out"], expected)
        restored = decode(encode(model), ByKeyword()).eval()
        assert torch.equal(restored(images)["out"], expected)
        set_input(model, InputCast(dtype="bfloat16"))
        assert model(x=images)["out"].dtype == torch.bfloat16
    assert count_cost(ByKeyword(), (1, 8, 8)).macs == 3 * 8 * 64 + 32


class Named(ByKeyword):
    """The same with one output, which the toy task can judge."""

    def forward(self, x):
        return super().forward(x)["out"]


def test_the_ranges_of_inputs_are_seen_in_layers_that_are_called_by_keyword(toy_data, make_context):
    made = QuantizeInputs(bits=4).apply(Named(), make_context(toy_data))
    assert all(grid_on(made.get_submodule(name)) is not None for name in "abf")


def test_a_network_with_a_dict_of_outputs_is_acted_on(toy_data, make_context):
    for stage in (Prune(ratio=0.5), PruneNM(pattern="2:4"), Quantize(bits=4), Share(values=4)):
        made = stage.apply(ByKeyword(), make_context(toy_data))
        assert count_cost(made, (1, 8, 8)).macs == 3 * 8 * 64 + 32
        assert same_state(decode(encode(made), ByKeyword()), bake(made))


def test_inputs_that_no_layer_of_its_own_takes_are_named(toy_data, make_context):
    context = make_context(toy_data)
    QuantizeInputs(bits=4).apply(Attention(), context)
    # Neither the projections, which are no layer, nor the last one, which attention does not call as one.
    assert context.findings.metrics == {f"acted_share/{context.step}": 32 / (32 + 4 * 64)}
    assert context.findings.words == {
        f"left/{context.step}": "m.in_proj_weight, m.out_proj",
        f"products/{context.step}": "m",
    }
