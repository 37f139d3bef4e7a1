"""Rounds over models: who is visited when, and what becomes of a model that raises."""

import random

import pytest

from effbench.measure.rounds import WARM_UP_CALLS, sample_rounds, samples_frame


@pytest.fixture
def calls():
    """Return what makes calls of a millisecond that note their names; those in `raising` raise after so many."""

    def make(names, **raising):
        noted = []

        def call(name):
            noted.append(name)
            if noted.count(name) > raising.get(name, float("inf")):
                raise OSError(f"{name} broke")
            return 1e-3

        return {name: lambda name=name: call(name) for name in names}, noted

    return make


def rounds(calls, **options):
    return sample_rounds(calls, **{"seconds": 2e-3, "n_rounds": 2, "generator": random.Random(0), **options})


def test_a_visit_is_a_call_that_is_not_measured_and_then_those_that_are(calls):
    models, noted = calls("ab")
    samples = rounds(models, first_round=20)
    assert noted[: 2 * WARM_UP_CALLS] == ["a"] * WARM_UP_CALLS + ["b"] * WARM_UP_CALLS
    visits = noted[2 * WARM_UP_CALLS :]
    assert [sorted(visits[start : start + 4]) for start in (0, 4)] == [["a", "a", "b", "b"]] * 2
    assert samples == {name: [(name, 20, 1.0), (name, 21, 1.0)] for name in "ab"}


@pytest.mark.parametrize("after", [0, WARM_UP_CALLS, WARM_UP_CALLS + 3])
def test_a_model_that_raises_is_left_out_from_then_on_with_its_samples(calls, after):
    models, noted = calls("abc", b=after)
    errors = []
    samples = rounds(models, on_error=lambda name, error: errors.append((name, str(error))))
    assert errors == [("b", "b broke")]
    assert {name: len(found) for name, found in samples.items()} == {"a": 2, "c": 2}
    assert noted.count("b") == after + 1


def test_without_anybody_to_tell_the_exception_passes(calls):
    models, _ = calls("ab", a=0)
    with pytest.raises(OSError, match="a broke"):
        rounds(models)


def test_every_round_is_told(calls):
    told = []
    rounds(calls("a")[0], n_rounds=4, on_round=told.append)
    assert told == [1, 2, 3, 4]


def test_a_table_of_samples_goes_model_after_model():
    samples = {"b": [("b", 0, 1.0), ("b", 1, 2.0)], "a": [("a", 0, 3.0)]}
    frame = samples_frame(samples, ["a", "none", "b"])
    assert frame.to_numpy().tolist() == [["a", 0, 3.0], ["b", 0, 1.0], ["b", 1, 2.0]]
    assert samples_frame({}, ()).columns.tolist() == ["model", "round", "latency_ms"]
