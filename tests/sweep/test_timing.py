"""The latency pass: once per engine, batch and number of threads, for all runs together; kept by what it measured."""

import dataclasses
import gzip
import io

import pandas as pd
import pytest

from effbench.measure.grouped import GroupedSamples
from effbench.sweep import kept_passes, passes, timing
from effbench.sweep.passes import Flushed
from effbench.sweep.timing import TIMES, Listener, is_measured, kept_latencies, measure_points


@pytest.fixture
def measured(here, monkeypatch):
    """Have each model take 2 ms where it is a reference, else 1 ms; return what was asked for."""
    asked = []

    def sample(models, sizes, *, engine, threads, batch, seconds, **others):
        asked.append({"models": list(models), "sizes": dict(sizes), "threads": threads, "batch": batch, "s": seconds})
        asked[-1] |= others
        rows = [(key, number, 2.0 if key in references else 1.0) for number in range(3) for key in models]
        return GroupedSamples(samples=pd.DataFrame(rows, columns=["model", "round", "latency_ms"]), failures={})

    references = set()
    monkeypatch.setattr(passes, "sample_in_groups", sample)
    monkeypatch.setattr(kept_passes, "describe_machine", lambda: "a machine")
    return references, asked


@pytest.mark.extended
def test_every_run_has_its_latency_and_its_speedup_over_its_own_reference(measured, store, tiny_sweep):
    references, asked = measured
    sweep = tiny_sweep("prune=0.5", "train.lr=0.001,0.002")
    points = sweep.plan.points
    references |= {point.key for point in points if point.is_reference}
    found = measure_points(points, sweep, store)
    assert set(found) == {point.key for point in points}
    for point in points:
        speedup = 1.0 if point.is_reference else 2.0
        latency = 2.0 / speedup
        assert found[point.key] == {
            "latency_ms/eager": latency,
            "latency_ms_p90/eager": latency,
            "latency_ms_p99/eager": latency,
            "latency_ms_spread/eager": 0.0,
            "speedup/eager": speedup,
            "speedup_low/eager": speedup,
            "speedup_high/eager": speedup,
        }
    assert asked[0]["references"] == {point.key: point.reference_key or point.key for point in points}
    (one_pass,) = asked  # all of them in turn: a noisy moment disturbs every one alike
    assert one_pass["models"] == [point.key for point in points]
    assert set(one_pass["sizes"].values()) == {(1, 8, 8)}


def test_batches_and_threads_are_told_in_the_name_where_they_are_not_one(measured, store, tiny_sweep):
    sweep = tiny_sweep("measure.batch=1,8", "measure.threads=1,2", "measure.seconds=3")
    (found,) = measure_points(sweep.plan.points, sweep, store).values()
    suffixes = ("eager", "eager.t2", "eager.b8", "eager.b8.t2")
    assert list(found) == [
        f"{kind}/{name}"
        for name in suffixes
        for kind in (*TIMES, "speedup", "speedup_low", "speedup_high", *(["throughput"] if "b8" in name else []))
    ]
    assert found["throughput/eager.b8"] == 8 * 1000 / found["latency_ms/eager.b8"]  # examples a second
    (kept,) = kept_latencies(sweep.plan.points, sweep, store).values()
    assert kept == found
    assert [(one["batch"], one["threads"], one["s"]) for one in measured[1]] == [
        *((1, 1, 3.0), (1, 2, 3.0), (8, 1, 3.0), (8, 2, 3.0)),
    ]


def test_what_was_measured_of_the_same_runs_is_kept(measured, store, monkeypatch, tiny_sweep):
    sweep, (_, asked) = tiny_sweep("prune=0.5"), measured
    first = measure_points(sweep.plan.points, sweep, store)
    assert measure_points(tuple(reversed(sweep.plan.points)), sweep, store) == first
    assert len(asked) == 1
    changes = [
        (sweep.plan.points[:1], sweep),
        (sweep.plan.points, dataclasses.replace(sweep, measure=dataclasses.replace(sweep.measure, seconds=9.0))),
    ]
    for points, changed in changes:
        measure_points(points, changed, store)
    monkeypatch.setattr(kept_passes, "describe_machine", lambda: "another machine")
    measure_points(sweep.plan.points, sweep, store)
    monkeypatch.setattr(kept_passes, "VERSION", 99)
    measure_points(sweep.plan.points, sweep, store)
    assert len(asked) == 5


def test_what_a_disturbed_pass_measured_is_told_but_not_kept(measured, store, monkeypatch, tiny_sweep):
    sweep, (_, asked) = tiny_sweep("prune=0.5"), measured
    quiet = passes.sample_in_groups

    def disturbed(models, sizes, **options):
        samples = quiet(models, sizes, **options).samples
        samples["latency_ms"] = [(1.0, 1.0, 21.0)[number] for number in samples["round"]]
        return GroupedSamples(samples=samples, failures={})

    monkeypatch.setattr(passes, "sample_in_groups", disturbed)
    found = measure_points(sweep.plan.points, sweep, store)
    assert {metrics["latency_ms/eager"] for metrics in found.values()} == {1.0}
    monkeypatch.setattr(passes, "sample_in_groups", quiet)
    again = measure_points(sweep.plan.points, sweep, store)
    assert again != found and len(asked) == 2
    assert measure_points(sweep.plan.points, sweep, store) == again and len(asked) == 2


def test_without_its_reference_a_run_has_no_speedup(measured, store, tiny_sweep):
    sweep = tiny_sweep("prune=0.5,0.9")
    found = measure_points([point for point in sweep.plan.points if not point.is_reference], sweep, store)
    assert [set(metrics) for metrics in found.values()] == [{f"{time}/eager" for time in TIMES}] * 2


def test_nothing_is_measured_of_no_runs_and_progress_ends_where_it_should(measured, store, tiny_sweep):
    sweep, told = tiny_sweep("measure.batch=1,8"), []
    assert measure_points([], sweep, store, Listener(progress=lambda *step: told.append(step))) == {}
    assert measured[1] == []
    measure_points(sweep.plan.points, sweep, store, Listener(progress=lambda *step: told.append(step)))
    assert told == [(2, 2), (0, 2), (1, 2), (2, 2)]


def test_times_of_a_crowded_machine_are_told_and_not_kept(measured, tiny_sweep, store, monkeypatch):
    sweep, (_, asked) = tiny_sweep("prune=0.5"), measured
    quiet = passes.sample_in_groups

    def crowded(models, sizes, **options):
        return dataclasses.replace(quiet(models, sizes, **options), others_busy=passes.n_cores() - 0.5)

    monkeypatch.setattr(passes, "sample_in_groups", crowded)
    notes, complaints, progress = [], [], []
    listener = Listener(note=notes.append, complain=complaints.append, progress=lambda *step: progress.append(step))
    found = measure_points(sweep.plan.points, sweep, store, listener)
    assert all("latency_ms/eager" in metrics for metrics in found.values())
    (note,) = notes
    assert note.startswith("latency_ms/eager: the machine was busy: other processes took ") and "anew" in note
    assert not complaints and progress[-1] == (1, 1)
    assert not is_measured(sweep.plan.points, sweep, store)
    monkeypatch.setattr(passes, "sample_in_groups", quiet)
    measure_points(sweep.plan.points, sweep, store, listener)
    assert len(asked) == 2 and len(notes) == 1
    assert is_measured(sweep.plan.points, sweep, store)


@pytest.mark.parametrize(("speedup", "n_lines"), [(1.04, 1), (1.06, 2)])
def test_what_subnormal_weights_cost_is_told(measured, store, monkeypatch, speedup, n_lines, tiny_sweep):
    sample, notes = passes.sample_points, []

    def slowed(points, root, one, *arguments, **options):
        flushed = {point.key: Flushed(47, speedup if one.threads == 2 else 1.0) for point in points}
        return dataclasses.replace(sample(points, root, one, *arguments, **options), flushed=flushed)

    monkeypatch.setattr(timing, "sample_points", slowed)
    sweep = tiny_sweep("prune=0.5", "measure.threads=1,2")
    measure_points(sweep.plan.points, sweep, store, Listener(note=notes.append))
    assert len(notes) == n_lines
    if n_lines == 1:
        assert notes[0].startswith(
            "subnormal floats are among the weights of 2 runs (up to 47); with these at zero none"
        )
    else:
        assert all(note.startswith("latency_ms/eager.t2: ") and "1.06×" in note for note in notes)


def test_energy_is_a_metric_of_the_pass(measured, store, monkeypatch, tiny_sweep):
    sample = passes.sample_points

    def counted(points, *arguments, **options):
        return dataclasses.replace(sample(points, *arguments, **options), energy_mj={points[0].key: 2.5})

    monkeypatch.setattr(timing, "sample_points", counted)
    sweep = tiny_sweep("prune=0.5")
    first, *others = sweep.plan.points
    found = measure_points(sweep.plan.points, sweep, store)
    assert found[first.key]["energy_mj/eager"] == 2.5
    assert all("energy_mj/eager" not in found[point.key] for point in others)


def test_times_of_a_busy_machine_are_taken_as_they_are_where_that_is_asked_for(
    measured, store, monkeypatch, tiny_sweep
):
    (_, asked), notes = measured, []
    monkeypatch.setattr(timing, "why_disturbed", lambda done, one: "the machine was busy")
    lenient, strict = tiny_sweep("prune=0.5", "measure.disturbed=keep"), tiny_sweep("prune=0.5")
    listener = Listener(note=notes.append)
    found = measure_points(lenient.plan.points, lenient, store, listener)
    assert all("speedup_low/eager" in metrics for metrics in found.values())
    assert kept_latencies(lenient.plan.points, lenient, store) == found
    assert measure_points(lenient.plan.points, lenient, store, listener) == found and len(asked) == 1
    said = "latency_ms/eager: the machine was busy; its times are taken as they are, as measure.disturbed=keep says"
    assert notes == [said, said]  # whenever they are taken
    assert not is_measured(strict.plan.points, strict, store)
    monkeypatch.setattr(timing, "why_disturbed", lambda done, one: "")
    measure_points(strict.plan.points, strict, store, listener)
    assert len(asked) == 2 and len(notes) == 2
    measure_points(lenient.plan.points, lenient, store, listener)  # the better ones are taken by both
    assert len(asked) == 2 and len(notes) == 2


def test_every_sample_is_handed_on_also_when_it_comes_from_the_store(measured, store, tiny_sweep):
    sweep = tiny_sweep("prune=0.5", "measure.threads=1,2")
    files, again = {}, {}
    measure_points(sweep.plan.points, sweep, store, Listener(keep=files.__setitem__))
    assert list(files) == ["latency/eager.csv.gz", "latency/eager.t2.csv.gz"]
    table = pd.read_csv(io.BytesIO(gzip.decompress(files["latency/eager.csv.gz"])))
    assert table.columns.tolist() == ["run_key", "round", "latency_ms"]
    assert table.groupby("run_key").size().to_dict() == {point.key: 3 for point in sweep.plan.points}
    measure_points(sweep.plan.points, sweep, store, Listener(keep=again.__setitem__))
    assert again == files and len(measured[1]) == 2


@pytest.mark.extended
def test_memory_is_what_was_asked_for_else_half_of_what_is_free(measured, store, monkeypatch, tiny_sweep):
    monkeypatch.setattr(passes, "free_memory", lambda: 1000)
    for arguments, expected in (((), 500), (("measure.memory=2KB",), 2000), (("measure.memory=1e3",), 1000)):
        sweep = tiny_sweep("prune=0.5", "measure.seconds=0.5", *arguments)
        monkeypatch.setattr(kept_passes, "VERSION", expected)  # nothing is kept
        measure_points(sweep.plan.points, sweep, store)
        assert measured[1][-1]["memory"] == expected


def test_memory_is_in_no_key(measured, store, tiny_sweep):
    plain, limited = tiny_sweep("prune=0.5"), tiny_sweep("prune=0.5", "measure.memory=1GB")
    assert plain.plan.sweep_id == limited.plan.sweep_id
    assert [point.key for point in plain.plan.points] == [point.key for point in limited.plan.points]
    measure_points(plain.plan.points, plain, store)
    measure_points(limited.plan.points, limited, store)
    assert len(measured[1]) == 1
