"""A sweep refined: the same values from the same results, all seeds of each, and what ends it."""

import math

import pytest

from effbench.sweep.refine import refine


@pytest.fixture
def planned(tiny_sweep):
    return lambda *arguments: tiny_sweep("train.epochs=0", "finetune.epochs=0", *arguments)


@pytest.fixture
def results(result_of):
    """Return what computes points: what is lost begins at a value of an axis; `failing` values have no results."""

    class Results:
        def __init__(self, *, lost_from=0.62, failing=(), after=math.inf):
            self.metrics, self.counts, self.batches = {}, {}, []
            self.lost_from, self.failing, self.after = lost_from, failing, after

        def of(self, point):
            strength = max(point.axes.get("prune", 0), 1 - point.axes.get("bits", 32) / 32)
            accuracy = 0.9 if strength < self.lost_from else 0.5
            return {**result_of(point).metrics, "accuracy_val": accuracy, "size_bytes": 1000 * (1.01 - strength)}

        def __call__(self, sweep, points):
            self.batches.append([str(point) for point in points])
            for point in points:
                if point.axes.get("prune") not in self.failing:
                    self.metrics[point.key] = self.of(point)
            return len(self.batches) < self.after

        def refine(self, sweep):
            self(sweep, sweep.plan.points)
            self.batches.clear()
            return refine(sweep, self.metrics, self.counts, self)

    return Results


def values(refined, axis="prune"):
    return [point.axes[axis] for point in refined.sweep.plan.points if point.is_refined]


@pytest.mark.extended
def test_values_come_one_after_the_other_with_all_seeds(planned, results):
    own = results()
    refined = own.refine(planned("+prune=0.1,0.5,0.9", "+seed=0,1", "sweep.refine=3"))
    assert own.batches == [[f"prune={v}, seed={s}" for s in (0, 1)] for v in (0.7, 0.6, 0.65)]
    assert refined.notes == ("refined by tolerance: prune: 0.7, 0.6, 0.65",)


@pytest.mark.extended
def test_the_same_results_lead_to_the_same_values_and_more_goes_on_from_fewer(planned, results):
    arguments = ("+prune=0.1,0.9",)
    all_of_it = values(results().refine(planned(*arguments, "sweep.refine=5")))
    stopped = results(after=2)
    assert values(stopped.refine(planned(*arguments, "sweep.refine=5"))) == all_of_it[:2]
    assert values(results().refine(planned(*arguments, "sweep.refine=3"))) == all_of_it[:3]


def test_without_it_nothing_is_added(planned, results):
    sweep, own = planned("+prune=0.5"), results()
    assert own.refine(sweep).sweep is sweep and own.batches == []


@pytest.mark.extended
@pytest.mark.parametrize(("lost_from", "tried"), [(2.0, [0.95, 0.975]), (0.05, [0.25, 0.125])])
def test_beyond_the_grid_and_before_it(planned, results, lost_from, tried):
    assert values(results(lost_from=lost_from).refine(planned("+prune=0.5,0.9", "sweep.refine=2"))) == tried


@pytest.mark.extended
def test_axes_are_refined_side_by_side_at_the_least_of_the_others(planned, results):
    own = results(lost_from=0.8)
    refined = own.refine(planned("+prune=0.5,0.9", "+bits=16,4", "sweep.refine=2"))
    assert own.batches[0] == ["prune=0.7, bits=16, seed=0", "prune=0.5, bits=8, seed=0"]
    assert refined.notes == ("refined by tolerance: prune: 0.7, 0.8", "refined by tolerance: bits: 8, 6")


@pytest.mark.extended
def test_it_ends_where_nothing_is_left_to_split(planned, results):
    own = results(lost_from=0.8)
    assert own.refine(planned("+bits=8,6", "sweep.refine=9")).notes == (
        "refined by tolerance: bits: 7 (there is nothing left to split)",
    )


@pytest.mark.extended
def test_a_point_that_failed_ends_its_bracket_and_a_seed_that_failed_does_not(planned, results):
    refined = results(failing=[0.7]).refine(planned("+prune=0.5,0.9", "sweep.refine=3"))
    assert refined.notes == ("refined by tolerance: prune: 0.7 (prune=0.7 failed)",)
    own = results()
    own.of = lambda point, of=own.of: of(point) if point.seed or not point.is_refined else {}
    assert len(values(results().refine(planned("+prune=0.5,0.9", "+seed=0,1", "sweep.refine=2")))) == 4


def test_a_value_that_the_configuration_refuses_bounds_it(planned, results):
    own = results(lost_from=2.0)
    sweep = planned("+prune=0.5,0.9", "sweep.refine=3")
    curve = sweep.refinement.curves[0]

    def make(value, make=curve.make):
        if value > 0.92:
            raise ValueError("too much")
        return make(value)

    object.__setattr__(curve, "make", make)
    refined = own.refine(sweep)
    assert values(refined) == [pytest.approx(0.9125)]
    assert "prune=0.95 is refused: too much; prune=0.925 is refused" in refined.notes[0]


@pytest.mark.extended
def test_a_reference_that_failed_or_learned_nothing_is_not_refined(planned, results):
    own = results(failing=[0])
    refined = own.refine(planned("+prune=0.5,0.9", "sweep.refine=3"))
    assert values(refined) == [] and "the reference is not among the runs" in refined.notes[0]
    own = results()
    own.of = lambda point, of=own.of: {**of(point), "accuracy_val": 0.1}
    assert "chance" in own.refine(planned("+prune=0.5,0.9", "sweep.refine=3")).notes[0]


def test_axes_without_an_order_are_named(planned, results):
    notes = results().refine(planned("+prune=0.5,0.9", "+pooling=early,late", "sweep.refine=1")).notes
    assert notes[-1] == "not refined, without an order of counted costs: pooling"


@pytest.mark.extended
def test_a_point_that_another_configuration_has_is_computed_once(planned, results):
    own = results()
    refined = own.refine(planned("+prune=0.5,0.9", "finetune.lr=1e-3,1e-4", "sweep.refine=1"))
    assert len(refined.notes) == 2 and len(own.batches) == 1
    keys = [point.key for point in refined.sweep.plan.points]
    assert len(keys) == len(set(keys))
