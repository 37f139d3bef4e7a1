"""Data and network tried out before anything starts: what fails is the user's, and is told in a line."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from effbench.config import teachers, trial
from effbench.config.members import members
from effbench.config.read import read_sweep
from effbench.config.trial import check_shapes, read_data
from effbench.measure.size import float32_bytes
from effbench.models import lenet_300_100
from effbench.plan.blueprint import Blueprint

DIGITS = Blueprint("effbench.data.digits.digits", {"side": 28})
FOLDER = "effbench.data.image_folder.image_folder"
TASK = Blueprint("effbench.tasks.classification.Classification")


def raises_value(*, num_classes=10):
    raise ValueError("num_classes: too many\nof them")


def raises_key():
    raise KeyError("lost")


def grouped():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 28 - 2, groups=2), nn.Flatten(), nn.Linear(4, 10))


def of_seven_classes():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 7))


class InTraining(nn.Module):
    """A network that gives something else in training than in evaluation."""

    def __init__(self, give):
        super().__init__()
        self.linear, self.give = nn.Linear(784, 10), give

    def forward(self, x):
        scores = self.linear(x.flatten(1))
        return self.give(scores) if self.training else scores


def auxiliary_tuple():
    return InTraining(lambda scores: (scores, scores))


def auxiliary_dict():
    return InTraining(lambda scores: {"out": scores, "aux": scores})


def without_gradient():
    return InTraining(torch.Tensor.detach)


def not_trained():
    return InTraining(lambda scores: 1 / 0)


def of_any_keyword(**options):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, options.get("num_classes", 1000)))


def random_inside():
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))


def broken_data():
    return 1 / 0


def pairs(in_memory=None):
    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 2
    return (images, labels), (images + 1, labels)


def gives_text():
    return "a network"


@pytest.fixture(autouse=True)
def users(monkeypatch):
    """Let the functions above be importable, and nothing be remembered of them."""
    named = ["raises_value", "raises_key", "grouped", "of_seven_classes", "random_inside", "broken_data"]
    named += [
        "auxiliary_tuple",
        "auxiliary_dict",
        "without_gradient",
        "not_trained",
        "of_any_keyword",
        "gives_text",
        "pairs",
    ]
    monkeypatch.setitem(sys.modules, "users_things", SimpleNamespace(**{name: globals()[name] for name in named}))
    trial._try_out.cache_clear()
    yield
    trial._try_out.cache_clear()


def try_out(name, side=28, eval_side=28, *, where="reference"):
    return check_shapes(Blueprint(name), TASK, DIGITS, side, eval_side, where=where)


def test_what_is_known_of_a_network_that_runs():
    found = try_out("effbench.models.lenet_300_100")
    assert found.float32_bytes == float32_bytes(lenet_300_100())
    assert not found.is_grouped
    network = dict(lenet_300_100().named_modules())
    assert found.layers == tuple(name for name, module in network.items() if isinstance(module, nn.Linear))
    assert try_out("users_things.grouped").is_grouped


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("users_things.raises_value", r"^num_classes: too many"),
        (
            "users_things.raises_key",
            r"^users_things\.raises_key can't be built: KeyError: 'lost' \(test_trial\.py, line 2",
        ),
        (
            "users_things.of_seven_classes",
            r"^users_things\.of_seven_classes must give \(1, 10\) scores for one image, but",
        ),
        ("os.getcwd", r"^_target_=os\.getcwd: is a part of Python itself"),
        ("users_things.gives_text", r"^model\._target_=users_things\.gives_text: gives a str"),
    ],
)
def test_a_network_that_can_not_be_is_named_with_why(name, message):
    with pytest.raises(ValueError, match=message):
        try_out(name)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("auxiliary_tuple", r"in training must give \(1, 10\) scores for one image, but gives a tuple; leave out aux"),
        ("auxiliary_dict", r"in training must give \(1, 10\) scores for one image, but gives a dict; leave out aux"),
        ("without_gradient", r"can't be trained: RuntimeError: element 0 of tensors does not require grad"),
        ("not_trained", r"can't be trained: ZeroDivisionError: .*\(test_trial\.py, line \d+\)$"),
    ],
)
def test_a_network_that_can_not_be_trained_is_refused_where_it_is_to_be(name, message):
    target = f"users_things.{name}"
    assert try_out(target).training_problem
    with pytest.raises(ValueError, match=rf"^users_things\.{name} {message}"):
        read_sweep([f"model._target_={target}", "prune=0.5"])
    read_sweep([f"model._target_={target}", "prune=0.5", "train.epochs=0", "finetune.epochs=0"])


def test_a_teacher_that_can_not_be_trained_is_named(monkeypatch):
    def with_another(group):
        return {**members(group), "odd": {"_target_": "users_things.auxiliary_tuple"}} if group == "model" else {}

    monkeypatch.setattr(teachers, "members", with_another)
    with pytest.raises(
        ValueError, match=r"^stage\.distill\.teacher=odd: users_things\.auxiliary_tuple in training must"
    ):
        read_sweep(["+distill=0.5", "stage.distill.teacher=odd"])


def test_a_factory_of_any_keyword_is_told_how_to_get_its_classes():
    with pytest.raises(ValueError, match=r"it takes any keyword: .* as in \+model\.num_classes=10$"):
        try_out("users_things.of_any_keyword")
    read_sweep(["model._target_=users_things.of_any_keyword", "+model.num_classes=10", "prune=0.5"])


def test_both_sides_are_tried_and_the_point_is_named():
    try_out("users_things.of_seven_classes".replace("of_seven_classes", "random_inside"))
    with pytest.raises(ValueError, match=r"^rho_eval=0\.5: users_things\.random_inside can't take images of 14 x 14: "):
        try_out("users_things.random_inside", eval_side=14, where="rho_eval=0.5")
    with pytest.raises(ValueError, match=r"^users_things\.random_inside can't take images of 14 x 14: "):
        try_out("users_things.random_inside", side=14)


def test_trying_draws_nothing_from_the_global_generator_and_is_done_once(monkeypatch):
    built = []
    build = trial.build_network
    monkeypatch.setattr(trial, "build_network", lambda *a: built.append(a) or build(*a))
    before = torch.get_rng_state()
    for _ in range(3):
        try_out("effbench.models.lenet_5")
    assert len(built) == 1
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (DIGITS.target, {"side": "abc"}, r"^data\.side=abc: must be a whole number, 1 or more$"),
        (DIGITS.target, {"side": 0}, r"^data\.side=0: must be a whole number, 1 or more$"),
        (DIGITS.target, {"split_seed": True}, r"^data\.split_seed=true: must be a whole number, 0 or more$"),
        (DIGITS.target, {"root": "x"}, r"^data: effbench\.data\.digits\.digits takes no option 'root'"),
        (DIGITS.target, {"augment": "warp"}, r"^data\.augment=warp: must be none"),
        (
            FOLDER,
            {"root": "x", "n_workers": 1},
            r"^data\.n_workers: there is no such key any more; give data\.workers$",
        ),
        (
            FOLDER,
            {"root": "x", "in_memory": True},
            r"^data\.in_memory: there is no such key any more; give data\.resize_once=",
        ),
        (FOLDER, {"root": "x", "cache": "ram"}, r"^data\.cache=ram: must be memory, disk or none"),
        ("users_things.gives_text", {}, r"^data: what is given \(str\) holds no splits; give \(train, val, test\)"),
        ("users_things.pairs", {"side": -1}, r"^data\.side=-1: must be a whole number"),
        ("users_things.pairs", {"workers": 1.5}, r"^data\.workers=1\.5: must be a whole number of processes"),
        ("nowhere.data", {}, r"^data: _target_=nowhere\.data: can't be imported"),
        (
            "users_things.broken_data",
            {},
            r"^data: users_things\.broken_data can't be loaded: ZeroDivisionError: .* line \d+",
        ),
    ],
)
def test_data_that_can_not_be_are_named_with_why(target, options, message):
    with pytest.raises(ValueError, match=message) as refusal:
        read_data(Blueprint(target, options))
    assert len(str(refusal.value).splitlines()) == 1


def test_users_data_may_leave_their_side_open_and_have_options_of_any_name():
    assert read_data(Blueprint("users_things.pairs", {"side": None, "in_memory": True})).side == 4
