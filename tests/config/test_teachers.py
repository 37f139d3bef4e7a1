"""Who teaches, from the command line to the student: the recipe, the keys, the run."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from effbench.config.command_line import read_command_line
from effbench.config.points import plan_of
from effbench.config.teachers import with_teachers
from effbench.models import small_cnn
from effbench.plan.chain import Rounds, Step, Until
from effbench.run.making import make_model
from effbench.run.one import run_point
from effbench.run.store import Store
from effbench.stages.distill import Distill
from effbench.stages.train import Train

TINY = ["model.channels=[4,4]", "train.epochs=1", "finetune.epochs=1", "train.fraction=0.1"]


def points(*arguments):
    side = [] if any(one.startswith("data.side") for one in arguments) else ["data.side=8"]
    return plan_of(read_command_line([*TINY, *side, *arguments])).points


def taught_point(*arguments):
    return next(point for point in points(*arguments) if any(step.teacher for step in point.chain.plain_steps))


def same_bits(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("distill", "distill prune quantize"),
        ("distill_finetune", "train prune distill_finetune quantize"),
        ("distill_prune_quantize", "distill prune distill_finetune quantize"),
        ("default", "distill prune distill_finetune quantize"),
    ],
)
def test_a_recipe_says_which_steps_are_taught(recipe, expected):
    reference, point, control = points("distill=0.5", "prune=0.5", "bits=4", f"recipe={recipe}")
    assert " ".join(str(step) for step in point.chain.steps) == expected
    assert [str(step) for step in control.chain.steps] == [
        name for name in expected.split() if name not in ("prune", "quantize")
    ]
    assert control.is_control and not point.is_control
    assert not any(step.teacher for step in reference.chain.plain_steps)
    for step in (*point.chain.steps, *control.chain.steps):
        if isinstance(step.stage, Distill):
            # What teaches has all its finetunings, of which a reference is the best.
            assert step.teacher.plain_steps == reference.chain.plain_steps
            assert not any(isinstance(taught, Rounds) for taught in step.teacher.steps)
            assert step.stage.weight == 0.5


def test_an_axis_at_zero_is_the_reference_and_a_narrow_student_alone_has_plain_training():
    reference, alone, taught, _ = points("alpha=0.5", "distill=0,0.5", "recipe=distill")
    assert [str(step) for step in alone.chain.steps] == ["train"]
    assert [str(step) for step in taught.chain.steps] == ["distill"]
    assert taught.chain.steps[0].teacher.key == reference.chain.key
    assert points("alpha=0.5", "recipe=distill")[1].key == alone.key
    assert points("distill=0", "recipe=distill")[0].key == reference.key


def test_what_was_not_taught_is_shared_with_the_reference():
    reference, taught, control = points("prune=0.5", "distill=0.5", "recipe=distill_finetune")
    assert control.chain.prefix_keys[1] == reference.chain.prefix_keys[1]
    assert reference.chain.prefix_keys[1] == taught.chain.prefix_keys[1]


@pytest.mark.extended
def test_the_key_of_a_student_holds_its_teacher(tmp_path):
    torch.save(small_cnn(channels=(4, 4)).state_dict(), tmp_path / "weights.pt")
    from_file = ["alpha=0.5", "distill=0.5", "recipe=distill", f"stage.distill.teacher={tmp_path / 'weights.pt'}"]
    wide = ["alpha=0.5", "distill=0.5", "recipe=distill", "stage.distill.teacher=wide"]
    students = [
        taught_point("alpha=0.5", "distill=0.5", "recipe=distill"),
        taught_point("alpha=0.5", "distill=0.5", "recipe=distill", "stage.distill.teacher_fraction=1"),
        taught_point(*wide, "stage.distill.teacher_alpha=2"),
        taught_point(*wide, "stage.distill.teacher_alpha=3"),
        taught_point(*from_file),
    ]
    torch.save(small_cnn(channels=(4, 4)).state_dict(), tmp_path / "weights.pt")
    students.append(taught_point(*from_file))
    assert len({student.key for student in students}) == len(students)
    assert len({student.chain.prefix_keys[0] for student in students}) == 1
    # A teacher that is trained otherwise, under fields that are the same, is another teacher.
    longer = taught_point("alpha=0.5", "distill=0.5", "recipe=distill", "seed=1")
    assert longer.chain.steps[0].stage == students[0].chain.steps[0].stage
    assert longer.chain.steps[0].identity() != students[0].chain.steps[0].identity()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stage.distill.teacher=wide", "stage.distill.teacher_alpha=-1"], "stage.distill.teacher_alpha=-1.0: alpha"),
        (
            ["stage.distill.teacher=nowhere.pt"],
            "stage.distill.teacher=nowhere.pt: must be reference, wide, a network (",
        ),
        (["recipe.taught=[quantize]"], "recipe.taught: quantize: there is no such step; known: finetune, train"),
    ],
)
def test_a_teacher_that_cannot_be_had_is_refused_before_anything_runs(arguments, message):
    with pytest.raises(ValueError) as refusal:
        points("distill=0.5", "recipe=distill", *arguments)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


def test_weights_of_another_network_are_refused_in_one_line(tmp_path):
    torch.save(small_cnn(channels=(8, 4)).state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt does not fit Sequential"):
        points("distill=0.5", "recipe=distill", f"stage.distill.teacher={tmp_path / 'other.pt'}")


@pytest.mark.extended
def test_the_same_bits_come_whether_or_not_teacher_and_labels_were_there(tmp_path):
    reference, student, _ = points("alpha=0.5", "distill=0.5", "recipe=distill")
    device = torch.device("cpu")
    cold, warm = Store(tmp_path / "cold"), Store(tmp_path / "warm")
    run_point(reference, warm, device=device)
    results = [run_point(student, store, device=device) for store in (cold, warm)]
    assert results[0].blob == results[1].blob
    # The labels are there now: the teacher is asked for no more.
    labels = list((cold.root / "entries" / "tensors").iterdir())
    assert len(labels) == 1
    model, again = (make_model(student.chain, store, device=device).model for store in (cold, warm))
    assert same_bits(model, again)


ANOTHER = ["stage.distill.teacher=lenet_5", "data.side=14"]


@pytest.mark.extended
def test_another_network_teaches_students_of_every_seed():
    arguments = [*ANOTHER, "distill=1", "stage.distill.teacher_epochs=2", "stage.distill.augment=affine"]
    each = [taught_point(*arguments, f"seed={seed}") for seed in (0, 1)]
    one = [taught_point(*arguments, f"seed={seed}", "stage.distill.teacher_seed=7") for seed in (0, 1)]
    teachers = [next(step.teacher for step in point.chain.plain_steps if step.teacher) for point in (*each, *one)]
    assert [teacher.seed for teacher in teachers] == [0, 1, 7, 7]
    assert teachers[2].prefix_keys[-1] == teachers[3].prefix_keys[-1]
    assert len({teacher.prefix_keys[-1] for teacher in teachers}) == 3
    teacher = teachers[0]
    assert teacher.network.target == "effbench.models.lenet_5"
    assert [str(step) for step in teacher.steps] == ["train"]
    assert teacher.steps[0].stage.epochs == 2
    assert (teacher.data.options["augment"], each[0].chain.data.options["augment"]) == ("affine", "none")
    assert teacher.fingerprint != each[0].chain.fingerprint


def test_a_teacher_may_see_a_users_data_augmented(monkeypatch):
    def sets():
        return tuple((np.full((12, 14, 14), k, np.uint8), np.arange(12) % 2) for k in range(3))

    monkeypatch.setitem(sys.modules, "users_sets", SimpleNamespace(sets=sets))
    arguments = [*ANOTHER, "data._target_=users_sets.sets", "distill=1", "stage.distill.augment=affine"]
    student = taught_point(*arguments)
    teacher = next(step.teacher for step in student.chain.plain_steps if step.teacher)
    assert (teacher.loaded_data().augment, student.chain.loaded_data().augment) == ("affine", "none")
    assert teacher.fingerprint != student.chain.fingerprint


@pytest.mark.extended
def test_a_student_learns_from_another_network(tmp_path, monkeypatch):
    monkeypatch.setattr("effbench.run.making.WORTH_KEEPING_SECONDS", 0.0)
    arguments = [*ANOTHER, "distill=1", "stage.distill.augment=affine", "stage.distill.pool=1", "recipe=distill"]
    student = taught_point(*arguments)
    store = Store(tmp_path)
    model = make_model(student.chain, store, device=torch.device("cpu")).model
    assert len(list((store.root / "entries" / "tensors").iterdir())) == 1, "what the teacher says is kept"
    alone = make_model(points(*arguments)[0].chain, store, device=torch.device("cpu")).model
    assert not same_bits(model, alone)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stage.distill.teacher=lenet_5"], "stage.distill.teacher=lenet_5: input_side must be at least 13"),
        ([*ANOTHER, "stage.distill.teacher_alpha=2"], "stage.distill.teacher_alpha: the network lenet_5 has no alpha"),
        (
            [*ANOTHER, "stage.distill.teacher_seed=-1"],
            "stage.distill.teacher_seed=-1: must be a whole number, 0 or more, or null",
        ),
        ([*ANOTHER, "stage.distill.augment=warp"], "data.augment=warp: must be none, crop_flip, affine"),
    ],
)
def test_another_network_that_cannot_teach_is_refused_before_anything_runs(arguments, message):
    with pytest.raises(ValueError) as refusal:
        points("distill=0.5", "recipe=distill", *arguments)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


class TestWithTeachers:
    LESSON = Step("distill", Distill(epochs=1, lr=0.1, weight=0.5))
    TRAINING = Step("train", Train(epochs=1, lr=0.1))

    def test_every_stage_that_learns_gets_one_in_rounds_too(self, make_chain):
        reference = make_chain([self.TRAINING])
        rounds = Rounds(((self.LESSON, self.TRAINING),) * 2, Until(max_loss=0.1))
        train, lesson, taught_rounds = with_teachers((self.TRAINING, self.LESSON, rounds), reference)
        assert train is self.TRAINING
        assert lesson.teacher.key == reference.key
        assert [None if step.teacher is None else step.teacher.key for step in taught_rounds.steps] == [
            reference.key,
            None,
        ] * 2

    def test_a_reference_has_none(self):
        with pytest.raises(
            ValueError, match=r"^distill: a reference has no teacher; give the axis that brings the stage"
        ):
            with_teachers((self.LESSON,), None)
        assert with_teachers((self.TRAINING,), None) == (self.TRAINING,)

    def test_a_teacher_on_another_share_of_the_data_is_trained_so_in_every_training(self, make_chain):
        stage = dataclasses.replace(self.LESSON.stage, teacher_fraction=0.25)
        reference = make_chain([self.TRAINING, Step("finetune", self.TRAINING.stage)])
        (lesson,) = with_teachers((dataclasses.replace(self.LESSON, stage=stage),), reference)
        assert [step.stage.fraction for step in lesson.teacher.steps] == [0.25, 0.25]
        assert [step.stage.fraction for step in reference.steps] == [1.0, 1.0]

    def test_a_file_is_loaded_by_its_only_step_and_known_by_its_content(self, make_chain, tmp_path):
        path = tmp_path / "weights.pt"
        torch.save(make_chain().fresh_network().state_dict(), path)
        stage = dataclasses.replace(self.LESSON.stage, teacher=str(path))
        lesson = dataclasses.replace(self.LESSON, stage=stage)
        (taught,) = with_teachers((lesson,), make_chain([self.TRAINING]))
        assert [str(step) for step in taught.teacher.steps] == ["load"]
        torch.save(make_chain(seed=1).fresh_network().state_dict(), path)
        (again,) = with_teachers((lesson,), make_chain([self.TRAINING]))
        assert taught.teacher.key != again.teacher.key
