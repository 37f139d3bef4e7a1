"""Callables by name: what they are built from, what is refused, and what tells one from another."""

import pickle
import sys
from types import SimpleNamespace

import pytest
import torch

from effbench.plan.blueprint import BESIDE_OPTIONS, Blueprint


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


def small_cnn(**options):
    return Blueprint("effbench.models.small_cnn", options)


def test_builds_with_its_options_and_with_what_it_takes_of_the_offered():
    assert blueprint("area", width=3).build() == 6
    assert blueprint("area", width=3).build(height=5, depth=7) == 15
    assert blueprint("area", width=3, height=4).build(height=5) == 12  # its own options have the last word


def test_a_node_says_target_and_options_beside_what_is_none():
    node = {"_target_": "blueprint_targets.area", "width": 3, "epochs": {"train": 1}, "tasks": ["a"], "least_side": 3}
    assert Blueprint.from_node(node) == blueprint("area", width=3)
    assert set(BESIDE_OPTIONS) == {"_target_", "epochs", "tasks", "least_side"}
    assert Blueprint.from_node(node, leave_out=("_target_", "width")).options == {
        "epochs": {"train": 1},
        "tasks": ["a"],
        "least_side": 3,
    }


def test_an_option_that_the_target_does_not_take_is_named_with_those_it_takes():
    with pytest.raises(ValueError, match=r"area takes no option 'widht'; its options: height, scale, width"):
        blueprint("area", widht=3).build()


def test_a_target_of_any_options_takes_its_own_but_none_of_the_offered():
    assert blueprint("anything", a=1).build(b=2) == {"a": 1}


@pytest.mark.parametrize(
    "target", ["no_such_package.net", "effbench.models.no_such_net", "net", "", ".net", "effbench."]
)
def test_a_target_that_is_not_there_is_named(target):
    with pytest.raises(ValueError, match=f"_target_={target}: (can't be imported|must be a dotted name)"):
        _ = Blueprint(target).callable


def test_a_target_that_cannot_be_called_is_named():
    with pytest.raises(ValueError, match=r"_target_=effbench\.run\.store\.log: is not callable"):
        _ = Blueprint("effbench.run.store.log").callable


def test_knows_the_names_of_its_parameters():
    assert blueprint("area").parameters == {"width", "height", "scale"}
    assert not blueprint("area").takes_anything
    assert blueprint("anything").parameters == frozenset()
    assert blueprint("anything").takes_anything
    assert Blueprint("effbench.stages.rewind.Rewind").parameters == {"to", "layers"}


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
    assert "callable" not in vars(copy)  # which may be a lambda
    assert copy.build(in_channels=1).state_dict().keys() == one.build(in_channels=1).state_dict().keys()


class TestIdentity:
    def test_depends_on_target_and_options_but_not_on_their_order_or_container(self):
        one = blueprint("area", width=3, height=[1, 2])
        same = blueprint("area", height=(1, 2), width=3)
        assert one.identity() == same.identity()
        assert hash(one) == hash(same)
        assert one.identity() != blueprint("area", width=4, height=[1, 2]).identity()
        assert one.identity() != blueprint("anything", width=3, height=[1, 2]).identity()

    def test_of_effbenchs_own_holds_neither_module_paths_nor_defaults(self):
        plain = small_cnn().identity()
        assert plain == {"name": "small_cnn", "version": 1, "options": {}}
        spelled_out = small_cnn(kernel=3, alpha=1, channels=[8, 16, 16, 32, 32, 64], pooling="even")
        assert spelled_out.identity() == plain
        assert Blueprint("effbench.models.small.small_cnn").identity() == plain
        assert Blueprint("effbench.tasks.classification.Classification").identity()["name"] == "Classification"

    def test_of_effbenchs_own_holds_what_differs_from_the_defaults(self):
        assert small_cnn(kernel=5, n_poolings=2).identity()["options"] == {"kernel": 5}
        assert small_cnn(channels=[8, 16]).identity() != small_cnn().identity()
        shuffled, by_number = (Blueprint("effbench.models.shufflenet_v1", {"shuffle": v}) for v in (True, 1))
        assert shuffled.identity() != by_number.identity()  # 1 is not true

    def test_holds_what_replaces_an_argument_that_data_offer_even_at_the_default(self):
        """Left out, the network would be built for the data's side, not for that one."""
        assert small_cnn(input_side=28).identity() != small_cnn().identity()

    def test_changes_with_the_version_of_its_file_and_of_a_class(self, monkeypatch):
        task = Blueprint("effbench.tasks.classification.Classification")
        before = small_cnn().identity(), task.identity()
        monkeypatch.setattr("effbench.models.small.VERSION", 99)
        monkeypatch.setattr("effbench.tasks.classification.Classification.VERSION", 99)
        after = small_cnn().identity(), task.identity()
        assert [identity["version"] for identity in before] == [1, 1]
        assert [identity["version"] for identity in after] == [99, 99]

    def test_of_a_users_own_holds_its_sources_and_every_option(self):
        identity = blueprint("area", width=3, height=2).identity()
        assert identity["options"] == {"width": 3, "height": 2}
        assert {"module", "name", "sources", "packages"} < set(identity)

    @pytest.mark.parametrize("of", ["blueprint_targets.anything", "effbench.models.torchvision_model"])
    def test_files_that_options_name_count_with_their_content(self, tmp_path, of):
        path = tmp_path / "weights.pth"
        identities = []
        for seed in (0, 0, 1):
            torch.save(torch.full((3,), seed), path)
            identities.append(Blueprint(of, {"weights": str(path)}).identity())
        assert identities[0] == identities[1]
        assert identities[0] != identities[2]
        assert identities[0]["files"].keys() == {"weights"}

    def test_a_text_that_can_be_no_path_is_just_a_text(self):
        assert "files" not in blueprint("anything", note="x" * 100_000, other="a\0b").identity()
