"""Training with layers that stay as they are: which ones, their gradients, their norms, and what is refused."""

import re

import pytest
import torch
from torch import nn

from effbench.compression.constraints.masks import Mask
from effbench.training.freezing import BACKBONE, as_patterns, check_freeze, classifier_of, frozen
from effbench.training.loop import TrainingOptions, fit


class Network(nn.Module):
    """Convolutions with norms, a table of its own, dropout, and a classifier."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        )
        self.table = nn.Parameter(torch.zeros(4, 1, 1))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 4)

    def forward(self, images):
        return self.head(self.dropout((self.features(images) + self.table).mean((2, 3))))


def made():
    torch.manual_seed(0)
    return Network()


def trained(data, freeze, threads=1, **options):
    model = made()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.set_num_threads(threads)
    fit(
        model,
        data,
        TrainingOptions(epochs=1, lr=0.1, batch_size=16, freeze=freeze, **options),
        side=8,
        generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
        loss=lambda outputs, images, targets: nn.functional.cross_entropy(outputs, targets),
    )
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    return model, moved


HEAD = {"head.weight", "head.bias"}
FIRST = {"features.0.weight", "features.1.weight", "features.1.bias"}
FIRST_NORM = {"features.1.running_mean", "features.1.running_var", "features.1.num_batches_tracked"}
SECOND = {"features.3.weight", "features.3.bias", "features.4.weight", "features.4.bias"}
SECOND_NORM = {name.replace("1.", "4.", 1) for name in FIRST_NORM}
EVERYTHING = HEAD | FIRST | FIRST_NORM | SECOND | SECOND_NORM | {"table"}


@pytest.mark.matrix(fast=12)
@pytest.mark.parametrize(
    ("freeze", "moves"),
    [
        (None, EVERYTHING),
        ([], EVERYTHING),
        (BACKBONE, HEAD),
        ([BACKBONE], HEAD),
        ("features", HEAD | {"table"}),
        ("features.*", HEAD | {"table"}),
        (["features.[01]", "table"], EVERYTHING - FIRST - FIRST_NORM - {"table"}),
        ("*.1", EVERYTHING - {n for n in FIRST | FIRST_NORM if n.startswith("features.1")}),
        ("head", EVERYTHING - HEAD),
    ],
)
@pytest.mark.parametrize("options", [{}, {"layout": "contiguous", "ema": 0.5, "clip": 1.0}, {"keep": "best"}])
def test_what_is_frozen_keeps_every_bit_and_all_else_is_trained(toy_data, freeze, moves, options):
    model, moved = trained(toy_data, freeze, **options)
    assert moved - FIRST - SECOND == moves - FIRST - SECOND
    assert {name for name in moved if name in FIRST | SECOND} <= moves
    assert moved & FIRST or not moves & FIRST
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_frozen_modules_are_in_evaluation_mode_and_draw_nothing():
    model = made().train()
    with frozen(model, BACKBONE):
        assert {name for name, module in model.named_modules() if module.training} == {"head"}
        assert {name for name, p in model.named_parameters() if p.requires_grad} == HEAD
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_parameter_that_was_not_trained_before_is_not_trained_after():
    model = made()
    model.features[0].weight.requires_grad_(False)
    with frozen(model, "features"):
        pass
    assert not model.features[0].weight.requires_grad
    assert model.features[3].weight.requires_grad


@pytest.mark.parametrize("freeze", [BACKBONE, ["features.0.weight"], ["features.0"], ["*.0.weight"]])
def test_a_masked_weight_that_is_frozen_stays_as_it_is(toy_data, freeze):
    model = made()
    mask = torch.ones(4, 1, 3, 3, dtype=torch.bool)
    mask[0] = False
    nn.utils.parametrize.register_parametrization(model.features[0], "weight", Mask(mask))
    before = model.features[0].weight.clone()
    fit(
        model,
        toy_data,
        TrainingOptions(epochs=1, lr=0.1, batch_size=16, freeze=freeze),
        side=8,
        generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
        loss=lambda outputs, images, targets: nn.functional.cross_entropy(outputs, targets),
    )
    assert torch.equal(model.features[0].weight, before)


def test_the_classifier_is_the_last_layer_with_weights():
    assert classifier_of(made()) == "head"
    assert classifier_of(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())) == "0"
    assert classifier_of(nn.ReLU()) == ""


def test_what_meets_nothing_or_leaves_nothing_is_refused():
    model = made()
    parameters = [name for name, _ in model.named_parameters()]
    for good in (["features.*"], ["table"], [BACKBONE], ["*.1"], ["features", "table"]):
        check_freeze(good, parameters, "head")
    for wrong in ("feature", "dropout", "features.2", "head.*.weight"):  # modules without parameters among them
        with pytest.raises(ValueError, match=rf"^freeze: {re.escape(wrong)} meets nothing that is trained; must"):
            check_freeze([wrong], parameters, "head")
    for all_of_it in (["*"], [BACKBONE, "head"], ["features", "table", "head.*"]):
        with pytest.raises(ValueError, match="leaves nothing to train"):
            check_freeze(all_of_it, parameters, "head")
    assert [as_patterns(freeze) for freeze in (None, "a", ["a", "b"])] == [(), ("a",), ("a", "b")]
