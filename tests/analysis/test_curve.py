import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from effbench.analysis.columns import parse_numbers, read_flags
from effbench.analysis.curve import average_runs, curve_of
from effbench.analysis.labels import axes_are_numeric, label_axes


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


def test_axis_columns_name_rows_without_labels(runs):
    curve = curve_of(runs.drop(columns="point"), cost="size_bytes", quality="accuracy_val")
    assert curve.labels == ["prune=0.9", "prune=0.5", "prune=0.1", "prune=0"]


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


def test_too_many_columns_to_name_a_row_leave_its_cost():
    frame = pd.DataFrame({"size_bytes": [1, 2], "accuracy_val": [0.1, 0.2], **{name: [0, 1] for name in "abcd"}})
    assert curve_of(frame, cost="size_bytes", quality="accuracy_val").labels == ["size_bytes=1", "size_bytes=2"]


def test_a_model_in_the_label_is_not_repeated(runs):
    frame = pd.concat(
        [runs.assign(point="model=" + runs["model"] + ", " + runs["point"]), runs.assign(model="lenet_5")]
    )
    labels = curve_of(frame, cost="size_bytes", quality="accuracy_val").labels
    assert "model=small_cnn, prune=0.5" in labels and "prune=0.5 (lenet_5)" in labels


def test_missing_label_and_missing_quality_are_refused(runs):
    with pytest.raises(ValueError, match="point is missing in row 0"):
        average_runs(runs.assign(point=[None, "a", "b", "c"]))
    with pytest.raises(ValueError, match="no quality column 'f1'"):
        curve_of(runs, cost="size_bytes", quality="f1")
    with pytest.raises(ValueError, match="better when higher"):
        curve_of(runs.assign(loss=0.1), cost="size_bytes", quality="loss")


def test_flags_are_read_from_text():
    frame = pd.DataFrame({"reference": pd.Series([True, "false", "True", None, 0, "1.0", ""], dtype=object)})
    assert read_flags(frame, "reference").tolist() == [True, False, True, False, False, True, False]
    with pytest.raises(ValueError, match="reference is 'maybe' in row 0"):
        read_flags(pd.DataFrame({"reference": ["maybe"]}), "reference")


def test_numbers_are_read_from_nullable_columns():
    assert parse_numbers(pd.Series([1, None], dtype="Int64")).tolist()[0] == 1.0
    assert parse_numbers(pd.Series([True, False])) is None


@pytest.mark.parametrize(
    ("labels", "numeric"),
    [
        (["prune=0.5", "reference"], True),
        (["prune=0.5, bits=4", "bits=8"], True),
        (["pooling=early", "pooling=late", "reference"], False),
        (["pooling=early, prune=0.5", "pooling=early, prune=0.9"], True),
        (["a", "b"], False),
    ],
)
def test_lines_join_numbers_only(labels, numeric):
    assert axes_are_numeric(pd.DataFrame({"point": labels}), labels) is numeric


def test_the_reference_counts_among_the_categories_where_its_column_says_so():
    points = pd.DataFrame({"point": ["pooling=early", "reference"], "pooling": ["early", "even"]})
    assert not axes_are_numeric(points, list(points["point"]))


def test_labels_split_into_axes():
    assert label_axes("prune=0.5, bits=4") == {"prune": "0.5", "bits": "4"}
    assert label_axes("") == {}
