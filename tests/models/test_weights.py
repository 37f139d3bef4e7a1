"""Weights put into a network: what fits, what stays fresh, and how names may differ."""

import logging
from typing import ClassVar

import pytest
import torch
from torch import nn

from effbench.data import paths
from effbench.models.weights import load_fitting


def network(n_classes=5, n_layers=1, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)) for _ in range(n_layers)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(3, n_classes))


def same(model, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.fixture(autouse=True)
def said(caplog):
    """Return what was said in lines, once for each test."""
    paths.remark.cache_clear()
    caplog.set_level(logging.WARNING)
    return caplog


class TestFitting:
    def test_a_classifier_for_other_classes_stays_fresh(self):
        source, fresh, fitted = network(5, seed=1).state_dict(), network(4).state_dict(), network(4)
        load_fitting(fitted, source, origin="here")
        for name, tensor in fitted.state_dict().items():
            assert torch.equal(tensor, (fresh if name.startswith("2.") else source)[name])

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda state: state.pop("0.0.weight"), "0.0.weight is missing"),
            (lambda state: state.pop("2.bias"), "2.bias is missing"),
            (lambda state: state.update(extra=torch.zeros(1)), "extra is unknown"),
            (lambda state: state.update({"0.0.bias": torch.zeros(7)}), "0.0.bias is 7, not 3"),
            (lambda state: state.update({"2.weight": torch.zeros(5, 7)}), "2.weight is 5×7, not 5×3"),
            (lambda state: state.update({"0.1.num_batches_tracked": torch.zeros(2)}), "is 2, not a scalar"),
        ],
    )
    def test_anything_else_that_does_not_fit_is_named(self, damage, message):
        state = network().state_dict()
        damage(state)
        with pytest.raises(ValueError, match=f"^weights.pt does not fit Sequential: .*{message}"):
            load_fitting(network(), state, origin="weights.pt")

    def test_only_a_few_tensors_are_named(self):
        state = {f"{name}.other": tensor for name, tensor in network(n_layers=4).state_dict().items()}
        with pytest.raises(ValueError, match=r" and \d+ more$") as caught:
            load_fitting(network(n_layers=4), state, origin="weights.pt")
        assert str(caught.value).count(" is ") == 3

    def test_what_does_not_fit_is_counted_by_kind_and_one_of_each_is_named(self):
        state = network(n_layers=2).state_dict()
        state.update(extra=torch.zeros(1), more=torch.zeros(1))
        state.update({"0.0.bias": torch.zeros(7)})
        del state["0.1.running_mean"]
        with pytest.raises(ValueError, match="1 missing, 2 unknown, 1 of another shape: ") as caught:
            load_fitting(network(n_layers=2), state, origin="w.pt")
        assert all(name in str(caught.value) for name in ("0.1.running_mean", "extra", "0.0.bias is 7, not 3"))

    def test_counts_of_batches_may_be_missing_as_in_old_files(self):
        state = {k: v for k, v in network(seed=1).state_dict().items() if not k.endswith("num_batches_tracked")}
        model = network()
        load_fitting(model, state, origin="old.pt")
        assert torch.equal(model[0][1].weight, state["0.1.weight"])

    def test_whole_numbers_are_no_weights(self):
        state = network().state_dict()
        state["0.0.weight"] = (100 * state["0.0.weight"]).to(torch.int8)
        with pytest.raises(ValueError, match=r"1 of another kind: 0\.0\.weight is int8, not float32"):
            load_fitting(network(), state, origin="w.pt")

    def test_a_network_without_weight_layers_is_loaded_too(self):
        model = nn.Sequential(nn.BatchNorm2d(3))
        load_fitting(model, {"0.weight": torch.full((3,), 2.0), **_rest(model)}, origin="w.pt")
        assert torch.equal(model[0].weight, torch.full((3,), 2.0))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions_are_converted_and_said(self, dtype, said):
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in network(seed=1).state_dict().items()}
        model = network()
        load_fitting(model, state, origin="half.pt")
        assert all(p.dtype == torch.float32 for p in model.parameters())
        assert torch.equal(model[0][0].weight, state["0.0.weight"].float())
        assert f"half.pt: its weights are {str(dtype)[6:]}" in said.text


def _rest(model):
    return {name: tensor for name, tensor in model.state_dict().items() if name != "0.weight"}


class TestClassifier:
    def test_what_stays_fresh_is_said_with_names(self, said):
        fitting = load_fitting(network(4), network(5, seed=1).state_dict(), origin="five.pt")
        assert (fitting.refitted, fitting.n_classes) == (("2.weight", "2.bias"), 5)
        assert "five.pt: is for 5 classes; 2.weight, 2.bias keep fresh values" in said.text

    def test_rows_are_taken_in_their_order(self, said):
        source, model = network(5, seed=1).state_dict(), network(3)
        fitting = load_fitting(model, source, origin="five.pt", rows=[4, 0, 2])
        assert torch.equal(model[2].weight, source["2.weight"][[4, 0, 2]])
        assert torch.equal(model[2].bias, source["2.bias"][[4, 0, 2]])
        assert not fitting.refitted and not said.text

    def test_a_row_beyond_the_classifier_is_refused(self):
        with pytest.raises(ValueError, match="its classifier has 5 rows, and row 5 of it is asked for"):
            load_fitting(network(2), network(5).state_dict(), origin="five.pt", rows=[0, 5])


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.backbone = inner


class TestPrefixes:
    @pytest.mark.parametrize("prefix", ["module.", "model.", "net.", "module.model.", "classifier_net."])
    def test_one_prefix_before_every_name(self, prefix):
        state = {f"{prefix}{name}": tensor for name, tensor in network(seed=1).state_dict().items()}
        model = network()
        load_fitting(model, state, origin="w.pt")
        assert same(model, network(seed=1).state_dict())

    def test_what_lies_beside_the_network_is_left_out_and_said(self, said):
        state = {f"model.{name}": tensor for name, tensor in network(seed=1).state_dict().items()}
        model = network()
        load_fitting(model, {**state, "loss.weight": torch.ones(5), "n_averaged": torch.tensor(3)}, origin="w.ckpt")
        assert same(model, network(seed=1).state_dict())
        assert "left out, as the network has no such tensors: loss.weight, n_averaged" in said.text

    def test_two_networks_that_fit_are_refused(self):
        states = {f"{p}.{k}": v for p in ("teacher", "student") for k, v in network().state_dict().items()}
        with pytest.raises(ValueError, match=r"several networks that would fit, under 'student.' and 'teacher.'"):
            load_fitting(network(), states, origin="w.ckpt")

    def test_a_prefix_and_another_classifier_and_rows(self):
        source = network(5, seed=1).state_dict()
        model = network(2)
        load_fitting(model, {f"module.{k}": v for k, v in source.items()}, origin="w.pt", rows=[3, 1])
        assert torch.equal(model[2].weight, source["2.weight"][[3, 1]])

    def test_a_network_that_wraps_the_files(self):
        model = Wrapped(network())
        load_fitting(model, network(seed=1).state_dict(), origin="w.pt")
        assert same(model.backbone, network(seed=1).state_dict())

    def test_names_that_fit_as_they_are_are_taken_so(self):
        model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.ModuleDict({"a": nn.Linear(2, 2)})})
        state = {name: torch.full_like(tensor, 3.0) for name, tensor in model.state_dict().items()}
        load_fitting(model, state, origin="w.pt")
        assert same(model, state)

    def test_the_nearest_reading_says_what_is_wrong(self):
        state = {f"module.{name}": tensor for name, tensor in network().state_dict().items()}
        del state["module.0.0.bias"]
        with pytest.raises(ValueError, match=r": 1 missing: 0\.0\.bias is missing$"):
            load_fitting(network(), state, origin="w.pt")

    def test_names_that_may_be_ignored(self, said):
        state = {**network(seed=1).state_dict(), "aux1.weight": torch.ones(2)}
        load_fitting(network(), state, origin="w.pt", ignored=("aux1.",))
        assert "left out" in said.text and "aux1.weight" in said.text


class TwoHeads(nn.Module):
    """As distilled networks of timm, which say themselves where they classify."""

    pretrained_cfg: ClassVar = {"classifier": ("head", "head_dist")}

    def __init__(self, n_classes):
        super().__init__()
        self.body, self.head, self.head_dist = nn.Linear(3, 3), nn.Linear(3, n_classes), nn.Linear(3, n_classes)


@pytest.mark.parametrize("rows", [(), (2, 0)])
def test_every_classifier_of_a_network_is_fitted(rows):
    source, model = TwoHeads(4).state_dict(), TwoHeads(2)
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fitting = load_fitting(model, source, origin="two.pt", rows=rows)
    for name in ("head.weight", "head_dist.weight"):
        assert torch.equal(model.state_dict()[name], source[name][list(rows)] if rows else fresh[name])
    assert len(fitting.refitted) == (0 if rows else 4)
    assert torch.equal(model.body.weight, source["body.weight"])
