"""What of training is named by a class: on the command line, in the plan, in the finetuning, and what is refused."""

from pathlib import Path

import pytest
import torch
import yaml

from effbench.config.command_line import read_command_line
from effbench.config.component_keys import HOMES, as_key, is_component_key
from effbench.config.members import members
from effbench.config.points import plan_of
from effbench.config.search_path import conf_folder
from effbench.config.training import named_components
from effbench.plan.components import TargetComponent

TINY = ["+prune=0.5", "train.epochs=2", "model=lenet_300_100"]
RATES = "torch.optim.lr_scheduler."


def stages(*arguments):
    """Return the stages of the pruned point by name."""
    plan = plan_of(read_command_line([*TINY, *arguments]))
    return {step.name: step.stage for step in plan.points[-1].chain.plain_steps}


def refusal(*arguments):
    with pytest.raises(ValueError) as refused:
        plan_of(read_command_line([*TINY, *arguments]))
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.extended
def test_labels_of_pixels_do_not_blend():
    with pytest.raises(ValueError, match=r"^train\.mixup=0\.2: must be null with task=segmentation"):
        plan_of(read_command_line(["task=segmentation", "+prune=0.5", "train.mixup=0.2"]))


def key(*arguments):
    return plan_of(read_command_line([*TINY, *arguments])).sweep_id


SAME = [
    ("train.optimizer=sgd", "train/optimizer=sgd", "train.optimizer={_target_: torch.optim.SGD, momentum: 0.9}"),
    ("train.optimizer=SGD", "train.optimizer._target_=torch.optim.SGD"),
]


@pytest.mark.extended
@pytest.mark.parametrize("ways", SAME, ids=lambda ways: ways[0])
def test_a_class_can_be_named_in_several_ways(ways):
    assert len({key(way) for way in ways}) == 1


@pytest.mark.extended
def test_its_options_are_given_one_by_one_and_those_of_another_class_go():
    train = stages("train=sgd_cosine", "train.optimizer.momentum=0.8")["train"]
    assert train.optimizer.options == {"momentum": 0.8, "nesterov": True}
    other = stages("train=sgd_cosine", "train.optimizer=adamw", "train.optimizer.amsgrad=true")["train"]
    assert (other.optimizer.target, dict(other.optimizer.options)) == ("torch.optim.AdamW", {"amsgrad": True})
    assert other.scheduler.target == f"{RATES}CosineAnnealingLR"
    plain = stages("train=sgd_cosine", "train.optimizer=null", "train.scheduler=null")["train"]
    assert plain.optimizer is None and plain.scheduler is None


@pytest.mark.extended
def test_finetuning_is_as_the_training_unless_it_is_told_otherwise():
    given = [
        "train.optimizer=sgd",
        "train.clip=1.0",
        "train.ema=0.9",
        "train.label_smoothing=0.1",
        "train.batch_size=32",
    ]
    found = stages(*given)
    assert found["finetune"].optimizer == found["train"].optimizer is not None
    for name in ("clip", "ema", "label_smoothing", "batch_size", "weight_decay"):
        assert getattr(found["finetune"], name) == getattr(found["train"], name)
    other = stages(*given, "finetune.optimizer=null", "finetune.clip=null", "finetune.batch_size=16")["finetune"]
    assert (other.optimizer, other.clip, other.batch_size, other.ema) == (None, None, 16, 0.9)
    one = stages(*given, "finetune.optimizer.momentum=0.5")
    assert (one["train"].optimizer.options["momentum"], one["finetune"].optimizer.options["momentum"]) == (0.9, 0.5)
    assert stages("train.warm_up_epochs=2")["finetune"].warm_up_epochs is None


def test_what_is_logged_names_the_class():
    plan = plan_of(read_command_line([*TINY, "train.optimizer=sgd", "train.augment=[RandomVerticalFlip]"]))
    config = plan.points[-1].config
    assert config["train"]["optimizer"] == config["finetune"]["optimizer"] == "torch.optim.SGD(momentum=0.9)"
    assert "RandomVerticalFlip()" in config["stage"]["train"]["augmentation"]
    assert config["train"]["scheduler"] is None


def test_several_multiply_the_runs():
    plan = plan_of(read_command_line([*TINY, "train.optimizer=sgd,adam"]))
    assert len(plan.points) == 4
    assert {point.swept["train.optimizer"] for point in plan.points} == {"sgd", "adam"}


def test_a_list_of_transforms_is_one_after_the_other():
    augmentation = stages(
        "train.augment=[RandomHorizontalFlip,{_target_: torchvision.transforms.v2.RandomErasing, p: 0.2}]"
    )["train"].augmentation
    assert [part.target.rpartition(".")[2] for part in augmentation.options["transforms"]] == [
        "RandomHorizontalFlip",
        "RandomErasing",
    ]


@pytest.mark.extended
def test_early_training_and_lessons_have_them_as_well():
    recipe = ["recipe=lottery_ticket", "recipe.steps=[early,train,[prune,rewind,train]]", "stage.rewind.to=early"]
    assert (
        stages(*recipe, "train.optimizer=sgd", "train.warm_up_epochs=2")["early"].optimizer.target == "torch.optim.SGD"
    )
    plan = plan_of(read_command_line(["+alpha=0.5", "+distill=0.9", "recipe=distill", "train.optimizer=sgd"]))
    assert any(getattr(s.stage, "weight", None) and s.stage.optimizer for p in plan.points for s in p.chain.plain_steps)


REFUSED = [
    (["train.optimizer=sgdd"], "train.optimizer=sgdd: there is no such optimizer; did you mean sgd?"),
    (["train.optimizer=torch.optim.No"], "train.optimizer._target_=torch.optim.No: can't be imported"),
    (
        ["train.optimizer.momentum=0.9"],
        "train.optimizer.momentum=0.9: give train.optimizer as well, as in train.optimizer=adam",
    ),
    (
        ["train.optimizer=sgd", "train.optimizer.momentun=1"],
        "train.optimizer: torch.optim.SGD: takes no option 'momentun'",
    ),
    (["train.optimizer=sgd", "train.optimizer.lr=1"], "train.optimizer.lr=1: is given as train.lr and finetune.lr"),
    (["finetune.optimizer=LBFGS", "finetune.weight_decay=0"], "finetune.optimizer: torch.optim.LBFGS: TypeError"),
    (["train.scheduler=StepLR"], "train.scheduler: torch.optim.lr_scheduler.StepLR: step_size must be given"),
    (["train.loss=CTCLoss"], "train.loss: torch.nn.CTCLoss: takes neither classes nor a 1 for each"),
    (["train.augment=[RandomHorizontalFlip,Nothing]"], "train.augment=Nothing: there is no such augment"),
    (["train.precision=float16", "device=cpu"], "train.precision=float16: is for GPUs, and device=cpu is the CPU here"),
    (["stage.train.optimizer=nothing"], "stage.train.optimizer=nothing: there is no such optimizer"),
    (["stage.nothing.optimizer=sgd"], "stage.nothing.optimizer: there is no such key"),
]


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize(
    ("arguments", "message"), REFUSED, ids=lambda value: value[0] if isinstance(value, list) else ""
)
def test_what_cannot_be_trained_with_is_refused_before_anything_starts(arguments, message):
    assert refusal(*arguments).startswith(message)


@pytest.mark.parametrize("group", HOMES)
def test_every_short_name_says_where_it_is_from_and_can_be_made(group):
    for name, node in members(group).items():
        text = (conf_folder() / group / f"{name}.yaml").read_text()
        assert text.startswith("# "), name
        component = TargetComponent.read(node)
        made_for = {
            "optimizer": lambda c: c.build(("params", [torch.nn.Parameter(torch.ones(2))])),
            "scheduler": lambda c: c.build(
                ("optimizer", torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], momentum=0.9)),
                T_max=5,
                max_lr=0.1,
                total_steps=5,
            ),
            "loss": lambda c: c.build(),
            "augment": lambda c: c.build(within=True, size=[8, 8]),
        }
        made_for[group](component)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("preset", sorted(path.stem for path in (conf_folder() / "train").glob("*.yaml")))
def test_every_preset_is_a_training_that_says_its_source(preset):
    text = (Path(conf_folder()) / "train" / f"{preset}.yaml").read_text()
    assert preset == "default" or ("arXiv:" in text or "https://" in text)
    assert yaml.safe_load(text).get("defaults", ["default"])[0] == "default"
    train = stages(f"train={preset}")["train"]
    expected = {
        "default": (3e-3, None, 0.01),
        "sgd_cosine": (0.1, "torch.optim.SGD", 5e-4),
        "adamw": (1e-3, "torch.optim.AdamW", 0.05),
        "small_vit": (3e-3, "torch.optim.AdamW", 0.05),
        "torchvision_classic": (0.1, "torch.optim.SGD", 1e-4),
    }
    assert (train.lr, train.optimizer and train.optimizer.target, train.weight_decay) == expected[preset]


def test_numbers_of_a_users_yaml_are_those_of_a_command_line():
    node = {"train": {"optimizer": "mine"}, "finetune": {"optimizer": "${train.optimizer}"}, "stage": {}}
    mine = {"_target_": "torch.optim.Adam", "eps": "1e-6", "betas": ["9e-1", 0.999], "name": "a"}
    named = named_components(node, lambda group: {"mine": mine} if group == "optimizer" else {})
    assert named["train"]["optimizer"] == {**mine, "eps": 1e-6, "betas": [0.9, 0.999]}
    assert named["finetune"]["optimizer"] == "${train.optimizer}"


def test_keys_are_told_from_others():
    assert is_component_key("train.optimizer") and is_component_key("stage.early.augmentation.transforms")
    assert not is_component_key("train.optimizers") and not is_component_key("stage.distill.augment")
    assert (as_key("train/optimizer"), as_key("hydra/launcher"), as_key("train.lr")) == (
        "train.optimizer",
        "hydra/launcher",
        "train.lr",
    )
