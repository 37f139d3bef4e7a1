import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from effbench.analysis.curve import average_runs, curve_of


def test_seeds_are_averaged_with_their_sample_deviation(seeded):
    averages = average_runs(seeded)
    at = int(np.flatnonzero(averages.means["point"] == "prune=0.5")[0])
    assert averages.n_runs.tolist() == [3, 3, 3, 3]
    assert averages.means["accuracy_val"][at] == pytest.approx(0.952)
    assert averages.deviations["accuracy_val"][at] == pytest.approx(np.std([-0.003, 0.001, 0.002], ddof=1))
    assert averages.deviations["size_bytes"][at] == pytest.approx(1000)


def test_what_all_runs_share_is_kept_and_what_has_no_mean_is_dropped(seeded):
    means = average_runs(seeded.assign(run_id=[f"r{i}" for i in range(len(seeded))])).means
    assert "seed" not in means and "run_id" not in means
    assert set(means["prune"]) == {0.0, 0.1, 0.5, 0.9}
    assert means["macs"].dtype == seeded["macs"].dtype
    assert (means["data"] == "digits").all()


def test_the_mean_of_equal_values_is_that_value():
    frame = pd.DataFrame({"point": ["a"] * 3 + ["b"] * 2, "x": [0.1, 0.1, 0.1, 0.2, 0.3]})
    assert average_runs(frame).means["x"][0] == 0.1


def test_averages_do_not_depend_on_the_order_of_the_runs():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"point": list("abcdefg") * 9, "seed": np.repeat(range(9), 7), "x": generator.random(63)})
    expected = average_runs(frame)
    for seed in range(5):
        shuffled = average_runs(frame.sample(frac=1, random_state=seed))
        assert_frame_equal(shuffled.means, expected.means, check_exact=True)
        assert_frame_equal(shuffled.deviations, expected.deviations, check_exact=True)


def test_an_average_over_an_unmeasured_run_is_not_a_number():
    frame = pd.DataFrame({"point": ["a", "a"], "latency_ms/eager": [1.0, None]})
    assert np.isnan(average_runs(frame).means["latency_ms/eager"][0])


def test_networks_have_their_own_reference(runs):
    both = pd.concat([runs, runs.assign(model="lenet_5", accuracy_val=runs["accuracy_val"] + 0.01)])
    curve = curve_of(both, cost="size_bytes", quality="accuracy_val")
    assert len(curve) == 8
    assert curve.points["model"][curve.reference] == "lenet_5"
    assert "prune=0.5 (lenet_5)" in curve.labels


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


def test_mixed_data_sets_are_refused(runs):
    with pytest.raises(ValueError, match=r"data sets \['digits', 'mnist'\]: select one"):
        average_runs(pd.concat([runs, runs.assign(data="mnist")]))


def test_two_runs_of_one_seed_are_refused(runs):
    with pytest.raises(ValueError, match="two runs of seed 0"):
        average_runs(pd.concat([runs, runs]))


def test_columns_of_anything_pass_through_where_each_point_has_one_run(runs):
    means = average_runs(runs.assign(notes=[["a"], [], ["b", 1], None])).means.set_index("point")
    assert means["notes"]["prune=0.9"] == ["a"]
    assert means["notes"]["prune=0.1"] == ["b", 1]


def test_missing_label_and_missing_quality_are_refused(runs):
    with pytest.raises(ValueError, match="point is missing in row 0"):
        average_runs(runs.assign(point=[None, "a", "b", "c"]))
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
