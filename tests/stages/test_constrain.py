import copy

import pytest
import torch
from torch import nn

from effbench.codec import decode, encode
from effbench.compression.constraints.learned_grid import LearnedGrid, learned_grid_on, learned_grids
from effbench.compression.constraints.stack import constraints_on
from effbench.compression.layers import weights_of
from effbench.config.read import read_sweep
from effbench.stages.constrain import Constrain, _own_biases
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.rate import Rate
from effbench.stages.train import Train

RATE = 0.6


@pytest.fixture(scope="module")
def trained(digits_data, make_context):
    """Return a small network trained on the digits, and what makes a context for a step."""
    context = make_context(digits_data, step="train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 169, 32),
            nn.ReLU(), nn.Linear(32, 10),
        )  # fmt: skip
    return Train(epochs=4, lr=3e-3).apply(network, context), lambda step: make_context(digits_data, step=step)


def bits_a_weight(network):
    n_weights = sum(weight.value().numel() for weight in weights_of(network))
    return 8 * len(encode(network, coder="context")) / n_weights


@pytest.fixture(scope="module")
def pressed(trained):
    """Return the network constrained and trained for its rate, before the stage `rate`."""
    network, context_at = trained
    constrained = Constrain(rate=RATE).apply(network, context_at("constrain"))
    return Train(epochs=12, lr=3e-3).apply(constrained, context_at("finetune"))


def test_weights_and_their_biases_are_on_grids_that_hold_what_they_held(trained):
    network, context_at = trained
    constrained = Constrain(rate=RATE).apply(network, context_at("constrain"))
    assert sum(1 for _ in learned_grids(constrained)) == 6
    for layer in (constrained[0], constrained[4], constrained[6]):
        for name in ("weight", "bias"):
            behind = layer.parametrizations[name].original
            error = (getattr(layer, name) - behind).detach().abs()
            assert float(error.max()) <= float(behind.detach().abs().max()) / 16 * 1.001
    assert not any(learned_grids(network))
    without = Constrain(rate=RATE, biases=False).apply(network, context_at("constrain"))
    assert sum(1 for _ in learned_grids(without)) == 3


def test_a_layer_that_is_skipped_is_on_none(trained):
    network, context_at = trained
    constrained = Constrain(rate=RATE, layers={"0": "skip"}).apply(network, context_at("constrain"))
    assert learned_grid_on(constrained[0], "weight") is None
    assert learned_grid_on(constrained[0], "bias") is None


@pytest.mark.extended
def test_training_brings_the_file_to_what_is_asked_and_the_rest_is_little(trained, pressed):
    network, context_at = trained
    context = context_at("rate")
    assert bits_a_weight(pressed) == pytest.approx(RATE, rel=0.3)
    done = Rate(rate=RATE).apply(pressed, context)
    assert bits_a_weight(done) <= RATE * 1.01
    assert not any(learned_grids(done))
    again = decode(encode(done, coder="context"), network)
    assert context.evaluate(again) == context.evaluate(done)


@pytest.mark.extended
def test_it_keeps_more_than_the_same_file_without_training(trained, pressed):
    network, context_at = trained
    context = context_at("rate")
    done = Rate(rate=RATE).apply(pressed, context)
    assert context.validate(done).loss < context.validate(Rate(rate=RATE).apply(network, context)).loss


@pytest.mark.extended
def test_what_was_trained_is_cut_to_a_shorter_file_still(trained, pressed):
    context = trained[1]("rate")
    for rate in (RATE / 2, RATE / 3):
        assert 0.95 * rate <= bits_a_weight(Rate(rate=rate).apply(pressed, context)) <= 1.01 * rate
    with pytest.raises(ValueError, match=r"rate=0\.01: must be at least 0\.\d+ here"):
        Rate(rate=0.01).apply(pressed, context)


@pytest.mark.extended
def test_pruned_weights_stay_zero(trained):
    network, context_at = trained
    pruned = Prune(ratio=0.5).apply(network, context_at("prune"))
    constrained = Constrain(rate=RATE).apply(pruned, context_at("constrain"))
    done = Train(epochs=1, lr=3e-3).apply(constrained, context_at("finetune"))
    for before, after in zip(weights_of(pruned), weights_of(done), strict=True):
        assert bool((after.value()[before.value() == 0] == 0).all())


@pytest.mark.extended
def test_a_second_time_it_leaves_grids_as_they_are(trained, pressed):
    again = Constrain(rate=RATE).apply(pressed, trained[1]("constrain"))
    assert [sum(isinstance(kind, LearnedGrid) for kind in constraints_on(again[0], "weight"))] == [1]


def test_what_cannot_be_is_refused(trained):
    network, context_at = trained
    with pytest.raises(ValueError, match=r"rate=0\.01: must be at least 0\.\d+ here.*\d+ bytes"):
        Constrain(rate=0.01).apply(network, context_at("constrain"))
    quantized = Quantize(bits=4).apply(network, context_at("quantize"))
    with pytest.raises(ValueError, match="quantised already are 0, 4, 6; give either rate or bits"):
        Constrain(rate=1).apply(quantized, context_at("constrain"))
    for rate in (0, 17, -1, float("nan")):
        with pytest.raises(ValueError, match="rate"):
            Constrain(rate=rate)


@pytest.mark.extended
def test_the_recipe_has_it_where_the_axis_says_so():
    plan = read_sweep(["recipe=rate_constrained", "+rate=1"]).plan
    steps = {point.axes["rate"]: point.chain.steps for point in plan.points}
    assert [str(step) for step in steps[1.0]] == ["train", "constrain", "finetune", "rate"]
    assert [step.stage.rate for step in steps[1.0] if step.name in ("constrain", "rate")] == [1.0, 1.0]
    assert "constrain" not in map(str, steps[32.0])


@pytest.mark.parametrize("without", ["finetune.epochs=0", "recipe.steps=[train,constrain,quantize]"])
def test_a_recipe_without_a_training_after_it_is_refused(without):
    with pytest.raises(ValueError, match=r"recipe.steps: nothing trains after constrain: .* finetune\.epochs=10"):
        read_sweep(["recipe=rate_constrained", "+rate=1", without])


def test_coder_and_coarseness_are_those_of_the_rate():
    arguments = ["recipe=rate_constrained", "+rate=1", "stage.rate.coder=huffman", "stage.rate.small=0.05"]
    (point,) = [point for point in read_sweep(arguments).plan.points if point.axes["rate"] == 1]
    (step,) = [step for step in point.chain.steps if step.name == "constrain"]
    assert (step.stage.coder, step.stage.small) == ("huffman", 0.05)


@pytest.mark.parametrize("name", ["weight_norm", "orthogonal", "spectral_norm"])
def test_what_a_parametrization_makes_is_refused_by_name(name, trained):
    network, context_at = trained
    other = copy.deepcopy(network)
    getattr(nn.utils.parametrizations, name)(other[6])
    with pytest.raises(ValueError, match=r"what a parametrization makes: 6; stage\.constrain\.layers can skip them"):
        Constrain(rate=RATE).apply(other, context_at("constrain"))
    skipping = Constrain(rate=RATE, layers={"6": "skip"})
    assert sum(1 for _ in learned_grids(skipping.apply(other, context_at("constrain")))) == 4


def test_biases_that_two_layers_share_are_left_alone():
    network = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 40))
    network[2].bias = network[0].bias
    assert _own_biases(network, next(weights_of(network))) == []


def test_what_is_all_zero_has_no_step_of_its_own(trained):
    network, context_at = trained
    other = copy.deepcopy(network)
    with torch.no_grad():
        other[4].bias.zero_()
        other[6].weight.zero_()
    constrained = Constrain(rate=RATE).apply(other, context_at("constrain"))
    steps = [learned_grid_on(constrained[4], name).log_step for name in ("weight", "bias")]
    assert torch.equal(*(step.detach() for step in steps))
    assert learned_grid_on(constrained[6], "weight") is None


@pytest.mark.extended
def test_layers_can_be_skipped_and_nothing_else(trained):
    with pytest.raises(ValueError, match="must be skip; the rate is the whole file's"):
        Constrain(rate=2, layers={"0": 4.0})
    network, context_at = trained
    constrained = Constrain(rate=8, layers={"6": "skip"}).apply(network, context_at("constrain"))
    context = context_at("rate")
    Rate(rate=8).apply(constrained, context)
    assert context.findings.words["left/rate"] == "6"
    assert 0.9 < context.findings.metrics["acted_share/rate"] < 1


def test_batch_norms_are_folded_before_it(trained):
    arguments = ["recipe=rate_constrained", "+rate=1", "stage.fold_batch_norm.enabled=true"]
    (point,) = [point for point in read_sweep(arguments).plan.points if point.axes["rate"] == 1]
    assert list(map(str, point.chain.steps)) == ["train", "fold_batch_norm", "constrain", "finetune", "rate"]


@pytest.mark.extended
def test_a_grid_that_is_held_gives_way(trained):
    network, context_at = trained
    rounded = Rate(rate=3, small=0).apply(network, context_at("rate"))
    constrained = Constrain(rate=RATE).apply(rounded, context_at("constrain"))
    assert [len(constraints_on(constrained[n], "weight")) for n in (0, 4, 6)] == [1, 1, 1]
    assert sum(1 for _ in learned_grids(constrained)) == 6
