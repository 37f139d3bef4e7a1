"""From a command to its points: labels, references, keys."""

import sys

import pytest

from effbench.config import trial
from effbench.config.read import read_sweep
from effbench.plan.sources import load_data
from effbench.stages.train import Train


def plan(*arguments):
    return read_sweep(list(arguments)).plan


def by_label(planned):
    return {point.label: point for point in planned.points}


def test_the_reference_comes_first_and_once():
    planned = plan("prune=0.5,0,0.9", "seed=0,1")
    assert [point.label for point in planned.points] == ["reference"] * 2 + ["prune=0.5", "prune=0.9"] * 2
    for point in planned.points:
        reference = planned.reference_of(point)
        assert reference.is_reference
        assert reference.seed == point.seed
        assert reference.axes == {"prune": 0}


def test_a_neutral_stage_is_not_in_the_recipe():
    points = by_label(plan("prune=0.5", "bits=4,32"))
    steps = {label: [str(step) for step in point.chain.steps] for label, point in points.items()}
    assert steps == {
        "reference": ["train", "best of 0 to 1 × (finetune)"],
        "prune=0.5": ["train", "prune", "finetune"],
        "prune=0.5, bits=4": ["train", "prune", "finetune", "quantize"],
    }


def test_quantisation_aware_training_quantises_before_finetuning():
    points = by_label(plan("prune=0.5", "bits=4", "recipe=quantization_aware"))
    steps = [str(step) for step in points["prune=0.5, bits=4"].chain.steps]
    assert steps == ["train", "prune", "quantize", "finetune"]


def test_with_rounds_the_reference_is_finetuned_as_long():
    points = by_label(plan("prune=0.5", "recipe.rounds=3"))

    def epochs(point):
        return sum(step.stage.epochs for step in point.chain.plain_steps if isinstance(step.stage, Train))

    assert epochs(points["reference"]) == epochs(points["prune=0.5"])
    assert [str(step) for step in points["reference"].chain.plain_steps] == [
        "train",
        "finetune",
        "finetune/1",
        "finetune/2",
    ]


def test_points_share_the_trained_network():
    points = by_label(plan("prune=0.5,0.9"))
    assert len({point.chain.prefix_keys[:2] for point in points.values()}) == 1
    assert len({point.key for point in points.values()}) == 3


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    "change",
    [
        "device=cpu",
        "tracking.experiment=other",
        "tracking.uri=sqlite:///other.db",
        "measure.batch=1,8",
        "measure.seconds=2",
        "sweep.jobs=7",
        "tolerance=0.1",
        "hydra/launcher=joblib",
    ],
)
def test_what_does_not_decide_the_result_is_not_in_the_key(change):
    assert plan("prune=0.5", change).sweep_id == plan("prune=0.5").sweep_id


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    "change",
    [
        "train.threads=2",
        "train.layout=contiguous",
        "train.lr=0.1",
        "train.batch_size=32",
        "train.fraction=0.5",
        "train.epochs=9",
        "finetune.epochs=9",
        "finetune.lr=0.1",
        "model=lenet_5",
        "model.kernel=5",
        "data.split_seed=1",
        "seed=1",
        "coder=none",
        "stage.prune.criterion=random",
        "recipe.rounds=2",
    ],
)
def test_what_decides_the_result_is_in_the_key(change):
    key = by_label(plan("prune=0.5"))["prune=0.5"].key
    assert key not in {point.key for point in plan("prune=0.5", change).points}


def key_at(*arguments):
    return by_label(plan("prune=0.5", *arguments))["prune=0.5"].key


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("capability", "suited"), [("avx512_bf16", "bfloat16"), ("amx_bf16", "bfloat16"), ("avx2", "float32")]
)
def test_training_is_in_the_format_that_the_machine_is_fast_in(monkeypatch, capability, suited):
    trial._try_out.cache_clear()
    monkeypatch.setattr("effbench.training.precision._capabilities", lambda: {capability: True})
    assert key_at() == key_at(f"train.precision={suited}")
    assert key_at("train.precision=float32") != key_at("train.precision=bfloat16")
    depthwise = "model=mobilenet_v1"
    assert key_at(depthwise) == key_at(depthwise, "train.precision=float32")
    trial._try_out.cache_clear()


@pytest.mark.extended
def test_a_stage_of_another_version_has_another_key(monkeypatch):
    before = by_label(plan("prune=0.5"))
    monkeypatch.setattr("effbench.stages.prune.Prune.VERSION", 99)
    after = by_label(plan("prune=0.5"))
    assert after["prune=0.5"].key != before["prune=0.5"].key
    assert after["reference"].key == before["reference"].key


def test_another_torch_has_other_keys(monkeypatch):
    before = {point.key for point in plan("prune=0.5").points}
    monkeypatch.setattr("torch.__version__", "99.0")
    assert not before & {point.key for point in plan("prune=0.5").points}


def test_other_data_have_other_keys(monkeypatch):
    before = {point.key for point in plan("prune=0.5").points}
    load_data.cache_clear()
    monkeypatch.setattr("effbench.data.in_memory.InMemoryData.fingerprint", "0123456789abcdef")
    assert not before & {point.key for point in plan("prune=0.5").points}
    load_data.cache_clear()


def test_edited_code_of_a_network_has_another_key(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    keys = set()
    for extra in ("", "# edited\n"):
        (tmp_path / "edited_networks.py").write_text(source + extra)
        sys.modules.pop("edited_networks", None)
        keys.add(plan("model._target_=edited_networks.net").points[0].key)
    assert len(keys) == 2


def test_swept_keys_are_in_the_label_and_each_value_has_its_own_reference():
    planned = plan("prune=0.5", "train.lr=0.001,0.002")
    assert sorted(by_label(planned)) == [
        "train.lr=0.001, prune=0.5",
        "train.lr=0.001, reference",
        "train.lr=0.002, prune=0.5",
        "train.lr=0.002, reference",
    ]


@pytest.mark.extended
def test_sides_are_rounded_half_up():
    points = by_label(plan("rho=0.5,0.75,0.6", "rho_eval=0.5"))
    sides = {(point.axes["rho"], point.chain.side) for point in points.values()}
    assert sides == {(1.0, 28), (0.5, 14), (0.75, 21), (0.6, 17)}
    assert {point.eval_side for point in points.values() if point.axes["rho_eval"] == 0.5} == {14}


@pytest.mark.extended
def test_five_hundred_points_are_planned_without_building_five_hundred_networks(monkeypatch):
    built = []
    build = trial.build_network
    monkeypatch.setattr(trial, "build_network", lambda *a: built.append(a) or build(*a))
    trial._try_out.cache_clear()
    planned = plan("prune=" + ",".join(f"{i / 130:.4f}" for i in range(1, 125)), "alpha=0.25,0.5,0.75,1")
    assert len(planned.points) == 497
    assert len(built) == 4


def test_options_of_a_stage_are_checked_with_the_values_that_are_asked_for():
    quantized = plan("+bits=32,2", "stage.quantize.scheme=ternary")
    assert [
        step.stage.scheme for point in quantized.points for step in point.chain.plain_steps if step.name == "quantize"
    ] == ["ternary"]
    with pytest.raises(ValueError, match="bits=4: must be 2 with scheme=ternary"):
        plan("+bits=2,4", "stage.quantize.scheme=ternary")


def test_what_is_left_recovers_once_more_on_its_grid():
    point = by_label(plan("prune=0.8", "bits=4", "recipe=prune_quantize"))["prune=0.8, bits=4"]
    assert [str(step) for step in point.chain.steps] == ["train", "prune", "finetune", "quantize", "finetune/1"]


def test_runs_on_one_ladder_share_its_rungs():
    command = ["prune=0.5,0.7,0.9", "stage.prune.ladder=[0.5,0.8]", "recipe.rounds=2"]
    points = by_label(plan(*command))
    ratios = {
        label: [step.stage.ratio for step in point.chain.plain_steps if step.name == "prune"]
        for label, point in points.items()
    }
    assert ratios == {"reference": [], "prune=0.5": [0.5], "prune=0.7": [0.5, 0.7], "prune=0.9": [0.5, 0.8, 0.9]}
    # As often as the longest run could be: the ladder's two rungs and a point beyond them.
    assert [str(step) for step in points["reference"].chain.steps] == ["train", "best of 0 to 3 × (finetune)"]
    assert points["prune=0.5"].chain.prefix_keys == points["prune=0.9"].chain.prefix_keys[:4]
    assert points["prune=0.7"].chain.prefix_keys[:4] == points["prune=0.9"].chain.prefix_keys[:4]
    assert (
        points["prune=0.9"].chain.prefix_keys
        == by_label(plan("prune=0.9", *command[1:]))["prune=0.9"].chain.prefix_keys
    )


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("ladder", "message"),
    [
        ("[0.8,0.5]", r"stage\.prune\.ladder=\[0\.8, 0\.5\]: must be ascending shares in \(0, 1\)"),
        ("[0.5,0.5]", r"stage\.prune\.ladder=\[0\.5, 0\.5\]: must be ascending shares in \(0, 1\)"),
        ("[0,0.5]", r"stage\.prune\.ladder=0: must be a number in \(0, 1\)"),
        ("[0.5,1]", r"stage\.prune\.ladder=1: must be a number in \(0, 1\)"),
        ("0.5", r"stage\.prune\.ladder=0\.5: must be a list, each element a number in \(0, 1\)"),
    ],
)
def test_a_ladder_that_does_not_climb_is_refused(ladder, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        plan("prune=0.9", f"stage.prune.ladder={ladder}")


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    "arguments",
    [("+bits=8",), ("+bits=8", "+prune=0"), ("+bits=8", "+prune=0,0.2"), ("+prune=0.5,0.9,0.95",)],
)
def test_whatever_is_swept_the_reference_of_a_configuration_is_one(arguments):
    ladder = "stage.prune.ladder=[0.3,0.6]"
    reference = plan(*arguments, ladder).points[0]
    assert reference.key == plan("+prune=0.5", ladder).points[0].key
    assert str(reference.chain.steps[-1]) == "best of 0 to 3 × (finetune)"


def test_a_point_that_is_made_as_the_reference_is_has_its_network():
    reference, point = plan("+rho_eval=0.75").points
    assert point.chain == reference.chain
    assert point.key != reference.key
