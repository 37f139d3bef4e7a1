"""Names of others in figures."""

import pytest

from effbench.analysis.figures.names import LONGEST, shown_name


@pytest.mark.parametrize("name", ["prune=0.5", "$x$", "_a_", "<script>", "prune=0.9 asked,\n0.7 reached"])
def test_a_name_stays_what_it_is(name):
    assert shown_name(name) == name


def test_what_matplotlib_can_not_draw_is_written_out_and_the_middle_of_a_long_name_is_left_out():
    assert shown_name("a\x1b\u202eb") == r"a\x1b\u202eb"
    long = shown_name("model=" + "x" * 100 + ", prune=0.5")
    assert len(long) == LONGEST and long.startswith("model=") and long.endswith("prune=0.5")
