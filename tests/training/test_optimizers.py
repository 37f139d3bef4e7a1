"""The optimiser of a training: torch's own bits, masks under any of them, and what is refused beforehand."""

import copy
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effbench.compression.constraints.learned_grid import LearnedGrid
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import bake, register
from effbench.compression.structure.held_masks import HeldMasks
from effbench.plan.components import TargetComponent
from effbench.training import loop
from effbench.training.loop import TrainingOptions, fit
from effbench.training.optimizers import check_optimizer, make_optimizer, parameter_groups

CPU = torch.device("cpu")
MASKED = ("SGD", "NAdam", "RMSprop", "Adagrad", "Adafactor", "ASGD", "Rprop")


def optimizer(name, **options):
    return TargetComponent.read({"_target_": f"torch.optim.{name}", **options})


def options(component, **others):
    return TrainingOptions(**{"epochs": 2, "lr": 0.01, "batch_size": 32, "optimizer": component, **others})


@contextmanager
def in_every_pass(model):
    yield HeldMasks()


def train(model, data, how):
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    loss = lambda outputs, images, targets: F.cross_entropy(outputs, targets)  # noqa: E731
    fit(model, data, how, side=data.side, generator=generator, device=CPU, loss=loss)
    return model


@pytest.mark.parametrize("decay_norms", [False, True])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_class_of_torchs_gives_the_bits_of_a_loop_that_is_written_out(toy_data, decay_norms, clip):
    rates = {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR"}
    how = options(
        optimizer("AdamW", betas=[0.8, 0.99]),
        weight_decay=0.1,
        layout="contiguous",
        scheduler=TargetComponent.read(rates),
        decay_norms=decay_norms,
        clip=clip,
    )
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 4))
    trained = train(model, toy_data, how)

    model.train()
    decayed, others = ([p for p in model.parameters() if (p.ndim >= 2) is is_matrix] for is_matrix in (True, False))
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.1 if decay_norms else 0.0}]
    plain = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.99), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(plain, T_max=2)
    generator = torch.Generator().manual_seed(0)
    torch.randint(2**62, (), generator=generator)
    for _ in range(2):
        for images, labels in toy_data.batches("train", side=8, batch_size=32, generator=generator):
            loss = F.cross_entropy(model(images), labels)
            plain.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_([*decayed, *others], clip)
            plain.step()
        schedule.step()
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in trained.state_dict().items())


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("clip", [None, 0.1])
def test_masks_hold_and_what_is_masked_has_no_say(name, clip, toy_data, toy_network, monkeypatch):
    def masked():
        model = toy_network()
        generator = torch.Generator().manual_seed(0)
        for layer in (model[0], model[5]):
            mask = torch.rand(layer.weight.shape, generator=generator) < 0.4
            layer.weight.data *= mask  # so that behind it there is the same either way
            register(layer, "weight", Mask(mask))
        return model

    decay = {"weight_decay": 0.0} if name == "Rprop" else {}
    how = options(optimizer(name), clip=clip, **decay)
    quick = train(masked(), toy_data, how)
    for layer in (quick[0], quick[5]):
        mask = layer.parametrizations.weight[0].mask
        assert torch.equal(layer.weight == 0, ~mask)
    monkeypatch.setattr(loop, "masked_after_steps", in_every_pass)
    expected = bake(train(masked(), toy_data, how)).state_dict()
    for key, value in bake(quick).state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-4)


def test_norms_and_biases_decay_only_when_they_are_asked_to(toy_network):
    model = toy_network()
    for decay_norms, expected in ((False, [0.1, 0.0]), (True, [0.1, 0.1])):
        groups = parameter_groups(model.parameters(), options(None, weight_decay=0.1, decay_norms=decay_norms))
        assert [group["weight_decay"] for group in groups] == expected
        assert {p.ndim for p in groups[1]["params"]} == {1}


REFUSED = [
    ("SGD", {"momentum": -1}, {}, "optimizer: torch.optim.SGD: Invalid momentum value: -1"),
    ("SGD", {"momentun": 1}, {}, "optimizer: torch.optim.SGD: takes no option 'momentun'; its options: "),
    ("SGD", {"lr": 0.1}, {}, "optimizer.lr=0.1: is given as train.lr and finetune.lr"),
    ("SGD", {"weight_decay": 0.1}, {}, "optimizer.weight_decay=0.1: is given as train.weight_decay"),
    ("SGD", {"nesterov": True}, {}, "optimizer: torch.optim.SGD: Nesterov momentum requires a momentum"),
    ("LBFGS", {}, {"weight_decay": 0}, "optimizer: torch.optim.LBFGS: TypeError: "),
    ("SparseAdam", {}, {"weight_decay": 0}, "optimizer: torch.optim.SparseAdam: RuntimeError: "),
    ("Rprop", {}, {}, "optimizer: torch.optim.Rprop has no weight decay, so weight_decay=0.01 must be 0"),
    ("Muon", {}, {}, "optimizer: torch.optim.Muon: Muon only supports 2D parameters"),
    ("lr_scheduler.StepLR", {}, {}, "optimizer._target_=torch.optim.lr_scheduler.StepLR: must be a class derived from"),
]


@pytest.mark.parametrize(("name", "given", "others", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_train_the_network_is_refused(name, given, others, message):
    if not hasattr(torch.optim, name.partition(".")[0]):
        pytest.skip("this version of torch has it not")
    with pytest.raises(ValueError) as refusal:
        check_optimizer(options(optimizer(name, **given), **others), {(4, 1, 3, 3), (4,)})
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)
    assert ("closure" in str(refusal.value)) == (name == "LBFGS")


def test_steps_of_learned_grids_never_decay():
    layer = nn.Linear(3, 3)
    register(layer, "weight", LearnedGrid(torch.tensor(-2.0), wanted_bits=1.0, coder="context"))
    optimizer = make_optimizer(layer, TrainingOptions(epochs=1, lr=1e-3, weight_decay=0.1, decay_norms=True))
    position = layer.parametrizations.weight[0].position
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays[id(position)] == 0
    assert sorted(decays.values()) == [0, 0.1, 0.1]
