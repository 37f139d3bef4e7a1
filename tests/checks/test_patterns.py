"""Which pattern meets which name."""

import pytest

from effbench.checks.patterns import matches

NAMES = ["features.conv1", "features.conv2", "features.conv10", "classifier.0", "classifier.1", "head"]


@pytest.mark.parametrize(
    ("pattern", "met"),
    [
        ("features.conv1", ["features.conv1"]),
        ("features.*", NAMES[:3]),
        ("features.conv?", NAMES[:2]),
        ("features.conv[13]", ["features.conv1"]),
        ("*1", ["features.conv1", "classifier.1"]),
        ("head.*", ["head"]),  # the module itself, and all within it
        ("head*", ["head"]),
        ("*", NAMES),
        ("HEAD", []),
        ("conv1", []),
    ],
)
def test_a_pattern_meets_whole_names(pattern, met):
    assert [name for name in NAMES if matches(pattern, name)] == met
