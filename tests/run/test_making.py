"""A chain's network, made: the same bits from the store and made anew, in rounds, and with a teacher."""

import copy
import dataclasses
import math
from typing import ClassVar

import pytest
import torch
from torch import nn

from effbench.plan.chain import Step, Until
from effbench.plan.recipe import lay_out
from effbench.plan.stage import Stage
from effbench.run.making import make_model
from effbench.run.store import Store
from effbench.stages.distill import Distill
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


def make(chain, store):
    return make_model(chain, store, device=CPU)


def first_layer(model):
    return next(module for module in model.modules() if isinstance(module, nn.Linear))


class TestRounds:
    @pytest.mark.extended
    def test_it_stops_at_the_right_round_and_returns_the_last_good_network(
        self, make_chain, tmp_path, same_bits, everything_is_kept
    ):
        store = Store(tmp_path)
        ladder = [make_chain(steps_of("train", ["prune", "finetune"])[: 1 + 2 * n]) for n in range(7)]
        models = [make(chain, store).model for chain in ladder]
        accuracies = [accuracy(chain, model) for chain, model in zip(ladder, models, strict=True)]
        assert accuracies[1] > 0.8 and accuracies[-1] < 0.5
        for floor in (0.85, 0.6):
            n_good = next(n for n, value in enumerate(accuracies) if value < floor) - 1
            chosen = make_chain(steps_of("train", ["prune", "finetune"], min_accuracy=floor))
            model = make(chosen, Store(tmp_path / str(floor))).model
            assert same_bits(model, models[n_good])
            assert accuracy(chosen, model) >= floor
        never_bad = make_chain(steps_of("train", ["prune", "finetune"], max_loss=0.999))
        assert same_bits(make(never_bad, store).model, models[-1])

    @pytest.mark.extended
    def test_cached_rounds_give_equal_bits_and_take_no_training(
        self, make_chain, tmp_path, same_bits, everything_is_kept
    ):
        chosen = make_chain(steps_of("train", ["prune", "finetune"], rounds=3, max_loss=0.2))
        alone = make(chosen, Store(tmp_path / "a"))
        assert alone.seconds > 0 and not alone.cached
        store = Store(tmp_path / "b")
        make(make_chain(steps_of("train", ["prune", "finetune"], rounds=3)), store)
        resumed = make(chosen, store)
        assert same_bits(alone.model, resumed.model)
        assert resumed.seconds == 0 and resumed.cached[:3] == ("train", "prune", "finetune")
        again = make(chosen, store)
        assert same_bits(alone.model, again.model)
        assert again.seconds == 0 and again.cached == tuple(map(str, chosen.steps))

    @pytest.mark.extended
    def test_how_far_they_came_and_why_no_further_is_found(self, tmp_path, tiny_points, everything_is_kept):
        _, point = tiny_points("prune=0.9375", "recipe.rounds=4", "recipe.until.min_accuracy=1.0")
        reference, none = (make(one.chain, Store(tmp_path)).findings for one in (_, point))
        assert (none.words["stopped_by"], none.metrics["rounds_done"], none.metrics["prune_reached"]) == ("floor", 0, 0)
        _, point = tiny_points("prune=0.9375", "recipe.rounds=4", "recipe.until.max_loss=0.999")
        all_of_them = make(point.chain, Store(tmp_path)).findings
        assert (all_of_them.words["stopped_by"], all_of_them.metrics["rounds_done"]) == ("none", 4)
        assert all_of_them.metrics["prune_reached"] == pytest.approx(0.9375)
        assert reference.words["stopped_by"] == "best" and 0 <= reference.metrics["rounds_done"] <= 4

    @pytest.mark.extended
    def test_what_a_bad_round_took_counts_as_well(self, make_chain, tmp_path):
        impossible = make(make_chain(steps_of("train", ["prune", "finetune"], min_accuracy=1.0)), Store(tmp_path))
        alone = make(make_chain(steps_of("train")), Store(tmp_path / "alone"))
        assert torch.equal(first_layer(impossible.model).weight, first_layer(alone.model).weight)
        assert impossible.findings.peaks["train_memory_mb"] >= alone.findings.peaks["train_memory_mb"]
        assert impossible.seconds > 0

    @pytest.mark.extended
    def test_their_steps_find_the_same_however_often(self, tmp_path, tiny_points, everything_is_kept):
        store = Store(tmp_path)
        _, point = tiny_points("prune=0.5", "recipe.rounds=2", "recipe.until.max_loss=0.9")
        first, again = make(point.chain, store), make(point.chain, store)
        assert len(again.cached) == len(point.chain.steps)
        assert first.findings == again.findings
        assert first.findings.peaks["train_memory_mb"] > 0


def accuracy(chain, model):
    return evaluate(model, chain.loaded_data(), "val", task=chain.loaded_task(), side=chain.side).quality


class TestSnapshots:
    @pytest.mark.extended
    @pytest.mark.parametrize("to", ["init", "train"])
    def test_an_earlier_network_is_the_same_from_the_store_and_made_anew(
        self, make_chain, tmp_path, monkeypatch, to, same_bits
    ):
        monkeypatch.setitem(STAGES, "rewind", Rewind(to=to))
        steps = steps_of("train", ["prune", "rewind", "finetune"], rounds=2)
        early = make(make_chain(steps[:1] if to == "train" else ()), Store(tmp_path / "c")).model
        results = []
        for keep in (0.0, math.inf):
            monkeypatch.setattr("effbench.run.making.WORTH_KEEPING_SECONDS", keep)
            store = Store(tmp_path / str(keep))
            rewound = make(make_chain(steps[:3]), store).model
            before, after = first_layer(early).weight, first_layer(rewound).weight
            assert torch.equal(after, torch.where(after != 0, before, 0.0))
            assert 0.5 < (after == 0).float().mean() < 1
            results.append(make(make_chain(steps), store).model)
        assert same_bits(*results)

    def test_init_is_behind_what_draws_weights_at_the_beginning(self, make_chain, tmp_path):
        drawn, later = Step("drawing", Drawing()), Step("drawing", Drawing(), 1)
        train, rewind = (step for step in steps_of("train", "rewind"))
        early = make(make_chain([drawn]), Store(tmp_path / "c")).model
        rewound = make(make_chain([drawn, train, later, rewind]), Store(tmp_path)).model
        assert torch.equal(first_layer(rewound).weight, first_layer(early).weight)
        assert not torch.equal(first_layer(early).weight, first_layer(make_chain().fresh_network()).weight)

    def test_a_step_that_is_not_before_is_named(self, make_chain, tmp_path):
        chain = make_chain(
            dataclasses.replace(step, stage=Asking(name=name))
            for step, name in zip(steps_of("train", "finetune"), ("init", "nowhere"), strict=True)
        )
        with pytest.raises(ValueError, match=r"^nowhere: is no step before; there are init, train$"):
            make(chain, Store(tmp_path))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing(Stage):
    VERSION: ClassVar[int] = 1
    DRAWS_WEIGHTS: ClassVar[bool] = True

    def apply(self, model, context, /):
        drawn = copy.deepcopy(model)
        nn.init.normal_(first_layer(drawn).weight, generator=context.generator())
        return drawn


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asking(Stage):
    """Asks for an earlier network, which it does not say beforehand, and notes what its context offers."""

    VERSION: ClassVar[int] = 1
    name: str

    def apply(self, model, context, /):
        made = context.snapshot(self.name)
        kept = context.keep("sum", lambda: torch.tensor([sum(float(p.detach().sum()) for p in made.parameters())]))
        context.findings.note(f"sum/{context.step}", float(kept))
        context.findings.note(f"quality/{context.step}", context.evaluate(model))
        context.findings.note(f"macs/{context.step}", context.cost(model).macs)
        context.findings.note(f"loss/{context.step}", context.validate(model).loss)
        if context.progress is not None:
            context.progress(1, 2)
        return made


class TestContext:
    def test_a_stage_gets_what_it_asks_for_and_the_run_what_it_found(self, make_chain, tmp_path):
        told = []
        steps = [dataclasses.replace(step, stage=Asking(name="init")) for step in steps_of("train", "finetune")]
        chain = make_chain(steps)
        made = make_model(chain, Store(tmp_path), device=CPU, progress=lambda *step: told.append(step))
        assert told == [("train", 1, 2), ("finetune", 1, 2)]
        found = made.findings.metrics
        assert found["macs/train"] == 784 * 300 + 300 * 100 + 100 * 10
        assert found["quality/train"] == accuracy(chain, chain.fresh_network())
        assert found["loss/train"] > 1
        # Kept for the network that the stage is given, under a name: the same one for both, made by either.
        tensors = list((tmp_path / "entries" / "tensors").iterdir())
        assert sorted(path.name for path in tensors) == sorted(f"{key}-sum" for key in chain.prefix_keys[:2])

    def test_a_network_that_another_process_made_meanwhile_is_taken(self, make_chain, tmp_path, everything_is_kept):
        store, chain = Store(tmp_path), make_chain(steps_of("train"))
        looked, has_model = [], Store.has_model

        class Slow(Store):
            def has_model(self, key):
                looked.append(key)
                if len(looked) == 2:  # the first time it was not there; now it has the lock
                    make(chain, store)
                return has_model(self, key)

            def lock(self, key, **options):
                return Store(tmp_path / "other").lock(key, **options)

        made = make(chain, Slow(tmp_path))
        assert made.cached == ("train",)
        assert made.seconds == 0
        assert made.findings.peaks["train_memory_mb"] > 0


class TestTeacher:
    @pytest.fixture
    def taught(self, make_chain):
        """Return a chain whose only step learns from a teacher that was trained for three epochs."""
        step = steps_of("train")[0]
        stage = Distill(epochs=1, lr=1e-3, fraction=0.05, weight=1.0)
        return make_chain([dataclasses.replace(step, name="distill", stage=stage, teacher=make_chain([step]))])

    def test_making_it_and_its_labels_is_no_part_of_the_students_time(self, taught, tmp_path, monkeypatch):
        clock = [0.0]
        monkeypatch.setattr("effbench.run.stopwatch.time.perf_counter", lambda: clock[0])
        apply = Train.apply

        def slow(stage, model, context, /):
            clock[0] += 1000
            return apply(stage, model, context)

        monkeypatch.setattr(Train, "apply", slow)
        assert make(taught, Store(tmp_path)).seconds == 0
        assert clock[0] == 1000

    @pytest.mark.extended
    def test_its_labels_are_kept_for_the_next_student(self, taught, tmp_path, same_bits):
        store = Store(tmp_path)
        one = make(taught, store).model
        assert len(list((tmp_path / "entries" / "tensors").iterdir())) == 1
        assert same_bits(one, make(taught, Store(tmp_path / "cold")).model)

    def test_a_step_without_one_that_learns_from_one_is_an_error(self, taught, make_chain, tmp_path):
        orphan = dataclasses.replace(taught.steps[0], teacher=None)
        with pytest.raises(ValueError, match="distill: learns from a teacher, and its recipe gives it none"):
            make(make_chain([orphan]), Store(tmp_path))


@pytest.mark.extended
def test_a_run_has_what_its_kept_steps_found(tmp_path, tiny_points, everything_is_kept):
    store = Store(tmp_path)
    reference, pruned = (point.chain for point in tiny_points("prune=0.5"))
    first, second = make(reference, store), make(pruned, store)
    assert "train" in second.cached and "finetune" not in second.cached
    assert second.findings.peaks["train_memory_mb"] >= first.findings.peaks["train_memory_mb"] > 0
    fresh = make(pruned, Store(tmp_path / "other"))
    assert fresh.findings == second.findings
    whole = make(pruned, store)
    assert len(whole.cached) == 3 and whole.seconds == 0
    assert whole.findings.peaks == second.findings.peaks


class TestFindings:
    @pytest.fixture
    def chain(self, make_chain):
        """Return a chain whose last step finds something, and the one before it too."""
        steps = steps_of("train", "finetune")
        noting = dataclasses.replace(steps[1], name="noting", stage=Asking(name="init"))
        return make_chain([steps[0], noting, steps[1]])

    @pytest.mark.extended
    def test_those_of_quick_steps_are_kept_with_the_next_network(self, chain, tmp_path, monkeypatch):
        fresh = make(chain, Store(tmp_path / "fresh")).findings
        monkeypatch.setattr("effbench.run.making.WORTH_KEEPING_SECONDS", math.inf)
        store = Store(tmp_path)
        assert make(chain, store).findings == fresh
        assert not (tmp_path / "entries" / "models").exists()
        monkeypatch.setattr("effbench.run.making.WORTH_KEEPING_SECONDS", 0.0)
        make(chain, store)
        for key in chain.prefix_keys[1:-1]:  # the last entry alone has them all
            (tmp_path / "entries" / "models" / key).unlink()
        kept = make(chain, store)
        assert len(kept.cached) == 3
        assert kept.findings == fresh

    def keep_as_before(self, chain, store):
        """Keep a chain's networks as earlier versions did: what each step found in an entry of its own."""
        made = make(chain, Store(store.root / "now"))
        for number in range(1, len(chain.prefix_keys)):
            part = dataclasses.replace(chain, steps=chain.steps[:number])
            store.put_model(part.key, make(part, Store(store.root / "now")).model)
            found = make(part, Store(store.root / "now")).findings
            store.put_json(f"findings/{part.key}", found.to_plain())
        return made.findings

    def test_a_store_of_an_earlier_version_is_read(self, chain, tmp_path, everything_is_kept):
        store = Store(tmp_path)
        found = self.keep_as_before(chain, store)
        kept = make(chain, store)
        assert kept.seconds == 0
        assert kept.findings == found

    @pytest.mark.matrix(fast=1)
    @pytest.mark.parametrize("damaged", [1, 2, 3])
    def test_where_they_are_damaged_the_step_runs_again(self, chain, tmp_path, everything_is_kept, damaged):
        store = Store(tmp_path)
        found = self.keep_as_before(chain, store)
        path = tmp_path / "entries" / "findings" / chain.prefix_keys[damaged]
        path.write_bytes(path.read_bytes()[:-4])
        again = make(chain, store)
        assert len(again.cached) == damaged - 1
        assert again.findings == found
        assert len(make(chain, store).cached) == 3  # and has them now

    def test_within_rounds_each_network_has_what_was_found_before_them(self, make_chain, tmp_path, everything_is_kept):
        steps = steps_of("train", ["prune", "finetune"], rounds=2, max_loss=0.999)
        noting = dataclasses.replace(steps[0], name="noting", stage=Asking(name="init"))
        chosen = make_chain([steps[0], noting, *steps[1:]])
        fresh = make(chosen, Store(tmp_path)).findings
        assert "sum/noting" in fresh.metrics
        written = make_chain([steps[0], noting, *chosen.steps[-1].steps])
        kept = make(written, Store(tmp_path))
        assert len(kept.cached) == len(written.steps)
        assert kept.findings.metrics["sum/noting"] == fresh.metrics["sum/noting"]
        assert "rounds_done" not in kept.findings.metrics
