"""Chains: what decides a network, and which key the network has after each of its steps."""

import dataclasses
import math
import pickle
import sys

import pytest
import torch

from effbench.plan.blueprint import Blueprint
from effbench.plan.chain import Rounds, Step, Until, map_steps
from effbench.plan.keys import prefix_keys
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.train import Train

TRAIN = Step("train", Train(epochs=1, lr=0.1))
PRUNE = Step("prune", Prune(ratio=0.5))


class TestStep:
    @pytest.mark.parametrize(
        "changed",
        [
            Step("train", Train(epochs=2, lr=0.1)),
            Step("train", Train(epochs=1, lr=0.1, precision="bfloat16")),
            Step("pretrain", TRAIN.stage),
            Step("train", TRAIN.stage, occurrence=1),
        ],
    )
    def test_whatever_decides_a_step_changes_its_key_and_those_after_it(self, changed):
        one, other = prefix_keys({}, [TRAIN, PRUNE]), prefix_keys({}, [changed, PRUNE])
        assert one[0] == other[0]
        assert one[1] != other[1]
        assert one[2] != other[2]

    def test_version_and_class_matter(self, monkeypatch):
        key = prefix_keys({}, [TRAIN, PRUNE])[-1]
        monkeypatch.setattr(Prune, "VERSION", 99)
        assert prefix_keys({}, [TRAIN, PRUNE])[-1] != key

    def test_every_field_of_a_stage_is_in_its_key(self):
        stages = [
            Prune(ratio=0.5),
            Prune(ratio=0.5, criterion="random"),
            Prune(ratio=0.5, scope="layer"),
            Prune(ratio=0.5, layers={"a": 0.1}),
            Prune(ratio=0.5, layers={"a": 0.1, "b": 0.1}),
            Prune(ratio=0.5, layers={"b": 0.1, "a": 0.1}),  # the first that matches counts
            Quantize(bits=4),
            Quantize(bits=4, scheme="affine"),
            Quantize(bits=4, granularity="tensor"),
        ]
        assert len({prefix_keys({}, [Step("x", stage)]) for stage in stages}) == len(stages)

    def test_the_teachers_key_is_in_the_key_of_what_it_teaches(self, make_chain):
        alone = TRAIN.identity()
        one, other = (dataclasses.replace(TRAIN, teacher=make_chain([TRAIN], seed=seed)).identity() for seed in (0, 1))
        assert "teacher" not in alone
        assert one["teacher"] == make_chain([TRAIN]).key
        assert one != other

    def test_its_name_says_which_of_its_kind_it_is(self):
        assert [str(Step("train", TRAIN.stage, n)) for n in (0, 1, 2)] == ["train", "train/1", "train/2"]


class TestUntil:
    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("max_loss", -0.1),
            ("max_loss", 1.0),
            ("max_loss", math.nan),
            ("max_loss", True),
            ("max_loss", "a"),
            ("min_accuracy", 97.0),
            ("min_accuracy", math.nan),
            ("min_change", 0.0),
            ("min_change", math.inf),
        ],
    )
    def test_what_is_no_bound_is_named_with_what_is_one(self, option, value):
        shown = str(value).lower() if value is True else value
        with pytest.raises(ValueError, match=f"^{option}={shown}: must be a number.*, or null; ") as refusal:
            Until(**{option: value})
        assert len(str(refusal.value).splitlines()) == 1

    def test_without_any_bound_it_is_never(self):
        assert Until().is_never
        assert not Until(max_loss=0).is_never


class TestRounds:
    ROUNDS = Rounds(((PRUNE, TRAIN), (PRUNE, TRAIN), (PRUNE,)), Until(max_loss=0.1))

    def test_their_steps_stand_in_their_order(self):
        assert self.ROUNDS.steps == (PRUNE, TRAIN, PRUNE, TRAIN, PRUNE)
        assert str(self.ROUNDS) == "up to 3 × (prune → train)"

    def test_identity_holds_every_step_the_bounds_that_are_set_and_the_version(self, monkeypatch):
        identity = self.ROUNDS.identity()
        assert identity["until"] == {"max_loss": 0.1}
        assert [len(group) for group in identity["rounds"]] == [2, 2, 1]
        others = [
            dataclasses.replace(self.ROUNDS, until=Until(max_loss=0.2)),
            dataclasses.replace(self.ROUNDS, until=Until(min_accuracy=0.1)),
            dataclasses.replace(self.ROUNDS, rounds=self.ROUNDS.rounds[:2]),
            map_steps((self.ROUNDS,), lambda step: dataclasses.replace(step, name="x"))[0],
        ]
        assert len({str(rounds.identity()) for rounds in [self.ROUNDS, *others]}) == 5
        monkeypatch.setattr(Rounds, "VERSION", 99)
        assert self.ROUNDS.identity() != identity

    def test_steps_within_them_are_changed_with_the_others(self):
        changed = map_steps((TRAIN, self.ROUNDS), lambda step: dataclasses.replace(step, name=step.name.upper()))
        assert changed[0].name == "TRAIN"
        assert [step.name for step in changed[1].steps] == ["PRUNE", "TRAIN", "PRUNE", "TRAIN", "PRUNE"]
        assert changed[1].until == self.ROUNDS.until


class TestChain:
    def test_whatever_decides_the_fresh_network_changes_every_key(self, make_chain, monkeypatch):
        keys = make_chain([TRAIN]).prefix_keys
        changes = [
            {"network": Blueprint("effbench.models.lenet_5")},
            {"network": Blueprint("effbench.models.lenet_300_100", {"num_classes": 7})},
            {"task": Blueprint("effbench.tasks.segmentation.Segmentation")},
            {"fingerprint": "another"},
            {"side": 14},
            {"seed": 1},
            {"threads": 2},
        ]
        found = [make_chain([TRAIN], **change).prefix_keys for change in changes]
        monkeypatch.setattr("torch.__version__", "99.0")
        found.append(make_chain([TRAIN]).prefix_keys)
        for column in zip(keys, *found, strict=True):
            assert len(set(column)) == len(found) + 1

    def test_where_the_data_come_from_does_not_matter_but_what_they_are(self, make_chain):
        # The same pictures under another name are the same pictures: their fingerprint says so.
        assert make_chain(data=Blueprint("elsewhere.digits")).key == make_chain().key

    def test_has_a_key_for_the_fresh_network_and_after_each_entry_of_its_steps(self, make_chain):
        rounds = TestRounds.ROUNDS
        chain = make_chain([TRAIN, rounds, PRUNE])
        assert len(chain.prefix_keys) == 4
        assert chain.key == chain.prefix_keys[-1]
        assert chain.plain_steps == (TRAIN, *rounds.steps, PRUNE)
        assert make_chain([TRAIN]).prefix_keys == chain.prefix_keys[:2]

    def test_shares_what_is_made_the_teachers_too_but_not_the_fresh_network(self, make_chain):
        teacher = make_chain([TRAIN, PRUNE])
        chain = make_chain([dataclasses.replace(TRAIN, teacher=teacher), PRUNE])
        assert chain.shared_keys == (*teacher.prefix_keys[1:], *chain.prefix_keys[1:])

    def test_a_seed_has_its_own_initial_weights_and_always_the_same(self, make_chain):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first, again, other = (
            [p.detach().clone() for p in make_chain(seed=seed).fresh_network().parameters()] for seed in (0, 0, 1)
        )
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))

    def test_brings_its_data_and_its_task(self, make_chain):
        chain = make_chain()
        assert chain.loaded_data().name == "digits"
        assert chain.loaded_task().name == "classification"
        assert chain.loaded_data() is make_chain([TRAIN], seed=3).loaded_data()


class TestUsersCode:
    NETWORK = "import users_width\nfrom torch import nn\n\ndef net():\n    return nn.Linear(users_width.N, 10)\n"

    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        (tmp_path / "users_chain.py").write_text(self.NETWORK)
        (tmp_path / "users_width.py").write_text("N = 4\n")
        monkeypatch.syspath_prepend(tmp_path)
        return tmp_path

    def test_what_was_changed_after_the_plan_is_not_computed_under_its_key(self, folder, make_chain):
        """As by a worker that begins later; one that has imported the planned code goes on with that."""
        chain = make_chain([TRAIN], network=Blueprint("users_chain.net"))
        student = make_chain([dataclasses.replace(TRAIN, teacher=chain)])
        assert chain.key and student.key and chain.user_code.keys() == {"users_chain.net"}
        sent = pickle.loads(pickle.dumps(chain))
        assert sent.fresh_network().in_features == 4
        (folder / "users_width.py").write_text("N = 400\n")
        sent.check_code()
        for name in ("users_chain", "users_width"):
            del sys.modules[name]
        for late in (chain, student, pickle.loads(pickle.dumps(chain))):
            with pytest.raises(ValueError, match=r"^users_chain\.net: its code, or what it imports, was changed after"):
                late.check_code()

    def test_code_of_effbenchs_own_is_not_asked_for(self, make_chain):
        chain = make_chain([TRAIN, PRUNE])
        assert chain.user_code == {}
        chain.check_code()
