"""Peak memory of one inference, against counts by hand and against what torch's allocator hands out."""

import dataclasses

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

from effbench.compression.constraints.layer_inputs import InputGrid, set_input
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import register
from effbench.measure.memory import PeakMemory, peak_memory
from effbench.measure.meta_run import Watch, double_of, run_once


class Applies(nn.Module):
    """A network of one function without parameters."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


class Dense(nn.Module):
    """Every layer gets what all layers before it have made, as in DenseNet."""

    def __init__(self, n_layers):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(10 * (i + 1), 10) for i in range(n_layers))

    def forward(self, x):
        made = [x]
        for layer in self.layers:
            made.append(layer(torch.cat(made, 1)))
        return torch.cat(made, 1)


def test_of_a_chain_two_neighbours_are_there_and_the_input():
    chain = nn.Sequential(nn.Linear(10, 30), nn.Linear(30, 50), nn.Linear(50, 20), nn.Linear(20, 5))
    assert peak_memory(chain, (10,)) == PeakMemory(
        weights=4 * (330 + 1550 + 1020 + 105), activations=4 * (10 + 30 + 50), layer="1"
    )


def test_the_total_is_weights_and_activations():
    peak = peak_memory(nn.Linear(10, 30), (10,))
    assert peak.total == 4 * (330 + 40)
    with pytest.raises(dataclasses.FrozenInstanceError):
        peak.weights = 0


def test_what_a_sum_needs_later_stays():
    body = nn.Sequential(nn.Linear(20, 40), nn.Tanh(), nn.Linear(40, 20))
    chain = nn.Sequential(nn.Linear(5, 20), *body)
    assert peak_memory(chain, (5,)).activations == 4 * (5 + 40 + 40)
    assert peak_memory(nn.Sequential(nn.Linear(5, 20), Residual(body)), (5,)) == PeakMemory(
        weights=4 * (120 + 840 + 820), activations=4 * (5 + 20 + 40 + 40), layer="1.body.1"
    )


def test_operations_in_place_take_none():
    def activations(in_place):
        return peak_memory(nn.Sequential(nn.Linear(5, 40), nn.ReLU(inplace=in_place)), (5,)).activations

    assert (activations(False), activations(True)) == (4 * (5 + 40 + 40), 4 * (5 + 40))


@pytest.mark.parametrize(
    ("function", "n_values"),
    [
        (lambda x: x, 24),
        (lambda x: x.view(1, -1)[:, :3].unsqueeze(0).expand(7, 1, 3), 24),
        (lambda x: x.flatten(1), 24),
        (lambda x: x.transpose(1, 2).flatten(1), 48),  # has to be copied
        (lambda x: (x[:, :1] + 1) * 2, 24 + 6 + 6),
        (lambda x: torch.cat(x.chunk(2, 1), 1), 48),
        (lambda x: torch.stack([x, x]), 72),
        (lambda x: F.dropout(x, 0.5, False), 24),
        (lambda x: F.relu_(x + 1) + 1, 72),
        (lambda x: x + torch.zeros(24).view(1, 4, 6), 72),
        (lambda x: (x + 1).sum() + (x + 2).sum(), 24 + 24 + 1 + 1),
    ],
)
def test_views_share_and_copies_do_not(function, n_values):
    assert peak_memory(Applies(function), (4, 6)).activations == 4 * n_values


def test_a_part_of_a_tensor_keeps_all_of_it():
    def keeps(copies):
        def function(x):
            part = (x + 1)[:, :1]
            part = part.clone() if copies else part
            return (x * 2 - 1)[:, :1] + part

        return peak_memory(Applies(function), (4, 6)).activations

    # The part, x * 2 and x * 2 - 1 beside the input.
    assert (keeps(False), keeps(True)) == (4 * 4 * 24, 4 * (3 * 24 + 6))


def test_concatenations_stand_beside_what_they_are_made_of():
    # The input, two outputs, their concatenation; then the third output, and the last concatenation.
    assert peak_memory(Dense(2), (10,)).activations == 4 * (30 + 30)
    assert peak_memory(Dense(3), (10,)).activations == 4 * (40 + 40)


def test_indices_of_a_pooling_count_while_it_runs():
    peak = peak_memory(nn.Sequential(nn.MaxPool2d(2), nn.Tanh()), (1, 8, 8))
    assert (peak.activations, peak.layer) == (4 * 64 + 4 * 16 + 8 * 16, "0")


def test_what_the_forward_pass_makes_counts_in_its_own_type():
    assert peak_memory(Applies(lambda x: x[..., torch.tensor([0, 1])]), (4, 6)).activations == 4 * 24 + 2 * 8 + 4 * 8
    assert peak_memory(Applies(lambda x: x * torch.ones(4, 6, dtype=torch.float64)), (4, 6)).activations == 24 * 20


def test_weights_are_no_activations_wherever_they_go():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6, 6))
            self.table = [torch.ones(6)]

        def forward(self, x):
            return x @ self.weight.t().contiguous().t() + self.table[0][:3].repeat(2)

    # The weight's copy while it is made; its parameter is not among the activations.
    assert peak_memory(Tied(), (6,)).activations == 4 * (6 + 36 + 6)


def test_half_precision_takes_half():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    full, half = peak_memory(model, (1, 5, 5)), peak_memory(model.half(), (1, 5, 5))
    assert (full.weights, full.activations) == (2 * half.weights, 2 * half.activations)


def test_the_network_is_counted_in_eval_mode_and_left_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.BatchNorm1d(4))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert peak_memory(model, (3,)).weights == 4 * (16 + 16) + 8
    assert model.training and not any(parameter.is_meta for parameter in model.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_constraints_and_grids_on_inputs_take_nothing():
    model = nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 30))
    plain = peak_memory(model, (30,))
    register(model[1], "weight", UniformQuantizer(8))
    set_input(model[1], InputGrid.between(-1, 1, bits=8))
    assert peak_memory(model, (30,)) == plain
    assert len(model[1]._forward_pre_hooks) == 1


def test_a_recurrent_layer_makes_its_first_state():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.GRU(4, 8, batch_first=True)

        def forward(self, x):
            return self.layer(x)[1]

    assert peak_memory(Last(), (5, 4)).activations > 4 * (20 + 40)


def test_what_cannot_be_counted_is_an_error():
    with pytest.raises(ValueError, match="input_size must be the size of one input"):
        peak_memory(nn.Linear(3, 3), (3, 0))
    with pytest.raises(ValueError, match="can't be counted on one input of size"):
        peak_memory(Applies(lambda x: x * float(x.sum().item())), (3,))


class Names(Watch):
    """The names of all operations of a model."""

    def begin(self, example):
        super().begin(example)
        self.names = set()

    def note(self, operation, operands, args, kwargs, outcome):
        self.names.add(operation._schema.name)


def allocated_peak(model, size):
    """Return what torch's allocator has handed out, and the input, at the fullest end of an operation of the model.

    By then kernels have given back what they took for themselves; Python drops what it no longer needs later.
    """
    double = double_of(model)
    watch = Names(double)
    run_once(double, watch, size)
    ends = watch.names - {"aten::empty"} | {"aten::batch_norm"}  # the first is made within other operations as well
    example = torch.rand(1, *size)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.eval()(example)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            _ = model(example)
    happened = list(profiler.profiler.kineto_results.events())
    changes = [(event.start_ns(), event.nbytes()) for event in happened if event.name() == "[memory]"]
    moments = [(event.start_ns() + event.duration_ns(), None) for event in happened if event.name() in ends]
    held = peak = 0
    for _, n_bytes in sorted(changes + moments, key=lambda event: event[0]):
        if n_bytes is None:
            peak = max(peak, held)
        else:
            held += n_bytes
    return peak + example.nbytes


@pytest.fixture
def plain_encoders():
    """torch's own encoder layers without their fused path."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(enabled)


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: nn.Sequential(nn.Linear(300, 400), nn.ReLU(), nn.Linear(400, 20)), (300,)),
        (
            lambda: nn.Sequential(
                nn.Linear(30, 200), Residual(nn.Sequential(nn.Linear(200, 500), nn.GELU(), nn.Linear(500, 200)))
            ),
            (30,),
        ),
        (lambda: Dense(20), (10,)),
        (lambda: nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), (50, 64)),
        (lambda: torchvision.models.resnet18(weights=None), (3, 64, 64)),
        (lambda: torchvision.models.mobilenet_v2(weights=None), (3, 64, 64)),
        (lambda: torchvision.models.densenet121(weights=None), (3, 64, 64)),
        (lambda: torchvision.models.googlenet(weights=None, init_weights=False), (3, 64, 64)),
        (lambda: torchvision.models.shufflenet_v2_x1_0(weights=None), (3, 64, 64)),
    ],
    ids=["chain", "residual", "dense", "encoder", "resnet18", "mobilenet_v2", "densenet121", "googlenet", "shufflenet"],
)
def test_it_is_what_the_allocator_hands_out_but_for_workspaces(make, size, plain_encoders):
    model = make()
    # A batch normalisation's statistics are workspace to the one and outputs to the other: 0.1 % of these networks.
    assert peak_memory(model, size).activations == pytest.approx(allocated_peak(model, size), rel=0.002)


def test_known_networks_at_their_published_size():
    with torch.device("meta"):
        resnet = torchvision.models.resnet18(weights=None)
        vit = torchvision.models.vit_b_16(weights=None)
    peak = peak_memory(resnet, (3, 224, 224))
    # The image, the first convolution's output, its normalised copy, and the statistics of 64 channels.
    assert (peak.activations, peak.layer) == (4 * (3 * 224**2 + 2 * 64 * 112**2 + 2 * 64), "bn1")
    assert peak.weights == 4 * (11_689_512 + 2 * 4800) + 8 * 20
    peak = peak_memory(vit, (3, 224, 224))
    assert peak.layer.endswith("self_attention") and peak.activations < 10e6
