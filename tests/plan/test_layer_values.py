"""Values for single layers: which pattern meets which layer, and which of several counts."""

import pytest

from effbench.plan.layer_values import SKIP, assign, check_patterns

NAMES = ["features.conv1", "features.conv2", "features.conv10", "classifier.0", "classifier.1", "head"]


def test_the_first_pattern_that_matches_counts_and_the_rest_have_the_default():
    values = assign({"features.conv1": 8, "features.*": 2, "*.0": SKIP}, NAMES, default=4)
    assert values == {
        "features.conv1": 8,
        "features.conv2": 2,
        "features.conv10": 2,
        "classifier.1": 4,
        "head": 4,
    }
    assert list(values) == [name for name in NAMES if name != "classifier.0"]
    assert assign({"features.*": 2, "features.conv1": 8}, NAMES, default=4)["features.conv1"] == 2


def test_a_value_that_is_zero_is_a_value():
    assert assign({"head": 0}, ["head"], default=4) == {"head": 0}
    assert assign({"head": 0.0}, ["head"], default=None) == {"head": 0.0}


def test_a_pattern_that_meets_nothing_is_named_with_the_layers_that_there_are():
    with pytest.raises(
        ValueError,
        match=r"^layers: the pattern conv9 meets no layer of the network; there are features\.conv1, .*head$",
    ):
        assign({"head": 1, "conv9": 2}, NAMES, default=4)


@pytest.mark.parametrize("pattern", ["", "  ", 3, None])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(ValueError, match=r"must be the name of layers, such as features\.conv\*"):
        check_patterns({"head": 1, pattern: 2})
