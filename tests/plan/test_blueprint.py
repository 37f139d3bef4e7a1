import pickle
import sys
from types import SimpleNamespace

import pytest

from effbench.plan.blueprint import Blueprint


def area(width, height=2, *, scale=1):
    return width * height * scale


def anything(**options):
    return options


@pytest.fixture(autouse=True)
def targets(monkeypatch):
    """Let the functions above be importable."""
    monkeypatch.setitem(sys.modules, "blueprint_targets", SimpleNamespace(area=area, anything=anything))


def blueprint(name, **options):
    return Blueprint(f"blueprint_targets.{name}", options)


def test_builds_with_its_options_and_with_what_it_takes_of_the_offered():
    assert blueprint("area", width=3).build() == 6
    assert blueprint("area", width=3).build(height=5, depth=7) == 15
    assert blueprint("area", width=3, height=4).build(height=5) == 12  # its own options have the last word


def test_an_option_that_the_target_does_not_take_is_named_with_those_it_takes():
    with pytest.raises(ValueError, match=r"area takes no option 'widht'; its options: height, scale, width"):
        blueprint("area", widht=3).build()


def test_a_target_of_any_options_takes_its_own_but_none_of_the_offered():
    assert blueprint("anything", a=1).build(b=2) == {"a": 1}


@pytest.mark.parametrize(
    "target", ["no_such_package.net", "effbench.models.no_such_net", "net", "", ".net", "effbench."]
)
def test_a_target_that_is_not_there_is_named(target):
    with pytest.raises(ValueError, match=f"_target_={target}: can't be imported"):
        _ = Blueprint(target).callable


def test_a_target_that_cannot_be_called_is_named():
    with pytest.raises(ValueError, match=r"_target_=effbench\.store\.log: is not callable"):
        _ = Blueprint("effbench.run.store.log").callable


def test_knows_the_names_of_its_parameters():
    assert blueprint("area").parameters == {"width", "height", "scale"}
    assert not blueprint("area").takes_anything
    assert blueprint("anything").parameters == frozenset()
    assert blueprint("anything").takes_anything
    assert Blueprint("effbench.stages.rewind.Rewind").parameters == {"to"}


def test_identity_depends_on_target_and_options_but_not_on_their_order_or_container():
    one = blueprint("area", width=3, height=[1, 2])
    same = blueprint("area", height=(1, 2), width=3)
    assert one.identity() == same.identity()
    assert hash(one) == hash(same)
    assert one.identity() != blueprint("area", width=4, height=[1, 2]).identity()
    assert one.identity() != blueprint("anything", width=3, height=[1, 2]).identity()


def test_options_are_added_to_a_copy():
    one = blueprint("area", width=3)
    other = one.with_options(width=4, height=1)
    assert (one.options, other.options) == ({"width": 3}, {"width": 4, "height": 1})


def test_survives_the_way_to_another_process_also_after_use():
    one = Blueprint("effbench.models.lenet_5", {"num_classes": 7})
    assert one.parameters
    copy = pickle.loads(pickle.dumps(one))
    assert copy == one
    assert hash(copy) == hash(one)
    assert copy.build(in_channels=1).state_dict().keys() == one.build(in_channels=1).state_dict().keys()
