import numpy as np
import pandas as pd
import pytest

from effbench.analysis import detail_sentences, points_table, saturation_sentence


def test_a_saturation_point_is_named(runs):
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


def test_sentences_of_other_qualities(segmented, language):
    assert saturation_sentence(segmented, cost="size_bytes") == (
        "size_bytes: prune=0.5 keeps miou within 2 mIoU points at 0.41× the bytes; 0.9 loses 6.3"
    )
    assert saturation_sentence(segmented, cost="size_bytes", quality="miou", tolerance=0.01) == (
        "size_bytes: prune=0.5 keeps test miou within 1 mIoU point at 0.41× the bytes; 0.9 loses 6.5"
    )
    assert saturation_sentence(language, cost="size_bytes", tolerance=0.5) == (
        "size_bytes: prune=0.5 keeps perplexity within 0.5 nats at 0.41× the bytes; 0.9 loses 9.0"
    )
    assert saturation_sentence(language, cost="size_bytes") == (
        "size_bytes: prune=0.1 keeps perplexity within 0.02 nats at 0.95× the bytes; 0.5 loses 0.3"
    )


def test_the_table_has_the_qualities_own_columns(segmented, language):
    frame = segmented.assign(boundary_iou=0.5, boundary_iou_val=0.4, miou_worst_class=0.3, accuracy=0.9)
    frame.attrs["extra_qualities"] = ("boundary_iou",)
    assert points_table(frame, axes=["prune"]).columns.tolist() == [
        "prune", "n_seeds", "miou", "miou_std", "miou_val", "size_bytes", "macs", "macs_effective",
        "latency_ms/eager", "miou_worst_class", "boundary_iou",
    ]  # fmt: skip
    table = points_table(language, axes=["prune"])
    assert table["perplexity_val"].tolist() == [21.0, 20.9, 21.3, 30.0]


def test_details_of_the_saturation_point(runs):
    frame = runs.assign(
        accuracy_top5=[0.97, 0.99, 0.99, 0.985],
        accuracy_worst_class=[0.5, 0.95, 0.94, 0.912],
        calibration_error=[0.1, 0.008, 0.008, 0.012],
    )
    assert detail_sentences(frame, cost="size_bytes") == [
        "at prune=0.5: top-5 accuracy 98.5 % (reference 99.0 %), worst class 91.2 % (95.0 %), "
        "calibration error 1.2 points (0.8)"
    ]
    assert detail_sentences(frame.drop(columns=["accuracy_top5", "accuracy_worst_class"]), cost="size_bytes") == [
        "at prune=0.5: calibration error 1.2 points (reference 0.8)"
    ]


def test_details_are_only_of_what_is_there(runs, language):
    assert detail_sentences(runs, cost="size_bytes") == []
    frame = runs.assign(calibration_error=[0.1, np.nan, 0.008, 0.012])
    assert detail_sentences(frame, cost="size_bytes") == []
    known = runs.assign(calibration_error=0.01)
    assert detail_sentences(known, cost="size_bytes", tolerance=0.1) == []  # not reached
    assert detail_sentences(known[known["prune"].isin([0.0, 0.9])], cost="size_bytes") == []  # it is the reference
    extra = language.assign(bits_per_byte=[1.5, 1.1, 1.1, 1.125])
    extra.attrs["extra_qualities"] = ["bits_per_byte"]
    assert detail_sentences(extra, cost="size_bytes", tolerance=0.5) == [
        "at prune=0.5: bits per byte 1.125 (reference 1.1)"
    ]
