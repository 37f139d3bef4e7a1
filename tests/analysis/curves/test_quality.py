import math

import pandas as pd
import pytest

from effbench.analysis import Quality
from effbench.analysis.curves.quality import chosen_quality, secondary_columns

MIOU = Quality(name="miou", kind="mean_of_ratios", unit="mIoU points", direction="higher", chance=0.02)


def test_a_frame_says_what_its_quality_is(segmented, language):
    assert Quality.of_frame(segmented) == MIOU
    assert MIOU.column == "miou_val"
    perplexity = Quality.of_frame(language)
    assert (perplexity.kind, perplexity.direction, perplexity.is_fraction) == ("exp_of_ratio", "lower", False)


def test_a_frame_that_says_nothing_holds_accuracies(runs):
    quality = Quality.of_frame(runs)
    assert (quality.name, quality.kind, quality.unit, quality.direction) == ("accuracy", "ratio", "points", "higher")
    assert math.isnan(quality.chance)
    assert quality.is_fraction


def test_it_survives_a_csv(segmented, language, tmp_path):
    for frame in (segmented, language.assign(quality_unit="", quality_chance=math.nan)):
        frame.to_csv(tmp_path / "runs.csv", index=False)
        for options in ({}, {"dtype": object}):
            again = Quality.of_frame(pd.read_csv(tmp_path / "runs.csv", **options))
            assert repr(again) == repr(Quality.of_frame(frame))


def test_chance_may_differ_between_splits_and_be_missing(segmented):
    assert Quality.of_frame(segmented.assign(quality_chance=[0.1, 0.2, None, 0.3])).chance == pytest.approx(0.2)
    assert math.isnan(Quality.of_frame(segmented.drop(columns="quality_chance")).chance)


def test_rows_that_do_not_name_their_quality_have_that_of_the_others(segmented):
    assert Quality.of_frame(segmented.assign(quality_name=["miou", None, "", "miou"])) == MIOU


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"quality_name": ["miou", "miou", "accuracy", "miou"]},
            "the frame mixes the qualities accuracy, miou: select",
        ),
        ({"quality_unit": ["mIoU points", "points"] * 2}, "mixes the values mIoU points, points of quality_unit"),
        ({"quality_kind": None}, "the frame has quality_name and no quality_kind"),
        ({"quality_kind": "median"}, "quality_kind='median': ratio, mean_of_ratios, exp_of_ratio are the kinds"),
        ({"quality_direction": "up"}, "quality_direction='up': higher or lower is needed"),
    ],
)
def test_frames_that_say_several_things_or_not_enough_are_refused(segmented, changes, message):
    with pytest.raises(ValueError, match=message):
        Quality.of_frame(segmented.assign(**changes))


def test_the_column_that_is_chosen(segmented):
    frame = segmented.assign(boundary_iou_val=0.5, loss=0.1, calibration_error=0.1)
    assert chosen_quality(frame, None) == (MIOU, "miou_val")
    assert chosen_quality(frame, "miou") == (MIOU, "miou")
    assert chosen_quality(frame, "boundary_iou_val") == (None, "boundary_iou_val")
    for column in ("loss", "calibration_error"):
        with pytest.raises(ValueError, match=f"quality='{column}' is better when lower"):
            chosen_quality(frame, column)
    with pytest.raises(ValueError, match="no quality column 'accuracy_val'; the frame has"):
        chosen_quality(frame, "accuracy_val")


def test_secondary_columns_come_in_one_order_and_of_the_test_split():
    names = [
        "boundary_iou_small",
        "boundary_iou",
        "boundary_iou_val",
        "miou_worst_class",
        "calibration_error",
        "miou_top5",
    ]
    frame = pd.DataFrame(columns=names)
    titles = {"miou_top5": "top-5 miou", "miou_worst_class": "worst class", "calibration_error": "calibration error"}
    assert secondary_columns(frame, MIOU) == titles
    frame.attrs["extra_qualities"] = ["boundary_iou", "f1"]
    extras = {"boundary_iou_small": "boundary iou small", "boundary_iou": "boundary iou"}
    assert list(secondary_columns(frame, MIOU).items()) == [*titles.items(), *extras.items()]
    assert secondary_columns(pd.DataFrame(columns=["accuracy"]), MIOU) == {}
