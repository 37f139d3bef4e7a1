"""All that a training carries: kept at an epoch's end and taken up again, it goes on to the bit."""

import copy

import pytest
import torch
from torch import nn

from effbench.codec import encode
from effbench.compression.constraints.learned_grid import LearnedGrid
from effbench.compression.constraints.masks import Mask, RampedMask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import register
from effbench.plan.components import TargetComponent
from effbench.run.packing import pack, unpack
from effbench.tasks.classification import Classification
from effbench.training import loop
from effbench.training.evaluation import evaluate
from effbench.training.loop import TrainingOptions, fit

CPU = torch.device("cpu")
TASK = Classification()
RATES = "torch.optim.lr_scheduler."
SGD = TargetComponent.read({"_target_": "torch.optim.SGD", "momentum": 0.9})


def scheduler(name, **options):
    return TargetComponent.read({"_target_": RATES + name, **options})


class Kept:
    """A checkpoint in memory, through the store's own file format; the training dies after some epochs."""

    def __init__(self, path, *, dies_after=None):
        self.path, self.dies_after, self.n_saved = path, dies_after, 0

    def load(self):
        return unpack(self.path.read_bytes()) if self.path.exists() else None

    def save(self, state):
        self.path.write_bytes(pack(state))
        self.n_saved += 1
        if self.n_saved == self.dies_after:
            raise KeyboardInterrupt


def network(toy_network):
    model = nn.Sequential(*toy_network()[:-1], nn.Dropout(0.3), toy_network()[-1])
    weight = model[0].weight
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) < 0.6
    register(model[0], "weight", Mask(mask))
    return model


def run(model, data, options, *, checkpoint=None):
    """Train a copy; return its tensors and the records of the epochs."""
    model, records = copy.deepcopy(model), []
    fit(
        model,
        data,
        options,
        side=data.side,
        generator=torch.Generator().manual_seed(3),
        device=CPU,
        loss=lambda outputs, images, targets: TASK.loss(outputs, targets),
        validate=lambda network: evaluate(network, data, "val", task=TASK, side=data.side),
        count=TASK.counts,
        on_epoch=records.append,
        checkpoint=checkpoint,
        code_length=lambda module, coder: len(encode(module, coder=coder)),
    )
    return model.state_dict(), records


KINDS = {
    "default": {},
    "cosine": {"optimizer": SGD, "scheduler": scheduler("CosineAnnealingLR")},
    "one_cycle": {"optimizer": SGD, "scheduler": scheduler("OneCycleLR")},
    "sequential": {
        "optimizer": SGD,
        "scheduler": scheduler(
            "SequentialLR",
            schedulers=[
                {"_target_": RATES + "LinearLR", "total_iters": 2},
                {"_target_": RATES + "ExponentialLR", "gamma": 0.5},
            ],
            milestones=[2],
        ),
    },
    "warm_up": {"scheduler": scheduler("MultiStepLR", milestones=[1, 2]), "warm_up_epochs": 2},
    "plateau": {"scheduler": scheduler("ReduceLROnPlateau", patience=0)},
    "float16": {"precision": "float16", "clip": 1.0, "optimizer": SGD},
    "all": {"ema": 0.9, "clip": 1.0, "keep": "best", "stop_after": 4, "precision": "bfloat16"},
}


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_done", [1, 3])
def test_a_training_that_was_killed_goes_on_to_the_bit(kind, n_done, make_toy_data, toy_network, tmp_path):
    data, model = make_toy_data(augment="crop_flip"), network(toy_network)
    options = TrainingOptions(epochs=5, lr=1e-2, batch_size=32, **KINDS[kind])
    whole, records = run(model, data, options)
    with pytest.raises(KeyboardInterrupt):
        run(model, data, options, checkpoint=Kept(tmp_path / "state", dies_after=n_done))
    torch.manual_seed(99)
    resumed, later = run(model, data, options, checkpoint=Kept(tmp_path / "state"))
    assert [record.epoch for record in later] == list(range(n_done + 1, 6))
    for one, other in zip(records[n_done:], later, strict=True):
        assert (one.loss, one.lr, one.n_epochs) == (other.loss, other.lr, other.n_epochs)
        assert torch.equal(one.counts["accuracy"], other.counts["accuracy"])
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@pytest.mark.parametrize("kind", ["default", "cosine", "sequential", "one_cycle"])
def test_the_first_resumed_steps_have_their_rates(kind, toy_data, toy_network, tmp_path, monkeypatch):
    """Making a scheduler sets the optimiser's rate: it is to be what it was, not what it is at the beginning."""
    rates = []
    monkeypatch.setattr(loop, "rate_of", lambda optimizer: rates.append(optimizer.param_groups[1]["lr"]) or rates[-1])
    options = TrainingOptions(epochs=4, lr=1e-2, batch_size=64, **KINDS[kind])
    run(toy_network(), toy_data, options)
    whole = rates.copy()
    with pytest.raises(KeyboardInterrupt):
        run(toy_network(), toy_data, options, checkpoint=Kept(tmp_path / "state", dies_after=2))
    rates.clear()
    run(toy_network(), toy_data, options, checkpoint=Kept(tmp_path / "state"))
    assert rates[:3] == whole[8:11]
    assert len(set(whole)) > 2


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("constraint", ["ramped", "quantized", "learned"])
def test_constraints_go_on_as_well(constraint, toy_data, toy_network, tmp_path):
    model = toy_network()
    weight = model[5].weight
    if constraint == "ramped":
        how = {"n_start": weight.numel(), "n_kept": weight.numel() // 4, "dims": (), "every": 3, "regrow": False}
        register(model[5], "weight", RampedMask(torch.ones_like(weight), ramp=0.4, **how))
    elif constraint == "learned":
        step = (weight.detach().abs().max() / 8).log()
        register(model[5], "weight", LearnedGrid(step, wanted_bits=100.0, coder="context"))
    else:
        register(model[5], "weight", UniformQuantizer(3, granularity="channel"))
    options = TrainingOptions(epochs=5, lr=1e-2, batch_size=32)
    whole, _ = run(model, toy_data, options)
    with pytest.raises(KeyboardInterrupt):
        run(model, toy_data, options, checkpoint=Kept(tmp_path / "state", dies_after=3))  # the mask is settled there
    resumed, _ = run(model, toy_data, options, checkpoint=Kept(tmp_path / "state"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_what_was_kept_of_another_training_is_refused(toy_data, toy_network, tmp_path):
    model, other = network(toy_network), toy_network()
    options = TrainingOptions(epochs=2, lr=1e-2)
    run(model, toy_data, options, checkpoint=Kept(tmp_path / "state"))
    with pytest.raises(ValueError, match=r"the training that was kept is of another network: \S+ is in one of them"):
        run(other, toy_data, options, checkpoint=Kept(tmp_path / "state"))
    with pytest.raises(ValueError, match="the training that was kept has no average"):
        run(model, toy_data, TrainingOptions(epochs=2, lr=1e-2, ema=0.9), checkpoint=Kept(tmp_path / "state"))
    state = unpack((tmp_path / "state").read_bytes())
    for name, spoiled, message in (("version", 0, "version 0"), ("torch_random", torch.zeros(3), "RNG state")):
        (tmp_path / "state").write_bytes(pack({**state, name: spoiled}))
        with pytest.raises((ValueError, TypeError), match=message):
            run(model, toy_data, options, checkpoint=Kept(tmp_path / "state"))


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_losses_are_scaled_in_float16_and_steps_that_overflow_are_left_out(device, clip, toy_data, toy_network):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    scales, model = [], toy_network()
    step = torch.amp.GradScaler.update

    def update(self, *args):
        step(self, *args)
        scales.append(self.get_scale())

    options = TrainingOptions(epochs=6, lr=1e-2, batch_size=32, precision="float16", clip=clip)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.amp.GradScaler, "update", update)
        fit(
            model,
            toy_data,
            options,
            side=8,
            generator=torch.Generator().manual_seed(0),
            device=torch.device(device),
            # Gradients of a loss that is so large overflow until its scale has come down.
            loss=lambda outputs, images, targets: 50 * TASK.loss(outputs, targets),
        )
    assert 0 < scales[-1] < 65536
    assert evaluate(model, toy_data, "test", task=TASK, side=8).quality > 0.9


def test_an_epochs_record_says_what_was_trained(toy_data, toy_network):
    _, records = run(toy_network(), toy_data, TrainingOptions(epochs=3, lr=1e-2, batch_size=32, stop_after=5))
    assert [(record.epoch, record.n_epochs) for record in records] == [(1, 3), (2, 3), (3, 3)]
    assert records[2].loss < records[0].loss
    correct, seen = records[2].counts["accuracy"][0].tolist()
    assert seen == 203
    assert correct > records[0].counts["accuracy"][0][0]
    assert 0 < records[2].lr < records[0].lr <= 1e-2
    assert records[2].validation.quality > 0.5
