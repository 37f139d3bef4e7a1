import pandas as pd
import pytest

from effbench.analysis import points_table
from tests.analysis.conftest import runs_of


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


def test_the_table_has_the_qualities_own_columns(segmented, language):
    frame = segmented.assign(boundary_iou=0.5, boundary_iou_val=0.4, miou_worst_class=0.3, accuracy=0.9)
    frame.attrs["extra_qualities"] = ("boundary_iou",)
    assert points_table(frame, axes=["prune"]).columns.tolist() == [
        "prune", "n_seeds", "miou", "miou_std", "miou_val", "size_bytes", "macs", "macs_effective",
        "latency_ms/eager", "miou_worst_class", "boundary_iou",
    ]  # fmt: skip
    table = points_table(language, axes=["prune"])
    assert table["perplexity_val"].tolist() == [21.0, 20.9, 21.3, 30.0]


def test_failed_runs_are_counted(lucky):
    table = points_table(
        lucky.assign(prune=lucky["point"].map({"reference": 0, "prune=0.5": 0.5, "prune=0.9": 0.9})), axes=["prune"]
    )
    assert table[["prune", "n_seeds", "n_failed"]].to_numpy().tolist() == [[0, 3, 0], [0.5, 3, 0], [0.9, 2, 1]]
    lucky.attrs.pop("failed")
    assert "n_failed" not in points_table(lucky.assign(prune=0.0), axes=["prune"])


def test_how_far_rounds_came_stands_beside_what_was_asked():
    frame = runs_of([("reference", 9, 0.9), ("prune=0.9", 5, 0.8)], seeds=(0,)).assign(prune=[0, 0.9], bits=8)
    assert points_table(frame.assign(prune_reached=[0, 0.9]), axes=["prune"]).columns.tolist()[:2] == [
        "prune",
        "n_seeds",
    ]
    table = points_table(frame.assign(prune_reached=[0, 0.7]), axes=["prune", "bits"])
    assert table.columns.tolist()[:4] == ["prune", "prune_reached", "bits", "n_seeds"]
    assert table["prune_reached"].tolist() == [0, 0.7]


def test_controls_are_rows_as_others():
    frame = runs_of([("reference", 9, 0.9), ("distill=0.9", 9, 0.91)], seeds=(0,)).assign(
        control=[False, True], distill=[0, 0.9]
    )
    assert points_table(frame, axes=["distill"])["distill"].tolist() == [0, 0.9]


def test_networks_of_several_groups_stand_in_one_table(runs):
    both = pd.concat([runs, runs.assign(model="lenet_5", data="mnist")])
    table = points_table(both, axes=["model", "prune"])
    assert table["model"].tolist() == [*["lenet_5"] * 4, *["small_cnn"] * 4]
