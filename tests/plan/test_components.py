"""What is taken from elsewhere by its dotted name: read, refused, built, and known again."""

import pickle

import pytest
import torch
from torch import nn

from effbench.plan.components import TargetComponent, components_in

SGD = {"_target_": "torch.optim.SGD", "momentum": 0.9, "nesterov": True}
V2 = "torchvision.transforms.v2."


def parameters():
    return [nn.Parameter(torch.ones(2, 2))]


def test_is_built_on_its_subject_with_its_options_and_what_is_offered_where_it_has_none():
    optimizer = TargetComponent.read(SGD).build(("params", parameters()), lr=0.5, nothing=3)
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    # What has a default of the class's own is not offered to it.
    assert (group["momentum"], group["nesterov"], group["lr"]) == (0.9, True, 1e-3)


def test_the_subject_is_the_first_argument_whatever_it_is_called_and_parts_get_it_too():
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    rates = "torch.optim.lr_scheduler."
    parts = [{"_target_": f"{rates}ConstantLR"}, {"_target_": f"{rates}ExponentialLR", "gamma": 0.5}]
    for name in ("SequentialLR", "ChainedScheduler"):  # the latter's first argument is no optimiser
        more = {"milestones": [1]} if name == "SequentialLR" else {}
        node = {"_target_": rates + name, "schedulers": parts, **more}
        schedule = TargetComponent.read(node).build(("optimizer", optimizer))
        assert [type(part).__name__ for part in schedule._schedulers] == ["ConstantLR", "ExponentialLR"]


def test_what_is_needed_is_filled_in_within_as_well():
    crop = {"_target_": f"{V2}RandomCrop", "padding": 2}
    node = {"_target_": f"{V2}RandomApply", "transforms": [crop], "p": 1.0}
    transform = TargetComponent.read(node).build(within=True, size=[8, 8])
    assert transform(torch.zeros(1, 8, 8)).shape == (1, 8, 8)
    with pytest.raises(ValueError, match="RandomCrop: size must be given"):
        TargetComponent.read(node).build(size=[8, 8])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentun": 0.9}, "takes no option 'momentun'; its options: dampening"),
        ({"nesterov": "maybe"}, "nesterov=maybe: must be true or false"),
        ({"nesterov": 1}, "nesterov=1: must be true or false"),
        ({"momentum": "much"}, "momentum=much: must be a number"),
        ({"fused": "yes"}, "fused=yes: must be true, false or null"),
    ],
)
def test_options_of_the_wrong_kind_are_named(options, message):
    component = TargetComponent.read({"_target_": "torch.optim.SGD", **options})
    with pytest.raises(ValueError, match=message):
        component.build(("params", parameters()))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (3, "=3: must be a dotted name, or a mapping with a _target_ and its options"),
        ({"momentum": 0.9}, "._target_: must be given"),
        ({"_target_": "SGD"}, "._target_=SGD: must be a dotted name"),
        ({"_target_": "torch.optim.SGDD"}, "._target_=torch.optim.SGDD: can't be imported"),
        ({"_target_": "os.system"}, "._target_=os.system: is a part of Python itself"),
        ({"_target_": "torch.optim"}, "._target_=torch.optim: is a module"),
        ({**SGD, "_partial_": True}, "._partial_: there is no such key"),
        ({**SGD, "inner": {"_target_": "no.such"}}, "._target_=no.such: can't be imported"),
    ],
)
def test_what_names_nothing_is_refused(node, message):
    with pytest.raises(ValueError) as refusal:
        TargetComponent.read(node)
    assert str(refusal.value).startswith(message)


def test_words_stand_for_torchs_own_values():
    build = lambda **options: TargetComponent.read(options).build()  # noqa: E731
    loss = build(_target_="torch.nn.CrossEntropyLoss", weight=[1, 2.5])
    assert torch.equal(loss.weight, torch.tensor([1, 2.5]))
    assert build(_target_=f"{V2}AutoAugment", policy="cifar10").policy.value == "cifar10"
    assert build(_target_=f"{V2}ToDtype", dtype="torch.float32").dtype is torch.float32
    with pytest.raises(ValueError, match="policy=cifar: must be imagenet, cifar10, svhn"):
        build(_target_=f"{V2}AutoAugment", policy="cifar")


def test_identity_is_the_class_and_the_options_in_any_order():
    one, same = TargetComponent.read(SGD), TargetComponent.read(dict(reversed(SGD.items())))
    other = TargetComponent.read({**SGD, "momentum": 0.8})
    assert one.identity() == same.identity() != other.identity()
    assert one.identity()["name"] == "SGD"
    assert set(one.identity()["packages"]) == {"torch"}
    nested = {"_target_": f"{V2}Compose", "transforms": [{"_target_": f"{V2}RandomErasing", "p": 0.1}]}
    changed = {"_target_": f"{V2}Compose", "transforms": [{"_target_": f"{V2}RandomErasing", "p": 0.2}]}
    assert TargetComponent.read(nested).identity() != TargetComponent.read(changed).identity()
    assert [part.target for part in components_in(TargetComponent.read(nested))] == [
        f"{V2}Compose",
        f"{V2}RandomErasing",
    ]


def test_goes_to_another_process_and_says_what_it_is():
    component = TargetComponent.read(SGD)
    assert component.callable is torch.optim.SGD  # found already, as in a plan
    again = pickle.loads(pickle.dumps(component))
    assert again == component and hash(again) == hash(component)
    assert str(again) == "torch.optim.SGD(momentum=0.9, nesterov=true)"
