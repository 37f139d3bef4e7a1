import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.curves.words import (
    allowance,
    at_chance,
    change,
    change_on_test,
    decimals,
    difference_unit,
    level,
    named,
    quality_title,
    quality_word,
    share,
)


def curve(frame, quality=None):
    return curve_of(frame, cost="size_bytes", quality=quality)


def test_accuracy_is_called_as_ever(runs):
    validation, test = curve(runs), curve(runs, "accuracy")
    assert (quality_word(validation), quality_word(test)) == ("accuracy", "test accuracy")
    assert (quality_title(validation), quality_title(test)) == ("validation accuracy (%)", "test accuracy (%)")
    assert [allowance(validation, tolerance) for tolerance in (0.02, 0.01, 0.005)] == [
        "2 points",
        "1 point",
        "0.5 points",
    ]


def test_other_qualities_are_called_by_their_names(segmented, language):
    renamed = segmented.rename(columns={"miou_val": "mean_iou_val"}).assign(quality_name="mean_iou")
    assert (quality_word(curve(renamed)), quality_title(curve(renamed))) == ("mean iou", "validation mean iou (%)")
    assert quality_title(curve(segmented, "miou")) == "test miou (%)"
    assert quality_title(curve(language)) == "validation perplexity"
    assert [allowance(curve(segmented), tolerance) for tolerance in (0.02, 0.01)] == ["2 mIoU points", "1 mIoU point"]
    assert allowance(curve(language), 1) == "1 nats"
    assert allowance(curve(language.assign(quality_unit="")), 0.5) == "0.5"


def test_a_column_of_something_else_goes_by_its_own_name(runs):
    score, rating = curve(runs.assign(score=0.5), "score"), curve(runs.assign(rating=5.0), "rating")
    assert (quality_word(score), quality_title(score), quality_title(rating)) == ("score", "score (%)", "rating")
    assert (allowance(score, 0.02), allowance(rating, 0.5)) == ("2 points", "0.5 of rating")
    assert (difference_unit(score), difference_unit(rating)) == ("points", "")


def test_changes_are_losses_in_either_direction(runs, language):
    assert [change(curve(runs), row) for row in (0, 2)] == ["loses 6.3 points", "gains 0.1 points"]
    assert [change(curve(language), row) for row in (0, 2)] == ["loses 9.0 nats", "gains 0.1 nats"]
    assert change(curve(language), 0, unit=False) == "loses 9.0"
    assert change(curve(runs.assign(accuracy_val=[0.897, 0.96, 0.960001, 0.952])), 2) == "loses 0.0 points"


def test_changes_on_test_are_told_of_points_chosen_on_validation(runs, language):
    assert [change_on_test(curve(runs), row) for row in (0, 3)] == ["test: loses 6.5", "test: loses 0.0"]
    assert change_on_test(curve(language), 2) == "test: gains 0.1"
    assert change_on_test(curve(runs, "accuracy"), 0) == ""
    assert change_on_test(curve(runs.drop(columns="accuracy")), 0) == ""
    assert change_on_test(curve(runs.assign(accuracy=None)), 0) == ""


def test_a_point_says_on_how_many_of_its_seeds_it_was_compared(lucky):
    compared = curve(lucky)
    assert [named(compared, row) for row in range(3)] == ["prune=0.9 (2 of 3 seeds)", "prune=0.5", "reference"]


def test_levels_have_a_percent_sign_where_they_are_fractions(runs, language):
    assert level(curve(runs), 0.9314) == "93.1 %"
    assert level(curve(language), 21.34) == "21.3"
    assert at_chance(curve(language.assign(quality_chance=20.5)), 3, 0.0) == (
        "the reference learned nothing (21.0 where chance is 20.5)"
    )
    assert at_chance(curve(language.assign(quality_chance=21.4)), 3, 0.5) == (
        "the reference learned hardly anything, 0.5 nats or less (21.0 where chance is 21.4)"
    )
    assert at_chance(curve(language.assign(quality_chance=20.99)), 3, 0.0) == (
        "the reference learned nothing (21.0, as by chance)"
    )


def test_decimals_that_tell_a_number_from_another():
    assert decimals(2.03, other_than=2.0) == "2.03"
    assert decimals(2.0, other_than=2.0) == "2.000000"
    assert decimals(0.0) == decimals(0.0, rounding=0.05) == "0.0"


@given(st.floats(1e-4, 1e6), st.sampled_from([0.01, 0.05, 0.2]))
def test_a_rounded_number_is_off_by_no_more_than_its_share(value, rounding):
    text = decimals(value, rounding=rounding)
    assert abs(float(text) - value) <= rounding * value
    shorter = f"{value:.{len(text.partition('.')[2]) - 1}f}"
    assert len(text.partition(".")[2]) == 1 or abs(float(shorter) - value) > rounding * value


@given(st.floats(0.001, 0.999_99))
def test_a_saving_is_never_written_as_none(ratio):
    assert float(share(ratio).removesuffix("×")) == pytest.approx(ratio, rel=0.05)
    assert share(ratio) != "1×" and share(1.0) == "1×"
