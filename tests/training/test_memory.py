"""The memory of training: counted exactly, alike everywhere, and without a say in what is trained."""

import contextlib
import copy
import gc

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effbench.stages.distill import Distill
from effbench.stages.train import Train
from effbench.training import trainer
from effbench.training.loop import TrainingOptions, fit
from effbench.training.memory import TensorMemory

CPU = torch.device("cpu")


def peak_of(model, data, **options):
    options = TrainingOptions(**{"epochs": 1, "lr": 1e-3, "batch_size": 32, **options})
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    how = {"side": data.side, "generator": generator, "device": CPU, "loss": lambda o, _, t: F.cross_entropy(o, t)}
    return fit(model, data, options, **how).peak_bytes, model


def test_storages_count_once_while_they_live():
    images = torch.zeros(1000)
    with TensorMemory() as memory:
        one = images + 1
        assert memory.peak_bytes == 8000  # what is read and what is made
        view = one.reshape(10, 100)[2:]
        one = None
        other = images.clone()
        assert memory.peak_bytes == 12000
        other = other * 2  # both are there for a moment
        assert memory.peak_bytes == 16000
        view = None
        assert (view, (images + other + 1).shape) == (None, (1000,))
        assert memory.peak_bytes == 16000


def test_what_the_backward_pass_needs_counts_though_nobody_names_it():
    images = torch.zeros(1000, requires_grad=True)
    with TensorMemory() as memory:
        kept = images.exp().exp()  # exp keeps its result
        assert memory.peak_bytes == 12000
        del kept
        gc.collect()
    with TensorMemory() as memory, torch.no_grad():
        for _ in range(5):
            images.exp()
        assert memory.peak_bytes == 8000


def test_a_wide_layer_needs_itself_its_gradient_and_two_moments(toy_data):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4, bias=False), nn.Linear(4, 50_000), nn.Linear(50_000, 4))
    n_bytes = 4 * sum(parameter.numel() for parameter in network.parameters())
    activations = 4 * 4 * 50_000  # of four examples
    peak, _ = peak_of(network, toy_data, batch_size=4)
    assert 4 * n_bytes < peak < 4 * n_bytes + 4 * activations


def test_activations_grow_with_the_batch_and_shrink_with_bfloat16(toy_data):
    network = nn.Sequential(
        *(nn.Conv2d(c, 16, 3, padding=1) for c in (1, 16, 16, 16)), nn.Flatten(), nn.Linear(1024, 4)
    )
    peaks = {
        (size, precision): peak_of(network, toy_data, batch_size=size, precision=precision)[0]
        for size in (32, 64)
        for precision in ("float32", "bfloat16")
    }
    assert peaks[64, "float32"] > 1.5 * peaks[32, "float32"]
    # Every kept activation halves; weights, gradients and moments stay, and weights have a narrow copy besides.
    assert 0.45 < peaks[64, "bfloat16"] / peaks[64, "float32"] < 0.85


def test_watching_changes_no_bit_and_gives_the_same_figure_every_time(toy_data, toy_network, monkeypatch):
    network = nn.Sequential(*toy_network()[:-1], nn.Dropout(0.3), toy_network()[-1])
    for precision in ("float32", "bfloat16"):
        peak, watched = peak_of(network, toy_data, precision=precision)
        assert peak_of(network, toy_data, precision=precision, epochs=2)[0] == peak
        with monkeypatch.context() as patch:
            patch.setattr(trainer, "N_WATCHED", 0)
            unwatched = peak_of(network, toy_data, precision=precision)[1]
        assert all(torch.equal(t, watched.state_dict()[name]) for name, t in unwatched.state_dict().items())


def test_no_steps_need_nothing_and_say_nothing(toy_data, toy_network, make_context):
    assert peak_of(toy_network(), toy_data, epochs=0)[0] == 0
    context = make_context(toy_data)
    Train(epochs=0, lr=1e-3).apply(toy_network(), context)
    assert context.findings.is_empty


@pytest.mark.parametrize("kind", [Train, Distill])
def test_a_stage_that_trains_tells_the_run(toy_data, toy_network, make_context, kind):
    context = make_context(toy_data)
    options = {"weight": 0.5} if kind is Distill else {}
    with contextlib.suppress(FloatingPointError):
        kind(epochs=1, lr=1e-3, **options).apply(toy_network(), context)
    n_parameters = sum(parameter.numel() for parameter in toy_network().parameters())
    assert context.findings.peaks["train_memory_mb"] > 4 * 4 * n_parameters / 1e6
