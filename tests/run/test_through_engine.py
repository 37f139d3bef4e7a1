"""How good a network is on an engine: the task's own numbers, of the engine's outputs, and how far they are apart."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import register
from effbench.measure.engine import Prepared
from effbench.run.through_engine import MOST_NAMED, Found, ThroughEngine, engine_metrics, evaluate_through
from effbench.tasks.classification import Classification
from effbench.training import evaluation
from effbench.training.evaluation import evaluate

TASK = Classification()


class Engine:
    """Answers as a network does, but for what `change` makes of the outputs; notes the sizes that it is asked for."""

    def __init__(self, network, change=lambda outputs, images: outputs):
        self.network, self.change, self.sizes = network.eval(), change, []

    def outputs(self, images):
        assert images.is_contiguous()
        self.sizes.append(len(images))
        with torch.no_grad():
            return self.change(self.network(images), images)

    def prepared(self, **known):
        return Prepared(run=lambda: None, outputs=self.outputs, **known)


def through(engine, network, data, *, batch=1):
    return evaluate_through(engine.prepared(), network, data, task=TASK, side=8, batch=batch)


@pytest.mark.parametrize("batch", [1, 8, 62, 100])
@pytest.mark.parametrize("batch_size", [60, 1000])
def test_an_engine_that_computes_the_same_has_the_same_quality(toy_data, toy_network, batch, batch_size, monkeypatch):
    monkeypatch.setattr(evaluation, "BATCH_SIZE", batch_size)
    network = toy_network()
    engine = Engine(toy_network())
    found = through(engine, network, toy_data, batch=batch)
    assert found.qualities == evaluate(network, toy_data, "test", task=TASK, side=8).qualities
    assert found.agreement == 1.0 and found.disagreeing == () and found.max_difference < 1e-5
    assert set(engine.sizes) == {batch}  # one that is not full is filled up
    assert found.names_of_disagreeing() == ""


def test_its_quality_is_of_its_own_outputs_and_those_that_differ_are_named(toy_data, toy_network, monkeypatch):
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 7)
    network = toy_network()
    images, labels = next(toy_data.batches("test", side=8, batch_size=1000))
    with torch.no_grad():
        predicted = network.eval()(images).argmax(1)
    wrong = [3, 30, 61]

    def turn(outputs, given):
        for number in wrong:
            is_it = (given == images[number]).flatten(1).all(1)
            others = nn.functional.one_hot((predicted[number] + 1) % 4, 4) * 100.0
            outputs = torch.where(is_it[:, None], others, outputs)
        return outputs

    found = through(Engine(toy_network(), turn), network, toy_data, batch=4)
    assert list(found.disagreeing) == wrong
    assert found.agreement == pytest.approx(59 / 62)
    assert found.max_difference > 50
    expected = predicted.clone()
    expected[wrong] = (expected[wrong] + 1) % 4
    assert found.qualities["accuracy"] == pytest.approx(float((expected == labels).float().mean()))
    assert found.names_of_disagreeing() == "3, 30, 61"


def test_many_examples_are_counted():
    many = ThroughEngine(qualities={}, agreement=0.0, max_difference=0.0, disagreeing=tuple(range(MOST_NAMED + 5)))
    assert many.names_of_disagreeing() == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 5 more"
    assert dataclasses.replace(many, disagreeing=tuple(range(10))).names_of_disagreeing().endswith("8, 9")


class PixelTask(Classification):
    """Takes the first pixel's prediction for the image's."""

    def summed_loss(self, outputs, targets):
        return super().summed_loss(outputs[..., 0], targets)

    def counts(self, outputs, targets):
        return super().counts(outputs[..., 0], targets)


class PerPixel(nn.Module):
    def forward(self, images):
        return torch.stack([images.flatten(1)[:, :4], images.flatten(1)[:, 4:8]], dim=2)


def test_predictions_of_pixels_are_counted_one_by_one_and_their_examples_once(toy_data):
    def turn_first(outputs, images):
        changed = outputs.clone()
        changed[:, :, 1] = -changed[:, :, 1]
        return changed

    engine = Engine(PerPixel(), turn_first)
    found = evaluate_through(engine.prepared(), PerPixel(), toy_data, task=PixelTask(), side=8, batch=8)
    n = toy_data.n_examples("test")
    assert found.agreement == pytest.approx(1 - len(found.disagreeing) / (2 * n))
    assert 0 < len(found.disagreeing) <= n and list(found.disagreeing) == sorted(set(found.disagreeing))


def test_the_network_is_left_as_it_was(toy_data, toy_network):
    network = toy_network().train()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    through(Engine(toy_network()), network, toy_data)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_are_an_error_and_no_small_difference(toy_data, toy_network, value):
    def spoil(outputs, images):
        outputs[:, 1] = value
        return outputs

    with pytest.raises(ValueError, match="the engine gives outputs that are not finite"):
        through(Engine(toy_network(), spoil), toy_network(), toy_data)


def test_outputs_of_another_shape_are_an_error(toy_data, toy_network):
    engine = Engine(toy_network(), lambda outputs, images: outputs[:, :3])
    with pytest.raises(ValueError, match=r"^the engine gives \(62, 3\), PyTorch \(62, 4\)$"):
        through(engine, toy_network(), toy_data)


@pytest.fixture
def point(toy_data):
    """Return what stands for a point: its task, its data and its side."""
    chain = SimpleNamespace(loaded_task=lambda: TASK, loaded_data=lambda: toy_data)
    return SimpleNamespace(chain=chain, eval_side=8)


def test_metrics_bear_the_engines_name(point, toy_network):
    network = toy_network()
    prepared = Engine(toy_network()).prepared(n_bytes=900, download_bytes=700, int8_weights=54, notes=("a note",))
    found = engine_metrics(prepared, network, point, name="ort.b8", batch=8)
    n_weights = 6 * 9 + 6 * 16 * 4
    assert found.notes == ("a note",)
    assert found.metrics.pop("max_difference/ort.b8") < 1e-5
    accuracy = evaluate(network, point.chain.loaded_data(), "test", task=TASK, side=8).quality
    assert found.metrics == {
        "size_bytes/ort.b8": 900.0,
        "download_bytes/ort.b8": 700.0,
        "accuracy/ort.b8": accuracy,
        "agreement/ort.b8": 1.0,
        "int8_share/ort.b8": pytest.approx(54 / n_weights),
    }


def test_borders_are_those_of_the_layers_that_the_engine_computes_with_integers(point, toy_network):
    network = toy_network()
    prepared = Engine(network).prepared(int8_weights=54, int8_layers=("0",))
    found = engine_metrics(prepared, network, point, name="ort", batch=8).metrics
    # The convolution's maps go into a layer of floats; they are pooled in between.
    assert (found["float_borders/ort"], found["converted_activations/ort"]) == (1, 6 * 64)


def test_what_is_not_known_is_no_metric(point, toy_network):
    found = engine_metrics(Engine(toy_network()).prepared(), toy_network(), point, name="e", batch=4)
    assert found.metrics.keys() == {"accuracy/e", "agreement/e", "max_difference/e"} and found.notes == ()


def test_weights_that_a_mask_holds_at_zero_are_weights(point, toy_network):
    network = toy_network()
    register(network[5], "weight", Mask(torch.zeros(4, 96)))
    prepared = Engine(network).prepared(int8_weights=54 + 384)
    found = engine_metrics(prepared, network, point, name="e", batch=4)
    assert found.metrics["int8_share/e"] == 1.0


@pytest.mark.parametrize(("int8_weights", "n_notes"), [(None, 1), (0, 1), (54, 0)])
def test_other_answers_are_told_unless_integers_computed_them(point, toy_network, int8_weights, n_notes):
    engine = Engine(toy_network(), lambda outputs, images: -outputs)
    found = engine_metrics(engine.prepared(int8_weights=int8_weights), toy_network(), point, name="e", batch=62)
    assert found.metrics["agreement/e"] == 0.0
    assert len(found.notes) == n_notes
    if n_notes:
        assert found.notes[0] == ("of 62 test examples 62 get another answer: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 52 more")


def test_an_engine_without_outputs_has_no_quality_and_says_so(point, toy_network):
    found = engine_metrics(lambda: None, toy_network(), point, name="e", batch=1)
    assert found == Found(metrics={}, notes=("its quality there is not known: the engine gives no outputs",))


def test_what_is_kept_comes_back():
    found = Found(metrics={"accuracy/e": 0.5}, notes=("one", "two"))
    assert Found.of_plain(found.to_plain()) == found


@pytest.mark.parametrize("plain", [None, 3, "text", [], {}, {"metrics": {}}, {"notes": []}])
def test_what_is_something_else_is_none(plain):
    assert Found.of_plain(plain) is None
