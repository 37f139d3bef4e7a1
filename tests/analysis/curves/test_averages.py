import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from effbench.analysis.curves.averages import average_groups, average_runs, mean_and_deviation, point_numbers, read_runs


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


def test_two_runs_of_one_seed_are_refused(runs):
    with pytest.raises(ValueError, match="two runs of seed 0"):
        average_runs(pd.concat([runs, runs]))


def test_columns_of_anything_pass_through_where_each_point_has_one_run(runs):
    means = average_runs(runs.assign(notes=[["a"], [], ["b", 1], None])).means.set_index("point")
    assert means["notes"]["prune=0.9"] == ["a"]
    assert means["notes"]["prune=0.1"] == ["b", 1]


def test_points_differ_by_network_data_set_task_and_recipe(runs):
    both = pd.concat([runs, runs.assign(model="lenet_5"), runs.assign(data="mnist"), runs.assign(recipe="lottery")])
    assert len(average_runs(both).n_runs) == 16


def test_a_missing_label_is_named_with_its_row(runs):
    frame = runs.set_axis(list("wxyz")).assign(point=["a", None, "b", "c"])
    with pytest.raises(ValueError, match="point is missing in row x"):
        average_runs(frame)


def test_runs_are_read_with_flags_as_flags_and_metrics_as_numbers(runs):
    text = runs.assign(control=["true", "", "false", None], size_bytes=runs["size_bytes"].astype(str))[::-1]
    read = read_runs(text)
    assert read.index.tolist() == [0, 1, 2, 3]
    assert read["control"].tolist() == [False, False, False, True]
    assert read["size_bytes"].tolist() == [164_000, 380_000, 400_000, 60_000]


def test_groups_are_averaged_by_number(seeded):
    runs = read_runs(seeded)
    numbers = point_numbers(runs)
    averages = average_groups(runs, numbers)
    mean, deviation = mean_and_deviation(runs["accuracy_val"].to_numpy(), numbers)
    assert averages.means["accuracy_val"].tolist() == mean.tolist()
    assert averages.deviations["accuracy_val"].tolist() == deviation.tolist()
    assert mean_and_deviation(np.array([]), np.array([], dtype=int))[0].tolist() == []


def test_a_run_given_twice_is_refused_also_where_its_seed_is_not_known():
    frame = pd.DataFrame({"point": ["a", "b", "b"], "run_key": ["1", "2", "2"], "size_bytes": [3, 2, 2]})
    for twice in (frame, frame.assign(seed=np.nan)):
        with pytest.raises(ValueError, match="'b' has two rows of run 2: keep one of them"):
            average_runs(twice)
    assert len(average_runs(frame.assign(run_key=[None, None, None])).n_runs) == 2
