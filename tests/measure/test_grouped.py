"""More models than memory holds: groups, each with its references."""

from contextlib import contextmanager
from functools import partial

import pandas as pd
import pytest

from effbench.measure import grouped
from effbench.measure.grouped import sample_in_groups
from effbench.measure.latency import sample_latency, summarise_latency

EACH = 400 + 4 * 3
"""Bytes of a model and of its input."""
OPTIONS = {"seconds": 0.04, "n_rounds": 5}


@pytest.fixture
def sample(make_bench, make_timed):
    """Return what samples models by name and milliseconds in so many bytes, and the bench that was used."""

    def make(models, memory, *, references, refuses=(), breaks=None, **options):
        bench = make_bench(refuses, breaks)
        found = sample_in_groups(
            {name: partial(make_timed, milliseconds) for name, milliseconds in models.items()},
            dict.fromkeys(models, (3,)),
            references=references,
            memory=memory,
            engine=bench,
            clock=bench.clock,
            **{**OPTIONS, **options},
        )
        return found, bench

    return make


def groups_of(samples):
    """Return the models of each group, by its rounds."""
    numbers = samples["round"] // OPTIONS["n_rounds"]
    return [sorted(samples["model"][numbers == number].unique()) for number in sorted(numbers.unique())]


MODELS = {"p": 3.0, "r": 8.0, "q": 2.0, "s": 1.0, "t": 5.0}
TO_R = dict.fromkeys(MODELS, "r")


def test_where_all_fit_the_rounds_are_those_of_sample_latency(sample, make_bench, make_timed):
    found, bench = sample(MODELS, len(MODELS) * EACH, references=TO_R)
    plain = make_bench()
    models = {name: make_timed(milliseconds) for name, milliseconds in MODELS.items()}
    expected = sample_latency(models, (3,), engine=plain, clock=plain.clock, **OPTIONS)
    pd.testing.assert_frame_equal(found.samples, expected, check_exact=True)
    assert bench.calls == plain.calls
    assert not found.failures


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize(
    ("n_fit", "expected"),
    [
        (5, ["pqrst"]),
        (4, ["pqrs", "rt"]),
        (3, ["pqr", "rst"]),
        (2, ["pr", "qr", "rs", "rt"]),
        (1, ["pr", "qr", "rs", "rt"]),
        (0, ["pr", "qr", "rs", "rt"]),
    ],
)
def test_groups_hold_as_many_as_fit_each_with_the_reference(sample, n_fit, expected):
    found, bench = sample(MODELS, n_fit * EACH, references=TO_R)
    assert groups_of(found.samples) == [sorted(names) for names in expected]
    assert bench.most_alive == min(5, max(2, n_fit) + 1)  # and one more, while it is prepared
    assert bench.alive == 0
    counts = found.samples.groupby("model")["round"].nunique()
    assert counts.drop("r").eq(OPTIONS["n_rounds"]).all()
    assert counts["r"] == len(expected) * OPTIONS["n_rounds"]
    assert found.samples["model"].drop_duplicates().tolist() == list(MODELS)


def test_speed_ups_come_from_the_rounds_of_their_own_group(sample):
    found, _ = sample(MODELS, 2 * EACH, references=TO_R)
    slowed = found.samples.assign(
        # the machine takes three times as long from the second group on
        latency_ms=found.samples["latency_ms"].where(found.samples["round"] < 5, found.samples["latency_ms"] * 3)
    )
    summary = summarise_latency(slowed, reference="r").set_index("model")
    assert summary["speedup"].to_dict() == pytest.approx({name: 8 / value for name, value in MODELS.items()})
    assert summary["speedup_low"].to_dict() == pytest.approx(summary["speedup"].to_dict())
    assert summary["latency_ms"]["r"] == pytest.approx(24.0)  # of all its rounds


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("n_fit", range(1, 8))
def test_each_model_is_in_a_group_with_its_own_reference(sample, n_fit):
    models = {"a": 1.0, "b": 2.0, "a1": 3.0, "b1": 4.0, "a2": 5.0, "lone": 6.0, "b2": 7.0}
    references = {"a": "a", "a1": "a", "a2": "a", "b": "b", "b1": "b", "b2": "b", "lone": "gone"}
    found, _ = sample(models, n_fit * EACH, references=references)
    groups = groups_of(found.samples)
    for name in models:
        home = [group for group in groups if name in group]
        assert home and (references[name] == "gone" or all(references[name] in group for group in home))
    assert all(len(group) <= max(2, n_fit) for group in groups)


def test_a_model_that_can_not_be_prepared_or_run_is_named_and_the_others_are_measured(sample):
    found, _ = sample(MODELS, 2 * EACH, references=TO_R, refuses=(2.0,), breaks={1.0: 7})
    assert found.failures == {"q": "RuntimeError: can't be converted", "s": "ValueError: broke"}
    assert found.samples["model"].drop_duplicates().tolist() == ["p", "r", "t"]


@pytest.mark.parametrize("options", [{"refuses": (8.0,)}, {"breaks": {8.0: 0}}, {"breaks": {8.0: 14}}])
def test_without_its_reference_the_models_are_measured(sample, options):
    found, _ = sample(MODELS, 2 * EACH, references=TO_R, **options)
    assert list(found.failures) == ["r"]
    assert found.samples["model"].drop_duplicates().tolist() == ["p", "q", "s", "t"]


def test_where_nothing_can_be_measured_there_are_no_samples(sample):
    found, _ = sample({"p": 1.0}, EACH, references={}, refuses=(1.0,))
    assert found.samples.empty and list(found.failures) == ["p"]


@pytest.mark.parametrize("n_fit", [2, 5])
def test_progress_goes_from_nothing_to_all(sample, n_fit):
    told = []
    sample(MODELS, n_fit * EACH, references=TO_R, on_progress=told.append)
    assert told == sorted(told) and told[0] > 0 and told[-1] == pytest.approx(1.0)


def test_each_model_is_shown_with_what_the_engine_made_of_it_before_anything_is_timed(sample):
    shown = []

    def inspect(name, model, prepared):
        shown.append((name, model.milliseconds, prepared.milliseconds))
        assert not prepared.bench.calls
        if name == "q":
            raise ValueError("its accuracy there is nan")

    found, _ = sample(MODELS, len(MODELS) * EACH, references=TO_R, inspect=inspect)
    assert sorted(shown) == sorted((name, value, value) for name, value in MODELS.items())
    assert found.failures == {"q": "ValueError: its accuracy there is nan"}
    assert found.samples["model"].drop_duplicates().tolist() == ["p", "r", "s", "t"]


def test_the_process_is_held_to_its_cores_and_others_are_watched_while_models_are_timed(sample, monkeypatch):
    events = []

    @contextmanager
    def note(what):
        events.append(f"{what} begins")
        yield
        events.append(f"{what} ends")

    class Watch:
        cores_busy = 1.25

        def watching(self):
            return note("watching")

    monkeypatch.setattr(grouped, "held_to", lambda n_cores: note(f"held to {n_cores}"))
    monkeypatch.setattr(grouped, "OthersWatch", Watch)
    found, _ = sample(
        MODELS, 2 * EACH, references=TO_R, threads=2, inspect=lambda name, *_: events.append(f"{name} is there")
    )
    assert found.others_busy == 1.25
    timed = ["held to 2 begins", "watching begins", "watching ends", "held to 2 ends"]
    held = [event for event in events if "there" not in event]
    assert held == timed * 4
    first = events.index(timed[0])
    assert events[first : first + 4] == timed  # nothing is prepared meanwhile
