"""What stages that train have in common: options by name, their key, what they refuse, what the run says."""

import pytest
import torch

from effbench.compression.structure.held_masks import masked_after_steps
from effbench.plan.components import TargetComponent
from effbench.plan.teacher import Teacher
from effbench.stages.distill import Distill
from effbench.stages.prune import Prune
from effbench.stages.train import Train
from effbench.tasks.classification import Classification

SGD = {"_target_": "torch.optim.SGD", "momentum": 0.9}
V2 = "torchvision.transforms.v2."
SHAPES = {(4, 4), (4,)}


def check(stage, data):
    stage.check_training(Classification(), data, side=data.side, shapes=SHAPES)


def test_the_key_of_a_training_without_them_is_as_it_was():
    assert Train(epochs=3, lr=0.1).identity() == {"stage": "Train", "version": 3, "fields": {"epochs": 3, "lr": 0.1}}


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": SGD},
        {"optimizer": "torch.optim.SGD"},
        {"scheduler": {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 2}},
        {"loss": "torch.nn.MultiMarginLoss"},
        {"augmentation": f"{V2}RandAugment"},
        {"augmentation": [f"{V2}RandAugment", {"_target_": f"{V2}RandomErasing", "p": 0.2}]},
        {"decay_norms": True},
        {"warm_up_epochs": 1},
        {"label_smoothing": 0.1},
        {"mixup": 0.2},
        {"cutmix": 0.2},
        {"clip": 1.0},
        {"ema": 0.9},
        {"stop_after": 3},
        {"keep": "best"},
        {"precision": "float16"},
    ],
)
def test_each_option_is_part_of_the_key(options, toy_data):
    stage, plain = Train(epochs=3, lr=0.1, weight_decay=0.0, **options), Train(epochs=3, lr=0.1, weight_decay=0.0)
    assert stage.identity() != plain.identity()
    assert stage.identity() == stage.with_training(epochs=3).identity()
    check(stage, toy_data)


def test_the_order_of_options_is_no_part_of_it_a_users_code_is(tmp_path, monkeypatch):
    one, other = {"_target_": "torch.optim.SGD", "momentum": 0.9, "nesterov": True}, {}
    other |= {"nesterov": True, "momentum": 0.9, "_target_": "torch.optim.SGD"}
    assert Train(epochs=1, lr=1, optimizer=one).identity() == Train(epochs=1, lr=1, optimizer=other).identity()
    (tmp_path / "users_recipe.py").write_text("from torch.optim import SGD\n\nclass Mine(SGD):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = Train(epochs=1, lr=1.0, optimizer="users_recipe.Mine").identity()["fields"]["optimizer"]
    assert (own["module"], own["name"]) == ("users_recipe", "Mine")
    (tmp_path / "users_recipe.py").write_text("from torch.optim import SGD\n\nclass Mine(SGD):\n    more = 1\n")
    again = Train(epochs=1, lr=1.0, optimizer="users_recipe.Mine").identity()["fields"]["optimizer"]
    assert again["sources"] != own["sources"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": 3}, "optimizer=3: must be a dotted name"),
        ({"augmentation": ["RandAugment"]}, "augmentation._target_=RandAugment: must be a dotted name"),
        ({"augmentation": []}, "augmentation=[]: must be null, or name at least one transform"),
        ({"loss": {"weight": [1]}}, "loss._target_: must be given"),
        ({"scheduler": "torch.optim.lr_scheduler.No"}, "scheduler._target_=torch.optim.lr_scheduler.No: can't be"),
    ],
)
def test_what_names_nothing_is_refused_as_the_stage_is_made(options, message):
    with pytest.raises(ValueError) as refusal:
        Train(epochs=1, lr=0.1, **options)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmentation": f"{V2}RandAugment", "pool": 2}, "pool=2: must be 0 with train.augment"),
        ({"mixup": 0.2, "loss": "torch.nn.MultiMarginLoss"}, "loss: torch.nn.MultiMarginLoss: takes no probabilities"),
    ],
)
def test_what_a_teachers_labels_do_not_go_with_is_refused(options, message, toy_data):
    stage = Distill(epochs=2, lr=0.1, weight=0.5, **options)
    with pytest.raises(ValueError, match=f"^{message}"):
        check(stage, toy_data)
    del options["pool" if "pool" in options else "loss"]
    check(Distill(epochs=2, lr=0.1, weight=0.5, **options), toy_data)


def test_the_run_says_when_it_ended(toy_data, toy_network, make_context):
    context = make_context(toy_data, step="train")
    trained = Train(epochs=30, lr=0.02, stop_after=2, keep="best").apply(toy_network(), context)
    findings = context.findings
    assert findings.words["stopped_by/train"] == "stop_after"
    assert findings.metrics["epochs_done/train"] == findings.metrics["best_epoch/train"] + 2 < 30
    assert context.evaluate(trained) > 0.9
    plain = make_context(toy_data)
    Train(epochs=1, lr=0.02).apply(toy_network(), plain)
    assert not plain.findings.metrics and not plain.findings.words


RECIPE = {
    "optimizer": SGD,
    "scheduler": "torch.optim.lr_scheduler.CosineAnnealingLR",
    "clip": 1.0,
    "ema": 0.8,
    "label_smoothing": 0.1,
    "keep": "best",
    "augmentation": {"_target_": f"{V2}RandomCrop", "padding": 1},
    "warm_up_epochs": 2,
}


@pytest.mark.parametrize("mixing", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_blended_images_have_blended_lessons(mixing, toy_data, toy_network, make_context):
    teacher = Train(epochs=4, lr=1e-2).apply(toy_network(seed=7), make_context(toy_data))
    context = make_context(
        toy_data, teacher=Teacher(key="t", side=8, network=lambda: teacher, keep=lambda n, make: make())
    )
    options = {"epochs": 6, "lr": 1e-2, "batch_size": 32, "weight": 0.8, "hints": "0:0"}
    blended = Distill(**options, **mixing).apply(toy_network(), context)
    assert not torch.equal(blended[5].weight, Distill(**options).apply(toy_network(), context)[5].weight)
    assert context.evaluate(blended) > 0.9


@pytest.mark.extended
@pytest.mark.parametrize("hints", ["none", "0:0"])
def test_a_lesson_takes_the_same_options_and_masks_hold(hints, toy_data, toy_network, make_context):
    pruned = Prune(ratio=0.6).apply(toy_network(), make_context(toy_data))
    stage = Distill(epochs=4, lr=0.05, batch_size=32, weight=0.5, hints=hints, **RECIPE)
    check(stage, toy_data)
    one, again = (stage.apply(pruned, make_context(toy_data)) for _ in range(2))
    plain = Distill(epochs=4, lr=0.05, batch_size=32, weight=0.5, hints=hints).apply(pruned, make_context(toy_data))
    for before, after in ((pruned[0], one[0]), (pruned[5], one[5])):
        assert torch.equal(before.weight == 0, after.weight == 0)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in one.state_dict().items())
    assert not torch.equal(one[5].weight, plain[5].weight)
    with masked_after_steps(one):  # what is behind the masks is no concern of the average's
        assert all(torch.isfinite(parameter).all() for parameter in one.parameters())


def test_it_comes_back_from_its_options(toy_data):
    stage = Train(epochs=2, lr=0.1, **RECIPE)
    assert stage.training_options.optimizer == TargetComponent.read(SGD)
    assert Train(**{**vars(stage.training_options)}).identity() == stage.identity()
