"""Rounds that end when accuracy breaks, and earlier networks: through the plan, the store and the run."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from effbench.compression.constraints.stack import bake
from effbench.plan.blueprint import Blueprint
from effbench.plan.point import Point
from effbench.plan.sources import load_data
from effbench.plan.chain import Rounds, Until
from effbench.run.rounds import change
from effbench.plan.recipe import lay_out
from effbench.plan.chain import Step
from effbench.run.making import make_model
from effbench.run.store import Store
from effbench.stages.prune import Prune
from effbench.stages.rewind import Rewind
from effbench.stages.train import Train
from effbench.training.evaluation import evaluate

CPU = torch.device("cpu")
STAGES = {
    "train": Train(epochs=3, lr=3e-3, fraction=0.5),
    "prune": Prune(ratio=0.999),
    "finetune": Train(epochs=1, lr=1e-3, fraction=0.5),
    "rewind": Rewind(),
}


def choose(entry, position, n_rounds):
    stage = STAGES[entry]
    return [(entry, stage.at_round(position, n_rounds) if entry == "prune" else stage)]


def steps_of(*entries, rounds=6, **until):
    return lay_out(entries, choose, rounds=rounds, until=Until(**until))


@pytest.fixture
def point():
    data = Blueprint("effbench.data.digits.digits", {"side": 28, "split_seed": 0})
    return Point(
        label="test",
        axes={},
        swept={},
        seed=0,
        network=Blueprint("effbench.models.lenet_300_100", {}),
        data=data,
        fingerprint=load_data(data).fingerprint,
        side=28,
        eval_side=28,
        steps=steps_of("train"),
        coder="none",
        threads=1,
        reference_bytes=1,
        config={},
    )


def with_steps(point, steps):
    return dataclasses.replace(point, steps=steps)


def accuracy(model):
    return evaluate(
        model, load_data(Blueprint("effbench.data.digits.digits", {"side": 28, "split_seed": 0})), "val", side=28
    ).accuracy


def same_bits(one, other):
    one, other = bake(one).state_dict(), bake(other).state_dict()
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def first_layer(model):
    return next(module for module in model.modules() if isinstance(module, nn.Linear))


class Series:
    """Networks of one weight, which says their number; each round makes the next one, of the next accuracy."""

    def __init__(self, *accuracies, weights=None):
        self.accuracies = accuracies
        self.weights = weights or [float(n + 1) for n in range(len(accuracies))]
        self.models = []
        for weight in self.weights:
            model = nn.Linear(1, 1, bias=False)
            nn.init.constant_(model.weight, weight)
            self.models.append(model)
        self.n_run = 0

    def go(self, **until):
        rounds = Rounds(((Step("x", STAGES["finetune"]),),) * (len(self.models) - 1), Until(**until))
        return self.models.index(rounds.go(self.models[0], self._evaluate, self._take))

    def _evaluate(self, model):
        return self.accuracies[self.models.index(model)]

    def _take(self, model, number):
        assert model is self.models[number]
        self.n_run += 1
        return self.models[number + 1]


class TestUntil:
    @pytest.mark.parametrize(
        ("until", "expected", "n_run"),
        [
            ({"max_loss": 0.02}, 2, 3),  # 0.95 is just good enough after 0.97
            ({"max_loss": 0.01}, 1, 2),
            ({"max_loss": 0.1}, 4, 4),
            ({"min_accuracy": 0.96}, 1, 2),
            ({"min_accuracy": 0.99}, 0, 1),  # nothing was good: what entered
            ({"min_accuracy": 0.9, "max_loss": 0.01}, 1, 2),  # the stricter of the two
            ({}, 4, 4),
        ],
    )
    def test_the_last_good_network_comes_back_and_nothing_is_run_after_the_first_bad_one(self, until, expected, n_run):
        series = Series(0.97, 0.965, 0.95, 0.90, 0.97)
        assert series.go(**until) == expected
        assert series.n_run == n_run

    def test_it_ends_when_the_weights_barely_change(self):
        series = Series(*[1.0] * 5, weights=[1.0, 2.0, 2.1, 2.1001, 5.0])
        assert series.go(min_change=0.01) == 3
        assert series.n_run == 3

    def test_the_change_is_that_of_the_weights_in_use(self, toy_data, toy_network, make_context):
        network = toy_network()
        assert change(network, toy_network()) == 0
        pruned = Prune(ratio=0.5).apply(network, make_context(toy_data))
        before = torch.cat([p.detach().flatten() for p in network.parameters()])
        after = torch.cat(
            [bake(pruned).get_parameter(name).detach().flatten() for name, _ in network.named_parameters()]
        )
        expected = float((after - before).norm() / before.norm())
        assert change(network, pruned) == pytest.approx(expected, rel=1e-5)
        assert change(network, toy_network()[:1]) == math.inf

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("max_loss", -0.1),
            ("max_loss", 1.0),
            ("max_loss", math.nan),
            ("min_accuracy", 97.0),
            ("min_accuracy", math.nan),
            ("min_change", 0.0),
            ("min_change", math.inf),
        ],
    )
    def test_what_is_no_bound_is_named(self, option, value):
        with pytest.raises(ValueError, match=f"^{option}={value}: must be"):
            Until(**{option: value})


class TestLayOut:
    def test_rounds_with_an_end_are_one_step_of_the_steps_written_out(self):
        plain = steps_of("train", ["prune", "finetune"], "finetune", rounds=3)
        train, rounds, last = steps_of("train", ["prune", "finetune"], "finetune", rounds=3, max_loss=0.1)
        assert (train, *rounds.steps, last) == plain
        assert str(rounds) == "up to 3 × (prune → finetune)"

    def test_an_end_without_rounds_is_refused(self):
        with pytest.raises(ValueError, match=r"recipe\.until: says when rounds end, and the recipe has none"):
            steps_of("train", "finetune", max_loss=0.1)

    @pytest.mark.parametrize(
        ("to", "entries", "until"),
        [
            ("train", ["rewind", "train"], {}),
            ("finetune", ["train", "rewind", "finetune"], {}),
            ("nowhere", ["train", ["prune", "rewind"]], {"max_loss": 0.1}),
            # How many rounds are taken is not known beforehand: what is inside can't be asked for from outside.
            ("finetune", ["train", ["prune", "finetune"], "rewind"], {"max_loss": 0.1}),
        ],
    )
    def test_a_step_that_is_asked_for_must_be_before(self, monkeypatch, to, entries, until):
        monkeypatch.setitem(STAGES, "rewind", Rewind(to=to))
        with pytest.raises(ValueError, match=f"rewind: asks for the network at '{to}', which is no step before it"):
            steps_of(*entries, rounds=2, **until)

    def test_what_is_before_may_be_asked_for_in_rounds_too(self, monkeypatch):
        monkeypatch.setitem(STAGES, "rewind", Rewind(to="train"))
        assert len(steps_of("train", ["prune", "rewind", "finetune"], rounds=2, max_loss=0.1)) == 2


class TestRun:
    def test_it_stops_at_the_right_round_and_returns_the_last_good_network(self, point, tmp_path, monkeypatch):
        monkeypatch.setattr("effbench.run.one.WORTH_KEEPING_SECONDS", 0.0)
        store = Store(tmp_path)
        ladder = [with_steps(point, steps_of("train", ["prune", "finetune"])[: 1 + 2 * n]) for n in range(7)]
        accuracies = [accuracy(make_model(p, store, device=CPU)[0]) for p in ladder]
        assert accuracies[1] > 0.8 and accuracies[-1] < 0.5
        for floor in (0.85, 0.6):
            n_good = next(n for n, value in enumerate(accuracies) if value < floor) - 1
            chosen = with_steps(point, steps_of("train", ["prune", "finetune"], min_accuracy=floor))
            model = make_model(chosen, Store(tmp_path / str(floor)), device=CPU)[0]
            assert same_bits(model, make_model(ladder[n_good], store, device=CPU)[0])
            assert accuracy(model) >= floor
        never_bad = with_steps(point, steps_of("train", ["prune", "finetune"], max_loss=0.999))
        assert same_bits(make_model(never_bad, store, device=CPU)[0], make_model(ladder[-1], store, device=CPU)[0])

    def test_cached_rounds_give_equal_bits_and_take_no_training(self, point, tmp_path, monkeypatch):
        monkeypatch.setattr("effbench.run.one.WORTH_KEEPING_SECONDS", 0.0)
        chosen = with_steps(point, steps_of("train", ["prune", "finetune"], rounds=3, max_loss=0.2))
        alone, seconds, cached = make_model(chosen, Store(tmp_path / "a"), device=CPU)
        assert seconds > 0 and not cached
        store = Store(tmp_path / "b")
        plain = with_steps(point, steps_of("train", ["prune", "finetune"], rounds=3))
        make_model(plain, store, device=CPU)
        resumed, seconds, cached = make_model(chosen, store, device=CPU)
        assert same_bits(alone, resumed)
        assert seconds == 0 and cached[:3] == ("train", "prune", "finetune")
        again, seconds, cached = make_model(chosen, store, device=CPU)
        assert same_bits(alone, again) and seconds == 0 and cached == tuple(map(str, chosen.steps))

    @pytest.mark.parametrize("to", ["init", "train"])
    def test_an_earlier_network_is_the_same_from_the_store_and_made_anew(self, point, tmp_path, monkeypatch, to):
        monkeypatch.setitem(STAGES, "rewind", Rewind(to=to))
        steps = steps_of("train", ["prune", "rewind", "finetune"], rounds=2)
        early = make_model(with_steps(point, steps[:1] if to == "train" else ()), Store(tmp_path / "c"), device=CPU)[0]
        results = []
        for keep in (0.0, math.inf):
            monkeypatch.setattr("effbench.run.one.WORTH_KEEPING_SECONDS", keep)
            store = Store(tmp_path / str(keep))
            rewound = make_model(with_steps(point, steps[:3]), store, device=CPU)[0]
            before, after = first_layer(early).weight, first_layer(rewound).weight
            assert torch.equal(after, torch.where(after != 0, before, 0.0))
            assert 0.5 < (after == 0).float().mean() < 1
            results.append(make_model(with_steps(point, steps), store, device=CPU)[0])
        assert same_bits(*results)
