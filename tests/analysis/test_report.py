import pandas as pd
import pytest

from effbench.analysis import points_table, saturation_sentence
from effbench.analysis.words import decimals


def test_found(runs):
    assert saturation_sentence(runs, cost="size_bytes") == (
        "size_bytes: prune=0.5 keeps accuracy within 2 points at 0.41× the bytes; 0.9 loses 6.3"
    )
    assert saturation_sentence(runs, cost="macs_effective", quality="accuracy", tolerance=0.01) == (
        "macs_effective: prune=0.5 keeps test accuracy within 1 point at 0.5× the effective multiply-adds; "
        "0.9 loses 6.5"
    )


def test_latency_names_its_engine(runs):
    frame = runs.assign(**{"latency_ms/eager": [0.2, 1.0, 0.9, 0.6]})
    assert "at 0.6× the latency (eager); 0.9 loses" in saturation_sentence(frame, cost="latency_ms/eager")


def test_not_reached(runs):
    assert saturation_sentence(runs, cost="size_bytes", tolerance=0.1) == (
        "size_bytes: not reached: even prune=0.9 stays within 10 points; sweep further"
    )


def test_nothing_acceptable(runs):
    assert saturation_sentence(runs[runs["prune"].isin([0.0, 0.9])], cost="size_bytes") == (
        "size_bytes: nothing stays within 2 points: already prune=0.9 loses 6.3"
    )


def test_labels_of_several_axes_are_written_in_full(runs):
    frame = runs.assign(point=["prune=0.9, bits=4", "reference", "prune=0.1, bits=4", "prune=0.5, bits=4"])
    assert saturation_sentence(frame, cost="size_bytes").endswith("; prune=0.9, bits=4 loses 6.3")


def test_the_rejected_point_is_the_fronts_next_not_a_dominated_one(runs):
    poor = pd.DataFrame([{**runs.iloc[3].to_dict(), "point": "prune=0.6", "size_bytes": 150_000, "accuracy_val": 0.5}])
    assert saturation_sentence(pd.concat([runs, poor]), cost="size_bytes").endswith("0.9 loses 6.3")


def test_a_loss_is_written_with_the_decimals_that_tell_it_from_the_tolerance(runs):
    frame = runs.assign(accuracy_val=[0.9397, 0.960, 0.961, 0.952])
    assert saturation_sentence(frame, cost="size_bytes").endswith("0.9 loses 2.03")
    assert decimals(2.0, other_than=2.0) == "2.000000"


def test_too_few_points(runs):
    assert saturation_sentence(runs.iloc[:1], cost="size_bytes") == "size_bytes: 2 points are needed, there is 1"


def test_table(seeded):
    table = points_table(seeded, axes=["prune"])
    assert table.columns.tolist() == [
        "prune", "n_seeds", "accuracy", "accuracy_std", "accuracy_val", "size_bytes", "macs", "macs_effective",
        "latency_ms/eager",
    ]  # fmt: skip
    assert table["prune"].tolist() == [0.0, 0.1, 0.5, 0.9]
    assert table["n_seeds"].tolist() == [3, 3, 3, 3]
    assert table["accuracy_val"].tolist() == pytest.approx([0.960, 0.961, 0.952, 0.897])


def test_the_reference_comes_first_then_axes_as_numbers(runs):
    frame = runs.assign(bits=pd.Series(["16", "32", "8", "2"], dtype=object), prune=[0.5, 0.9, 0.5, 0.1])
    assert points_table(frame, axes=["prune", "bits"])["bits"].tolist() == ["32", "2", "8", "16"]


def test_a_table_survives_a_csv(seeded, tmp_path):
    table = points_table(seeded, axes=["prune"])
    table.to_csv(tmp_path / "points.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "points.csv"), table)


def test_an_axis_that_is_missing_or_differs_within_a_point_is_refused(seeded):
    with pytest.raises(ValueError, match="no axis column 'bits'"):
        points_table(seeded, axes=["bits"])
    for axis in ("seed", "size_bytes"):
        with pytest.raises(ValueError, match=f"'{axis}' is no axis"):
            points_table(seeded, axes=[axis])
