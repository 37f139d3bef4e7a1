from dataclasses import dataclass
from typing import ClassVar

import pytest

from effbench.config.read import read_sweep
from effbench.config.recipe_checks import check_freeze, check_layers, check_training, tell_of_lost_weights
from effbench.data.paths import remark
from effbench.plan.chain import Rounds, Step, Until
from effbench.plan.stage import Stage
from effbench.stages.constrain import Constrain
from effbench.stages.prune import Prune
from effbench.stages.rate import Rate
from effbench.stages.replace_convolutions import ReplaceConvolutions
from effbench.stages.train import Train

TRAIN = Step("finetune", Train(epochs=1, lr=1e-3))
CONSTRAIN = Step("constrain", Constrain(rate=1))
RATE, EXACT = Step("rate", Rate(rate=1)), Step("rate", Rate(rate=1, small=0))


def test_a_pattern_that_meets_no_layer_is_refused_wherever_its_stage_stands():
    step = Step("prune", Prune(ratio=0.5, layers={"conv2": 0.1}))
    for steps in ((step,), (TRAIN, Rounds(((step, TRAIN),), Until()))):
        with pytest.raises(ValueError, match=r"^stage\.prune\.layers: the pattern conv2 meets no layer"):
            check_layers(steps, ["conv1"])
        check_layers(steps, ["conv1", "conv2"])


@pytest.mark.parametrize(
    "steps", [(TRAIN,), (CONSTRAIN, TRAIN, RATE), (Rounds(((CONSTRAIN, TRAIN),), Until()), RATE), (EXACT, TRAIN)]
)
def test_what_trains_where_it_can_is_taken(steps):
    check_training(steps)


@pytest.mark.parametrize("steps", [(RATE, TRAIN), (Rounds(((RATE, TRAIN),), Until()),), (RATE, EXACT, TRAIN)])
def test_what_trains_after_an_end_is_refused(steps):
    with pytest.raises(ValueError, match="finetune trains after rate, and can't, as batch norms are scale and shift"):
        check_training(steps)


@pytest.mark.parametrize("steps", [(CONSTRAIN,), (TRAIN, CONSTRAIN, RATE), (CONSTRAIN, TRAIN, CONSTRAIN)])
def test_what_asks_for_a_training_and_gets_none_is_refused(steps):
    with pytest.raises(ValueError, match="nothing trains after constrain: it is training that brings"):
        check_training(steps)


REWRITE = Step("replace_convolutions", ReplaceConvolutions(conv="separable"))
LOST = "the layers that are replaced begin at random, without the network's own weights"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((REWRITE,), f"{LOST}; nothing trains them: give finetune.epochs=5"),
        ((REWRITE, Rounds(((TRAIN,),), Until())), LOST),
        ((TRAIN,), None),
    ],
)
def test_that_weights_are_lost_is_said_with_what_trains_anew(steps, said, caplog):
    remark.cache_clear()
    tell_of_lost_weights(steps, where="conv=separable")
    assert [record.getMessage() for record in caplog.records] == ([f"conv=separable: {said}"] if said else [])


@pytest.mark.extended
def test_what_is_frozen_must_be_in_the_network():
    assert read_sweep(["+prune=0.5", "train.freeze=backbone"]).plan.points
    steps = read_sweep(["+prune=0.5", "train.freeze=[features.conv1]"]).plan.points[1].chain.plain_steps
    assert [step.stage.freeze for step in steps if step.stage.TRAINS] == [["features.conv1"]] * 2
    with pytest.raises(ValueError, match=r"^train\.freeze: layer4 meets nothing that is trained; must be backbone"):
        read_sweep(["train.freeze=[layer4]"])
    with pytest.raises(ValueError, match=r"^finetune\.freeze=\[\*\]: leaves nothing to train"):
        read_sweep(["+prune=0.5", "finetune.freeze=*"])
    with pytest.raises(ValueError, match=r"hints=\S+: must be none with freeze"):
        read_sweep(["+distill=0.5", "train.freeze=backbone", "stage.distill.hints=features.relu4:features.relu4"])


def test_another_teacher_is_trained_wholly():
    command = ["+distill=0.5", "train.freeze=[features.conv1]", "stage.distill.teacher=lenet_5"]
    (step,) = [s for s in read_sweep(command).plan.points[-1].chain.plain_steps if s.teacher is not None][:1]
    assert [taught.stage.freeze for taught in step.teacher.plain_steps] == [None]


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("name", ["1.10", "true", "1e3"])
def test_a_layer_whose_name_is_read_as_no_text_is_refused_with_what_to_write(name):
    with pytest.raises(ValueError, match=r"^stage\.prune\.layers=\{\S+: …\}: is read as no text; write \? for one of"):
        read_sweep(["prune=0.5", f"stage.prune.layers={{{name}: 0.1}}"])


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("beside", ["", "bits=4", "prune_granularity=weight", "stage.prune.criterion=activation"])
def test_a_scope_by_row_goes_with_all_that_takes_no_rows_itself(beside):
    command = ["prune=0.5", "stage.prune.scope=row", *beside.split()]
    (step,) = [s for s in read_sweep(command).plan.points[-1].chain.plain_steps if s.name == "prune"]
    assert (step.stage.scope, step.stage.granularity) == ("row", "weight")
    for other, message in (("prune_granularity=row", "granularity=row"), ("stage.prune.schedule=cubic", "cubic")):
        with pytest.raises(ValueError, match=rf"scope=row: must be global, layer or adaptive with \w*=?{message}"):
            read_sweep(["prune=0.5", "stage.prune.scope=row", other])


def test_a_users_technique_may_have_a_field_of_that_name():
    @dataclass(frozen=True, kw_only=True)
    class Mine(Stage):
        VERSION: ClassVar[int] = 1
        freeze: bool = True

        def apply(self, model, context, /):
            return model

    check_freeze([Step("mine", Mine())], ["conv1.weight"], "conv1")
