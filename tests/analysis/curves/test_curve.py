import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from effbench.analysis.curves.curve import control_curve, curve_of
from tests.analysis.conftest import runs_of


def test_without_a_mark_the_most_expensive_and_best_row_is_the_reference():
    frame = pd.DataFrame({"cost": [3, 1, 3], "score": [0.7, 0.6, 0.8]})
    curve = curve_of(frame, cost="cost", quality="score")
    assert curve.qualities[curve.reference] == 0.8
    assert curve.labels == ["cost=1", "cost=3", "cost=3"]


def test_the_label_marks_the_reference_where_there_is_no_flag(runs):
    frame = runs.drop(columns="reference").assign(size_bytes=[60_000, 300_000, 380_000, 164_000])
    curve = curve_of(frame, cost="size_bytes", quality="accuracy_val")
    assert curve.labels[curve.reference] == "reference"


def test_the_input_is_left_alone(seeded):
    before = seeded.copy(deep=True)
    curve_of(seeded, cost="size_bytes", quality="accuracy_val")
    assert_frame_equal(seeded, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, None, "fast", ""])
def test_a_value_that_is_no_finite_number_is_named_with_its_row(runs, value):
    runs["size_bytes"] = runs["size_bytes"].astype(object)
    runs.loc[3, "size_bytes"] = value
    with pytest.raises(ValueError, match=r"size_bytes is .* in row 3 \(prune=0.5\)"):
        curve_of(runs, cost="size_bytes", quality="accuracy_val")


def test_a_missing_quality_is_refused(runs):
    with pytest.raises(ValueError, match="no quality column 'f1'"):
        curve_of(runs, cost="size_bytes", quality="f1")
    with pytest.raises(ValueError, match="better when higher"):
        curve_of(runs.assign(loss=0.1), cost="size_bytes", quality="loss")


def test_values_are_as_measured_and_qualities_higher_when_better(language):
    curve = curve_of(language, cost="size_bytes")
    assert curve.quality_column == "perplexity_val"
    assert curve.values.tolist() == [30.0, 21.3, 20.9, 21.0]
    assert np.array_equal(curve.qualities, -curve.values)
    assert curve.losses.tolist() == pytest.approx([9.0, 0.3, -0.1, 0.0])
    assert curve.labels[curve.reference] == "reference"


def test_of_equally_cheap_points_the_best_comes_first_in_either_direction(runs, language):
    for frame in (runs, language):
        curve = curve_of(frame.assign(size_bytes=1), cost="size_bytes")
        assert curve.labels[0] == "prune=0.1"
        assert (np.diff(curve.qualities) <= 0).all()


def test_without_a_mark_the_lower_of_two_perplexities_is_the_references(language):
    frame = language.drop(columns="reference").assign(point=list("abcd"), size_bytes=[2, 1, 2, 2])
    curve = curve_of(frame, cost="size_bytes")
    assert curve.values[curve.reference] == 20.9


def test_whether_a_quality_is_a_fraction_is_known_and_only_else_seen(runs, segmented, language):
    # Known kinds decide, whatever the values; of another column its values do.
    assert curve_of(segmented.assign(miou_val=1.5), cost="size_bytes").is_fraction
    assert not curve_of(language.assign(perplexity_val=0.5), cost="size_bytes").is_fraction
    frame = runs.assign(score=0.5, rating=5.0)
    assert curve_of(frame, cost="size_bytes", quality="score").is_fraction
    assert not curve_of(frame, cost="size_bytes", quality="rating").is_fraction


def test_a_quality_that_is_the_cost_is_refused(runs):
    with pytest.raises(ValueError, match="quality='macs' is the cost"):
        curve_of(runs, cost="macs", quality="macs")


def test_losses_and_ratios_are_of_the_seeds_of_both():
    points = [("reference", 100, [0.9, 0.6, 0.9]), ("a=1", 50, [0.8, None, 0.8]), ("a=2", 20, [0.7, 0.5, 0.7])]
    frame = runs_of(points)
    frame["size_bytes"] *= np.where(frame["seed"] == 1, 2.0, 1.0)
    curve = curve_of(frame, cost="size_bytes")
    assert curve.points["point"].tolist() == ["a=2", "a=1", "reference"]
    assert curve.losses.tolist() == pytest.approx([0.5 / 3, 0.1, 0])
    assert curve.ratios.tolist() == pytest.approx([0.2, 0.5, 1])
    assert (curve.n_seeds.tolist(), curve.n_asked.tolist()) == ([3, 2, 3], [3, 3, 3])
    # The reference's means on all seeds, moved as far as the point is from it on those of both.
    assert curve.values.tolist() == pytest.approx([1.9 / 3, 0.7, 0.8])
    assert curve.costs.tolist() == pytest.approx([80 / 3, 200 / 3, 400 / 3])


def test_with_all_seeds_means_are_the_plain_ones(seeded):
    curve = curve_of(seeded, cost="size_bytes")
    plain = seeded.groupby("point")["accuracy_val"].apply(lambda values: np.mean(sorted(values)))
    assert curve.values.tolist() == pytest.approx(plain[curve.points["point"]].tolist(), abs=1e-15)
    assert np.array_equal(curve.losses, curve.qualities[curve.reference] - curve.qualities)


def test_a_reference_that_lacks_a_seed_takes_it_from_every_point(lucky):
    curve = curve_of(lucky[lucky["run_key"] != "reference/1"], cost="size_bytes")
    assert curve.losses.tolist() == pytest.approx([0.03, 0.01, 0])
    assert curve.n_seeds.tolist() == [2, 2, 2]
    assert curve.n_asked.tolist() == [3, 3, 2]


def test_means_of_other_columns_are_of_the_seeds_of_both(lucky):
    curve = curve_of(lucky.assign(macs=range(8)), cost="size_bytes")
    own, reference = curve.means_of("macs")
    assert (own.tolist(), reference.tolist()) == ([6.5, 4, 1], [1, 1, 1])
    assert np.isnan(curve_of(lucky.assign(accuracy=None), cost="size_bytes").losses_of("accuracy")).all()


def test_each_point_has_its_own_reference(runs):
    keyed = runs.assign(run_key=list("abcd"), reference_key="b")
    other = keyed.assign(
        point="coder=ans, " + keyed["point"], run_key=list("wxyz"), reference_key="x", size_bytes=range(4)
    )
    curve = curve_of(pd.concat([keyed, other.assign(accuracy_val=[0.5, 0.6, 0.6, 0.6])]), cost="size_bytes")
    assert curve.has_several_references
    losses = dict(zip(curve.labels, curve.losses, strict=True))
    assert losses["coder=ans, prune=0.9"] == pytest.approx(0.1)
    assert losses["prune=0.9"] == pytest.approx(0.063)
    assert curve.labels[curve.reference] == "reference"  # the best of both


def test_how_much_better_than_chance_a_reference_is(segmented, language, runs):
    assert curve_of(segmented, cost="size_bytes").above_chance.tolist() == pytest.approx([0.94] * 4)
    assert curve_of(language, cost="size_bytes").above_chance.tolist() == pytest.approx([235] * 4)
    assert np.isnan(curve_of(runs, cost="size_bytes").above_chance).all()


def test_controls_are_beside_the_curve(lucky):
    control = runs_of([("distill=0.9", 99_000, [0.97, 0.91, 0.96])]).assign(control=True)
    frame = pd.concat([lucky.assign(control=False), control])
    frame.attrs["failed"] = [{"point": "prune=0.9", "seed": 1}]
    assert len(curve_of(frame, cost="size_bytes")) == 3
    curve = control_curve(frame, cost="size_bytes")
    assert curve.labels == ["distill=0.9", "reference"] and curve.failed == ()
    assert curve.losses[0] == pytest.approx(-0.02 / 3)
    assert frame.attrs["failed"] == [{"point": "prune=0.9", "seed": 1}]
    assert control_curve(lucky, cost="size_bytes") is None
    assert control_curve(lucky.assign(control=False), cost="size_bytes") is None
    assert control_curve(frame[~frame["reference"]], cost="size_bytes") is None
