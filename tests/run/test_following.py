"""A step that trains, followed: nothing of it changes the result, and one that is ended goes on to the bit."""

import logging

import pytest
import torch

from effbench.config.read import read_sweep
from effbench.data.in_memory import InMemoryData
from effbench.measure.compute import count_cost
from effbench.plan.watching import Watching
from effbench.run import checkpoints
from effbench.run.checkpoints import has_checkpoint
from effbench.run.following import TrainingWatch
from effbench.run.making import make_model
from effbench.run.packing import pack, unpack
from effbench.run.store import Store
from effbench.training.trainer import Trainer

CPU = torch.device("cpu")
EACH = Watching(checkpoint=0)
HINTS = ("distill=0.9", "stage.distill.hints=features.relu1:features.relu1", "stage.distill.hint_epochs=1")
KINDS = {
    "mask": ("prune=0.5", "data.augment=crop_flip"),
    "closing mask": ("prune=0.8", "stage.prune.ramp=0.7"),
    "rounds": ("prune=0.8", "recipe.rounds=2", "recipe.until.max_loss=0.9"),
    "hints": HINTS,
    "bfloat16": ("prune=0.5", "train.precision=bfloat16"),
    "depthwise": (
        "prune=0.5",
        "train.precision=float32",
        "model=mobilenet_v1",
        "model.alpha=0.125",
        "train.fraction=0.02",
    ),
}


class Ended(BaseException):
    """The process was ended."""


def make(chain, store, *, after=None, watching=EACH):
    """Make a chain's network; after: so many epochs the process is ended. Return it and what was told."""
    told = []

    def tell(row):
        told.append({name: value for name, value in row.items() if name != "time"})
        if len(told) == after:
            raise Ended

    try:
        return make_model(chain, store, device=CPU, tell=tell, watching=watching), told
    except Ended:
        return None, told


@pytest.fixture(autouse=True)
def each_epoch_is_kept(monkeypatch):
    monkeypatch.setattr(checkpoints, "MOST_SHARE", 1e9)
    monkeypatch.setattr(checkpoints, "_said", set())


@pytest.fixture(scope="module")
def plan_of():
    """Return what plans a chain of a tiny network: three epochs, and two of finetuning."""

    def plan(*arguments):
        given = {a.partition("=")[0] for a in arguments}
        own = ["model.channels=[4,4]", "data.side=8", "train.epochs=3", "finetune.epochs=2", "train.fraction=0.05"]
        own = [a for a in own if a.partition("=")[0] not in given and not ("model" in given and a.startswith("model"))]
        return read_sweep([*own, *arguments]).plan.points[-1].chain

    return plan


@pytest.fixture(scope="module")
def usual(plan_of, tmp_path_factory):
    """Return a chain, its network, and what was told of it."""
    chain = plan_of("prune=0.5")
    return chain, *make(chain, Store(tmp_path_factory.mktemp("usual")))


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_was_ended_goes_on_to_the_bit(kind, plan_of, tmp_path, same_bits):
    chain = plan_of(*KINDS[kind])
    whole, rows = make(chain, Store(tmp_path / "whole"), watching=Watching(checkpoint=None))
    for after in [2, len(rows) - 1] if kind == "mask" else [len(rows) - 1 - (kind == "rounds")]:
        store = Store(tmp_path / str(after))
        none, _ = make(chain, store, after=after)
        assert none is None
        again, told = make(chain, store)
        assert same_bits(whole.model, again.model)
        assert whole.findings == again.findings  # the most memory that was in use, too
        assert whole.findings.spent.metrics["train_macs"] == again.findings.spent.metrics["train_macs"]
        assert [(r["step"], r["epoch"], r["loss"], r["lr"]) for r in told] == [
            (r["step"], r["epoch"], r["loss"], r["lr"]) for r in rows
        ]
        assert not list((store.root / "entries" / "checkpoints").iterdir())


@pytest.mark.extended
def test_only_the_missing_epochs_are_trained_on_the_batches_that_they_would_have_had(plan_of, tmp_path, monkeypatch):
    chain, seen = plan_of("prune=0.5", "data.augment=crop_flip"), []
    batches = InMemoryData._batches

    def watched(data, wanted):
        for images, targets in batches(data, wanted):
            if wanted.split == "train" and wanted.generator is not None:
                seen.append(hash((images.numpy().tobytes(), targets.numpy().tobytes())))
            yield images, targets

    monkeypatch.setattr(InMemoryData, "_batches", watched)
    make(chain, Store(tmp_path / "whole"))
    whole, n_epoch = list(seen), len(seen) // 5
    store = Store(tmp_path / "ended")
    make(chain, store, after=3)  # the third is lost: its end is told before it is kept
    seen.clear()
    make(chain, store)
    assert seen == whole[2 * n_epoch :]
    assert len(set(whole)) == len(whole)


@pytest.mark.parametrize("curves", ["none", "validation"])
def test_curves_change_nothing(curves, usual, tmp_path, same_bits):
    chain, usual, rows = usual
    other, told = make(chain, Store(tmp_path / "other"), watching=Watching(curves=curves, checkpoint=None))
    assert same_bits(usual.model, other.model)
    assert usual.findings == other.findings
    assert usual.findings.spent.metrics["train_macs"] == other.findings.spent.metrics["train_macs"]
    if curves == "none":
        assert not told and not other.findings.curves
    else:
        assert [{name: value for name, value in row.items() if not name.endswith("_val")} for row in told] == rows
        assert all(0 <= row["accuracy_val"] <= 1 and row["loss_val"] > 0 for row in told)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert {row["curve"] for row in rows} == {"train", "finetune"}
    assert all(0 <= row["accuracy"] <= 1 for row in rows)


def test_a_kept_prefix_has_its_curves_and_what_it_took(plan_of, tmp_path, everything_is_kept):
    store, chain = Store(tmp_path), plan_of("prune=0.5")
    first, rows = make(chain, store)
    again, told = make(chain, store)
    assert told == rows
    assert again.seconds == 0
    assert again.findings.spent == first.findings.spent
    assert again.findings.spent.metrics["train_seconds_total"] == pytest.approx(first.seconds)


@pytest.mark.extended
def test_parts_of_a_step_have_curves_of_their_own(plan_of, tmp_path):
    _, rows = make(plan_of(*HINTS), Store(tmp_path))
    assert [(row["curve"], row["epoch"]) for row in rows[:3]] == [("distill/hints", 1), ("distill", 2), ("distill", 3)]
    assert "accuracy" not in rows[0] and "accuracy" in rows[1]


@pytest.mark.extended
def test_multiply_adds_are_those_of_the_passes(plan_of, tmp_path):
    chain = plan_of("prune=0.5")
    spent = make(chain, Store(tmp_path))[0].findings.spent
    macs = count_cost(chain.fresh_network(), (1, 8, 8)).macs
    n_examples = round(0.05 * chain.loaded_data().n_examples("train"))
    assert spent.own["train"]["macs"] == 3 * macs * n_examples * 3
    assert spent.own["finetune"]["macs"] == 3 * macs * n_examples * 2
    assert spent.own["prune"]["macs"] == 0


@pytest.mark.extended
def test_the_training_of_a_teacher_goes_on_as_well(plan_of, tmp_path, monkeypatch, same_bits):
    chain, save, n_steps = plan_of("distill=0.5"), TrainingWatch.save, []
    whole, _ = make(chain, Store(tmp_path / "whole"))

    def save_and_end(watch, state):
        save(watch, state)
        if watch.n_epochs == 2:
            raise Ended

    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda *arguments: n_steps.append(1) or step(*arguments))
    with monkeypatch.context() as patch:
        patch.setattr(TrainingWatch, "save", save_and_end)
        make(chain, Store(tmp_path / "ended"))
    assert len(n_steps) == 2 * 3  # of the teacher, which is trained first
    again, _ = make(chain, Store(tmp_path / "ended"))
    assert len(n_steps) == 2 * (3 + 2) * 3
    assert same_bits(whole.model, again.model)
    assert again.findings.spent.metrics["teacher_macs"] == whole.findings.spent.metrics["teacher_macs"] > 0


def spoiled(how, store):
    (path,) = (store.root / "entries" / "checkpoints").iterdir()
    name, content = f"checkpoints/{path.name}", path.read_bytes()[32:]
    if how == "damaged":
        path.write_bytes(path.read_bytes()[:-1])
        return
    kept = unpack(content)
    state = kept["state"]
    if how == "another network":
        state["model"] = {name: tensor[:1] if tensor.ndim else tensor for name, tensor in state["model"].items()}
    elif how == "bad random state":
        state["torch_random"] = state["torch_random"][:-1]
    elif how == "no optimiser":
        del state["optimizer"]
    elif how == "other groups":
        state["optimizer"]["param_groups"] = state["optimizer"]["param_groups"][:1]
    elif how == "no rows":
        del kept["rows"]
    store.put(name, pack(kept))


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    "how", ["damaged", "another network", "bad random state", "no optimiser", "other groups", "no rows"]
)
def test_a_checkpoint_that_does_not_fit_is_said_and_the_step_begins_anew(how, usual, tmp_path, same_bits, caplog):
    (chain, whole, _), store = usual, Store(tmp_path)
    make(chain, store, after=3)
    spoiled(how, store)
    with caplog.at_level(logging.WARNING):
        again, told = make(chain, store)
    assert same_bits(whole.model, again.model)
    assert whole.findings == again.findings
    assert [row["epoch"] for row in told] == [1, 2, 3, 4, 5]
    assert len(caplog.records) == 1 and "checkpoints/" in caplog.text
    assert not has_checkpoint(chain.prefix_keys[1], store)


def test_a_full_disk_ends_no_training(usual, tmp_path, same_bits, monkeypatch, caplog):
    (chain, whole, _), put = usual, Store.put

    def full(store, name, content):
        if name.startswith("checkpoints/"):
            raise OSError(28, "No space left on device")
        put(store, name, content)

    monkeypatch.setattr(Store, "put", full)
    made, _ = make(chain, Store(tmp_path))
    assert same_bits(whole.model, made.model)
    assert len(caplog.records) == 1 and "No space left" in caplog.text


def test_a_training_that_diverges_tells_of_the_epoch_in_which_it_did(plan_of, tmp_path):
    chain, told = plan_of("prune=0.5", "train.lr=1e30"), []
    store = Store(tmp_path)
    with pytest.raises(FloatingPointError, match="a lower lr may help"):
        make_model(chain, store, device=CPU, tell=told.append, watching=EACH)
    assert told and not torch.isfinite(torch.tensor(told[-1]["loss"]))
    assert told[-1]["lr"] > 0
