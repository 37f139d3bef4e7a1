"""The axes of a figure: scales, units and words for one curve or several."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.figures.figure_axes import write_axes


def curve(*sizes):
    frame = pd.DataFrame(
        {"point": [f"p={n}" for n in range(len(sizes))], "size_bytes": sizes, "accuracy_val": [0.9] * len(sizes)}
    )
    return curve_of(frame, cost="size_bytes")


@pytest.mark.parametrize(
    ("curves", "scale", "label"),
    [
        ([curve(100, 200)], "linear", "file size (bytes)"),
        ([curve(100, 200), curve(5000, 9000)], "log", "file size (bytes)"),
        ([curve(2e6, 4e6), curve(5e6, 9e6)], "linear", "file size (MB)"),
    ],
)
def test_all_curves_are_spanned(curves, scale, label):
    ax = Figure().subplots()
    write_axes(ax, curves)
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_ylabel()) == (scale, label, "validation accuracy (%)")
