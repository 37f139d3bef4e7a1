import pandas as pd
import pytest

from effbench.analysis import chosen_layers, profile_summary, with_shares

ROWS = [
    ("conv1", "convolution", 300, 10, 80),
    ("norm1", "norm", 0, 2, 80),
    ("conv2", "convolution", 500, 20, 20),
    ("fc", "fully connected", 200, 168, 4),
]


@pytest.fixture
def layers():
    return table(ROWS)


def table(rows):
    frame = pd.DataFrame(rows, columns=["layer", "group", "macs", "params", "activations"])
    same = {"macs_effective": frame["macs"], "params_nonzero": frame["params"], "weights": frame["params"]}
    return frame.assign(form="", **same, activation_bytes=4 * frame["activations"])


def test_shares_are_of_the_whole(layers):
    shared = with_shares(layers)
    assert shared["macs_share"].tolist() == [0.3, 0.0, 0.5, 0.2]
    assert shared[["macs_share", "params_share", "activations_share"]].sum().tolist() == pytest.approx([1, 1, 1])
    assert "macs_share" not in layers.columns


def test_of_nothing_shares_are_zero():
    shared = with_shares(table([("pool", "other", 0, 0, 4)]))
    assert shared[["macs_share", "params_share", "activations_share"]].values.tolist() == [[0.0, 0.0, 1.0]]


def test_groups_are_summed(layers):
    summary = profile_summary(layers, groups=("fully connected", "recurrent", "convolution"))
    assert summary["group"].tolist() == ["fully connected", "convolution", "norm"]
    assert summary["layers"].tolist() == [1, 2, 1]
    assert summary["macs"].tolist() == [200, 800, 0] and summary["params_share"].tolist() == [0.84, 0.15, 0.01]
    assert profile_summary(layers)["group"].tolist() == ["convolution", "norm", "fully connected"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["conv1", "norm1", "conv2", "fc"]),
        ({"sort": "macs"}, ["conv2", "conv1", "fc", "norm1"]),
        ({"sort": "params", "top": 2}, ["fc", "conv2"]),
        ({"sort": "activations", "top": 3}, ["conv1", "norm1", "conv2"]),
        ({"top": 2}, ["conv2", "fc"]),  # in their order, those with the largest share of anything
        ({"top": 9}, ["conv1", "norm1", "conv2", "fc"]),
    ],
)
def test_layers_are_chosen(layers, options, names):
    assert chosen_layers(layers, **options)["layer"].tolist() == names


def test_what_is_no_profile_is_refused(layers):
    with pytest.raises(ValueError, match="sort=size: must be one of order, macs, params, activations"):
        chosen_layers(layers, sort="size")
    with pytest.raises(ValueError, match="weights: a profile has this column; there are layer, group"):
        with_shares(layers.drop(columns="weights"))
