"""On which share of the weights techniques acted: one line for all points of which the same is true."""

import pytest

from effbench.config.read import read_sweep
from effbench.sweep.shares import share_lines


@pytest.fixture
def points():
    return read_sweep(["prune=0.1,0.5,0.9", "bits=8"]).plan.points


def lines(points, **shares):
    """Return the lines where all points but the reference acted on `shares`, by step."""
    acted = {f"acted_share/{step}": share for step, share in shares.items()}
    metrics = {point.key: {"accuracy": 0.9, **({} if point.is_reference else acted)} for point in points}
    words = {point.key: {"left/quantize": "lstm.weight_ih_l0"} for point in points}
    return share_lines(points, metrics, words)


def test_where_all_was_acted_on_nothing_is_said(points):
    assert lines(points) == []


def test_points_of_which_the_same_is_true_share_a_line(points):
    assert lines(points, prune=0.5, quantize=0.312) == [
        "prune=0.1, bits=8; prune=0.5, bits=8; prune=0.9, bits=8: prune acted on 50 % of the weights",
        "prune=0.1, bits=8; prune=0.5, bits=8; prune=0.9, bits=8: quantize acted on 31 % of the weights; "
        "left: lstm.weight_ih_l0",
    ]


def test_another_share_than_was_asked_for_is_told(points):
    words = {point.key: {"removed/prune_channels": "30 % of the channels that can go"} for point in points[:2]}
    (line,) = share_lines(points, {point.key: {} for point in points}, words)
    assert line == "reference; prune=0.1, bits=8: prune_channels removed 30 % of the channels that can go"


def test_a_file_that_is_longer_than_its_step_made_it_is_told(points):
    metrics = {point.key: {"size_bytes": 1100.0, "rate_bytes/rate": 1000.0} for point in points[1:2]}
    metrics |= {point.key: {"size_bytes": 1010.0, "rate_bytes/rate": 1000.0} for point in points[2:]}
    metrics |= {point.key: {} for point in points[:1]}
    (line,) = share_lines(points, metrics, {point.key: {"made_for/rate": "context"} for point in points})
    assert line == (
        "prune=0.1, bits=8: the file is 1.10 × as long as rate made it; it is for coder=context, so give that in place "
        "of huffman"
    )
    (line,) = share_lines(points, metrics, {})
    assert line == "prune=0.1, bits=8: the file is 1.10 × as long as rate made it"


def test_of_many_points_the_first_are_named():
    many = read_sweep(["prune=0.1,0.2,0.3,0.4,0.5"]).plan.points
    (line,) = lines(many, prune=0.5)
    assert line.startswith("prune=0.1; prune=0.2; prune=0.3 and 2 more: ")


@pytest.mark.parametrize(("share", "text"), [(0.9999, "99.99 %"), (0.0004, "0.04 %"), (0.5, "50 %")])
def test_a_share_is_never_said_to_be_all_or_none(points, share, text):
    (line,) = lines(points, prune=share)
    assert f"acted on {text} of the weights" in line
