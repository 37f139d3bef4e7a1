"""Which stages stand where: phases placed, techniques brought in, two axes of one stage, rounds and their end."""

import pytest

from effbench.config.command_line import read_command_line
from effbench.config.members import declared_axes
from effbench.config.points import plan_of
from effbench.config.recipe import Recipe, make_stage, short, shown_axis
from effbench.config.recipe_checks import check_layers
from effbench.plan.chain import Rounds, Step, Until
from effbench.stages.low_rank import LowRank
from effbench.stages.prune import Prune
from effbench.stages.train import Train

LATER = ["structure", "prune", "share", "quantize", "precision"]
PHASES = ["rewrite", "train", *LATER]


def plan(*arguments):
    return plan_of(read_command_line(arguments))


def stages(point, name):
    return [step.stage for step in point.chain.plain_steps if step.name == name]


def names(point):
    return [str(step) for step in point.chain.plain_steps]


class TestEntries:
    @pytest.mark.parametrize(
        ("steps", "excludes", "expected"),
        [
            (["train"], [], ["rewrite", "train", *LATER]),
            (
                ["train", ["structure", "prune", "finetune"]],
                [],
                ["rewrite", "train", ["structure", "prune", "finetune"], "share", "quantize", "precision"],
            ),
            # One that is not named stands before the next one that is, in its group as well.
            (
                ["train", ["prune", "finetune"], "quantize"],
                ["rewrite"],
                ["train", ["structure", "prune", "finetune"], "share", "quantize", "precision"],
            ),
            (
                ["train", ["structure", "quantize", "finetune"]],
                ["rewrite"],
                ["train", ["structure", "prune", "share", "quantize", "finetune"], "precision"],
            ),
            # What stands before the training does so in a recipe that begins otherwise, or has none.
            (["early", ["prune", "train"]], LATER, ["rewrite", "early", ["prune", "train"]]),
            ([["prune", "finetune"]], LATER, ["rewrite", ["prune", "finetune"]]),
            (["train", ["rewrite", "train"]], LATER, ["train", ["rewrite", "train"]]),
            (["precision", "train"], ["rewrite"], [*LATER, "train"]),
            (["train", "quantize", "finetune", "quantize"], ["rewrite", "precision", "structure"],
             ["train", "prune", "share", "quantize", "finetune", "quantize"]),
            (["train"], ["rewrite", *LATER], ["train"]),
        ],
    )  # fmt: skip
    def test_phases_that_are_not_named_have_their_place(self, steps, excludes, expected):
        node = {"recipe": {"steps": steps, "excludes": excludes}, "phases": PHASES, "stage": {}}
        recipe = Recipe(declared_axes(), node, {}, {})
        assert recipe.entries == expected
        assert node["recipe"]["steps"] == steps

    def test_a_technique_stands_where_its_phase_does(self):
        (_, point) = plan("bits=4", "recipe.steps=[train]").points
        assert names(point) == ["train", "quantize"]
        (_, point) = plan("bits=4", "prune=0.5", "recipe.steps=[quantize,train]").points
        assert names(point) == ["prune", "quantize", "train"]

    def test_of_one_phase_they_stand_in_the_order_that_axes_declare_whatever_the_order_of_the_command(self):
        one, other = (plan(*pair).points[-1] for pair in (("act_bits=8", "bits=4"), ("bits=4", "act_bits=8")))
        assert names(one) == ["train", "finetune", "quantize", "quantize_inputs"]
        assert one.key == other.key

    @pytest.mark.matrix(fast=1)
    @pytest.mark.parametrize("other", ["bits=4", "share=16", "bits_budget=4"])
    def test_axes_that_exclude_each_other_are_refused_together_but_not_at_their_neutral_values(self, other):
        name, _ = other.split("=")
        with pytest.raises(ValueError, match=f"rate=3: quantises what {name}=.* has quantised, so give one of them"):
            plan("+rate=3", f"+{other}")
        neutral = 0 if name == "share" else 32
        assert len(plan("+rate=3", f"+{name}={neutral}").points) == 2

    def test_what_trains_after_a_stage_that_ends_training_is_refused(self):
        steps = "recipe.steps=[train,quantize,finetune]"
        with pytest.raises(ValueError, match=r"finetune trains after rate, and can't, as .* stage\.rate\.small=0"):
            plan("+rate=3", steps)
        assert len(plan("+rate=3", steps, "stage.rate.small=0").points) == 2
        assert len(plan("+bits=3", steps).points) == 2

    def test_what_a_recipe_excludes_can_not_be_asked_for(self):
        message = (
            r"^prune_channels=0\.5: the recipe has no step 'structure'; its steps are fold_batch_norm, precision, "
            "prune, quantize, rewind, rewrite, share, train$"
        )
        with pytest.raises(ValueError, match=message):
            plan("prune_channels=0.5", "recipe=lottery_ticket")


class TestAxesOfOneStage:
    def test_both_set_fields_of_it(self):
        points = plan("+prune_granularity=kernel,row", "+prune=0.5,0.8").points
        found = {
            (p.axes["prune"], p.axes["prune_granularity"]): stages(p, "prune") for p in points if not p.is_reference
        }
        assert found.keys() == {(ratio, g) for ratio in (0.5, 0.8) for g in ("kernel", "row")}
        for (ratio, granularity), (stage,) in found.items():
            assert (stage.ratio, stage.granularity) == (ratio, granularity)

    def test_without_the_leading_axis_there_is_no_stage_and_the_point_is_the_reference(self):
        points = plan("+prune=0,0.5", "+prune_granularity=weight,row").points
        assert [(p.axes["prune"], p.axes["prune_granularity"]) for p in points] == [
            (0, "weight"),
            (0.5, "weight"),
            (0.5, "row"),
        ]
        assert stages(points[0], "prune") == []
        alone = plan("+prune=0.5").points[1]
        assert points[1].key == alone.key  # a neutral value is in no key

    def test_one_that_only_sets_a_field_is_refused_alone(self):
        with pytest.raises(
            ValueError, match=r"^prune_granularity=row: changes what prune does, so give that too, as in prune="
        ):
            plan("+prune_granularity=row")


class TestRounds:
    @pytest.mark.extended
    def test_their_end_is_read_and_told_in_the_key(self):
        loose, strict = (
            plan("+prune=0.9", "recipe=until_accuracy", f"recipe.until.max_loss={x}").points[1] for x in (0.02, 0.01)
        )
        assert loose.chain.steps[1].until == Until(max_loss=0.02)
        assert len(loose.chain.steps[1].rounds) == 10
        assert loose.key != strict.key and loose.chain.prefix_keys[1] == strict.chain.prefix_keys[1]
        assert [s.ratio for s in stages(loose, "prune")][-1] == pytest.approx(0.9)
        with pytest.raises(ValueError, match=r"^recipe\.until\.max_loss=2: must be a number in \[0, 1\), or null; "):
            plan("+prune=0.9", "recipe=until_accuracy", "recipe.until.max_loss=2")

    @pytest.mark.parametrize("rounds", ["0", "1.5", "true", "many"])
    def test_there_is_a_whole_number_of_them(self, rounds):
        with pytest.raises(ValueError, match=rf"^recipe\.rounds={rounds}: must be a whole number, 1 to 1000$"):
            plan("prune=0.5", f"recipe.rounds={rounds}")

    def test_a_step_that_is_asked_for_and_lacking_is_refused_before_anything_runs(self):
        with pytest.raises(ValueError, match="rewind: asks for the network at 'early', which is no step before it"):
            plan("+prune=0.9", "recipe=lottery_ticket", "stage.rewind.to=early")
        point = plan("+prune=0.9", "recipe=lottery_ticket", "recipe.rounds=2").points[1]
        assert names(point) == ["train", "prune", "rewind", "train/1", "prune/1", "rewind/1", "train/2"]

    def test_phases_that_were_placed_in_a_group_are_repeated_with_it(self):
        point = plan(
            "prune_channels=0.5", "bits=4", "recipe.steps=[train,[quantize,finetune]]", "recipe.rounds=2"
        ).points[1]
        assert names(point) == [
            *("train", "prune_channels", "quantize", "finetune"),
            *("prune_channels/1", "quantize/1", "finetune/1"),
        ]


class TestStages:
    def test_a_node_becomes_its_stage_and_a_wrong_key_is_said_whole(self):
        node = {"_target_": "effbench.stages.prune.Prune", "ratio": 0.5, "layers": {"a": "skip"}}
        assert make_stage("prune", node) == Prune(ratio=0.5, layers={"a": "skip"})
        assert make_stage("prune", {**node, "layers": {3: "skip"}}).layers == {"3": "skip"}  # of an nn.Sequential
        with pytest.raises(ValueError, match=r"stage\.prune\.layers=.*1\.1"):  # which may have been 1.10
            make_stage("prune", {**node, "layers": {1.1: "skip"}})
        with pytest.raises(ValueError, match=r"^stage\.prune\.criterium: there is no such key; did you mean"):
            make_stage("prune", {**node, "criterium": "random"})
        train = {"_target_": "effbench.stages.train.Train", "epochs": -1, "lr": 0.1}
        with pytest.raises(ValueError, match=r"^train\.epochs=-1: must be a whole number, 0 or more$"):
            make_stage("train", train)
        with pytest.raises(ValueError, match=r"^stage\.early\.epochs=-1"):
            make_stage("early", train)

    @pytest.mark.parametrize("target", ["effbench.models.lenet_5", "effbench.tasks.classification.Classification"])
    def test_what_is_no_stage_is_refused(self, target):
        with pytest.raises(ValueError, match=rf"^stage\.x\._target_={target}: must be a class derived from Stage$"):
            make_stage("x", {"_target_": target})

    def test_patterns_of_layers_are_checked_against_the_layers_there_are(self):
        layers = ("conv1", "classifier")
        good, bad = (Step("prune", Prune(ratio=0.5, layers={name: 0.1})) for name in ("conv*", "conv2"))
        train = Step("train", Train(epochs=1, lr=0.1))
        message = (
            r"^stage\.prune\.layers: the pattern conv2 meets no layer of the network; there are conv1, classifier$"
        )
        check_layers((train, good, Rounds(((good, train),), Until())), layers)
        for steps in ((train, bad), (Rounds(((train, bad),), Until(max_loss=0.1)),)):
            with pytest.raises(ValueError, match=message):
                check_layers(steps, layers)
        # After one that gives layers other names nothing is known of them.
        check_layers((Step("low_rank", LowRank(rank=0.5)), bad), layers)
        with pytest.raises(ValueError, match="conv2 meets no layer"):
            check_layers((bad, Step("low_rank", LowRank(rank=0.5))), layers)

    def test_layers_of_a_stage_are_read_checked_and_in_the_key(self):
        plain, own = plan("bits=4").points[1], plan("bits=4", "stage.quantize.layers={features.conv1:8}").points[1]
        assert stages(own, "quantize")[0].layers == {"features.conv1": 8}
        assert plain.key != own.key
        with pytest.raises(
            ValueError, match=r"^stage\.quantize\.layers: the pattern conv1 meets no layer.* features\.conv1"
        ):
            plan("bits=4", "stage.quantize.layers={conv1:8}")


def test_values_are_shown_as_they_were_asked_for():
    assert shown_axis("alpha", (0.5, 1.0)) == "alpha=0.5,1"
    assert [short(value) for value in (0.25, 2.0, 4, "late")] == ["0.25", "2", "4", "late"]


def reached(axis, asked, *, done):
    (_, point) = plan(f"+{axis}={asked}", "recipe=until_accuracy", "recipe.rounds=4").points
    (rounds,) = (step for step in point.chain.steps if isinstance(step, Rounds))
    return rounds.reached[done]


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("axis", "asked", "values"),
    [
        ("prune", "0.9375", [0.0, 0.5, 0.75, 0.875, 0.9375]),
        ("prune_channels", "0.9375", [0.0, 0.5, 0.75, 0.875, 0.9375]),
        ("prune_blocks", "2", [0, 0, 1, 1, 2]),
        ("rank", "0.5", [1.0, 0.5, 0.5, 0.5, 0.5]),  # after the first round it stays as it is
    ],
)
def test_it_is_known_how_far_rounds_come_whatever_the_technique(axis, asked, values):
    assert [reached(axis, asked, done=done)[axis] for done in range(5)] == pytest.approx(values)


def test_the_scale_of_weights_is_that_of_inputs_and_budgets_unless_it_is_said():
    given = ["bits_budget=4", "act_bits=8", "stage.quantize.scale=power_of_two"]
    point = plan(*given).points[-1]
    assert [stage.scale for name in ("bits_budget", "quantize_inputs") for stage in stages(point, name)] == [
        *["power_of_two"] * 2
    ]
    (inputs,) = stages(plan(*given, "stage.quantize_inputs.scale=real").points[-1], "quantize_inputs")
    assert inputs.scale == "real"
