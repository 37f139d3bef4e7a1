import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from effbench.analysis import plot_saturation
from tests.analysis.conftest import runs_of


@pytest.fixture
def ax():
    """Axes of a figure that pyplot does not know; afterwards, nothing is left open and no setting changed."""
    before = dict(mpl.rcParams)
    yield Figure(figsize=(6, 4)).subplots()
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def with_gid(ax, gid):
    return [artist for artist in ax.get_children() if artist.get_gid() == gid]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def drawn_boxes(ax):
    ax.figure.draw_without_rendering()
    return [super(type(text), text).get_window_extent() for text in ax.texts]


def test_everything_is_drawn(runs, ax):
    assert plot_saturation(runs, ax=ax) is ax
    drawn = [
        tuple(xy) for gid in ("points", "reference") for artist in with_gid(ax, gid) for xy in artist.get_offsets()
    ]
    assert set(drawn) == set(zip(runs["size_bytes"], runs["accuracy_val"], strict=True))
    assert [len(with_gid(ax, gid)) for gid in ("front", "saturation", "reference", "tolerance")] == [1, 1, 1, 1]
    assert with_gid(ax, "saturation")[0].get_offsets().tolist() == [[164_000, 0.952]]
    assert with_gid(ax, "reference")[0].get_offsets().tolist() == [[400_000, 0.96]]
    assert with_gid(ax, "tolerance")[0].get_ydata()[0] == pytest.approx(0.94)
    assert with_gid(ax, "deviations") == []


def test_titles_have_units_and_every_point_its_name(runs, ax):
    plot_saturation(runs, ax=ax)
    assert ax.get_xlabel() == "file size (KB)"
    assert ax.get_ylabel() == "validation accuracy (%)"
    assert set(texts(ax)) == {
        "prune=0.1",
        "prune=0.9",
        "reference",
        "prune=0.5\n0.41× the bytes,\n−0.8 points\ntest: −0.9",
    }
    assert ax.xaxis.get_major_formatter()(200_000, 0) == "200"
    assert ax.yaxis.get_major_formatter()(0.95, 0) == "95"


def test_names_do_not_overlap(runs, seeded, ax):
    plot_saturation(seeded, ax=ax)
    for first, second in itertools.combinations(drawn_boxes(ax), 2):
        assert not first.overlaps(second)


def test_seeds_give_error_bars_in_both_directions(seeded, ax):
    plot_saturation(seeded, ax=ax)
    bars = with_gid(ax, "deviations")
    assert len(bars) == 2
    half = np.std([-0.003, 0.001, 0.002], ddof=1)
    vertical = bars[1].get_segments()
    assert len(vertical) == 4
    assert all(np.ptp(segment[:, 1]) == pytest.approx(2 * half) for segment in vertical)


def test_no_line_joins_categories(ax):
    frame = pd.DataFrame(
        {
            "point": ["pooling=early", "reference", "pooling=late"],
            "pooling": ["early", "even", "late"],
            "reference": [False, True, False],
            "macs": [1e6, 2e6, 6e6],
            "accuracy_val": [0.93, 0.955, 0.967],
        }
    )
    plot_saturation(frame, ax=ax)
    assert with_gid(ax, "front") == []
    assert ax.get_xlabel() == "multiply-adds (M MACs)"
    assert ax.get_title(loc="left").startswith("nothing cheaper than the reference stays within 2 points")


def test_a_wide_range_is_logarithmic(runs, ax):
    plot_saturation(runs.assign(size_bytes=[20_000, 400_000, 300_000, 100_000]), ax=ax)
    assert ax.get_xscale() == "log"
    low, high = ax.get_xlim()
    assert sum(low <= tick <= high for tick in ax.get_xticks()) >= 3


def test_not_reached_is_said(runs, ax):
    plot_saturation(runs, ax=ax, tolerance=0.1)
    assert with_gid(ax, "saturation") == []
    title = " ".join(ax.get_title(loc="left").split())
    assert title == "not reached: even prune=0.9 stays within 10 points; sweep further"


def test_a_title_is_a_reason_where_the_reference_is_the_answer(runs, ax):
    plot_saturation(runs.assign(accuracy_val=[0.5, 0.96, 0.9, 0.8]), ax=ax)
    title = " ".join(ax.get_title(loc="left").split())
    assert title == "nothing cheaper than the reference stays within 2 points: already prune=0.1 loses 6.0 points"


def test_points_that_lack_seeds_say_so_and_stand_where_they_are_compared(lucky, ax):
    plot_saturation(lucky, ax=ax, tolerance=0.025)
    assert "prune=0.9 (2 of 3 seeds)" in texts(ax)
    line = with_gid(ax, "tolerance")[0].get_ydata()[0]
    heights = {round(xy[0]): xy[1] for artist in with_gid(ax, "points") for xy in artist.get_offsets()}
    assert heights[10_000] < line < heights[50_000]  # its mean of two seeds is above the line


def test_points_that_ended_early_say_how_far_they_came(ax):
    frame = runs_of([("reference", 9, 0.9), ("prune=0.5", 5, 0.9), ("prune=0.9", 3, 0.89)], seeds=(0,))
    plot_saturation(frame.assign(prune=[0, 0.5, 0.9], prune_reached=[0, 0.5, 0.7]), ax=ax)
    assert "prune=0.9 asked,\n0.7 reached" in texts(ax)
    assert "its rounds ended before what was asked" in " ".join(ax.get_title(loc="left").split())


def test_controls_are_drawn_apart(lucky, ax):
    control = runs_of([("distill=0.9", 99_000, 0.97)]).assign(control=True)
    plot_saturation(pd.concat([lucky.assign(control=False), control]), ax=ax)
    (drawn,) = with_gid(ax, "control")
    assert drawn.get_offsets().tolist() == [[99_000, pytest.approx(0.97)]]
    assert "distill=0.9" in texts(ax)
    assert len(np.concatenate([a.get_offsets() for a in with_gid(ax, "points")])) == 3


def test_every_reference_has_its_line(ax):
    frame = pd.concat(
        [
            runs_of([(f"{r}, reference", 9, q), (f"{r}, a=1", 5, 0.7)], reference=f"{r}, reference")
            for r, q in (("b=1", 0.9), ("b=2", 0.8))
        ]
    )
    plot_saturation(frame, ax=ax)
    assert [line.get_ydata()[0] for line in with_gid(ax, "tolerance")] == pytest.approx([0.78, 0.88])
    assert with_gid(ax, "reference")[0].get_offsets()[:, 1].tolist() == pytest.approx([0.9, 0.8])
    assert [text.get_text() for text in ax.get_legend().get_texts()].count("reference − 2 points") == 1
    assert {"b=1, reference", "b=2, reference"} <= set(texts(ax))


def test_several_networks_are_drawn_one_at_a_time(runs, ax):
    both = pd.concat([runs, runs.assign(model="other", accuracy_val=0.5)])
    with pytest.raises(ValueError, match="choose with model="):
        plot_saturation(both, ax=ax)
    plot_saturation(both, ax=ax, model="small_cnn")
    assert with_gid(ax, "reference")[0].get_offsets().tolist() == [[400_000, 0.96]]


def test_networks_without_a_reference_are_beside_the_most_accurate(ax):
    frame = pd.concat(
        [runs_of([("reference", s, q)], seeds=(0,), model=m) for m, s, q in (("a", 9, 0.9), ("b", 2, 0.89))]
    )
    plot_saturation(frame.assign(run_key=["x", "y"], reference_key=["x", "y"]), ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "Pareto front", "most accurate", "saturation point", "most accurate − 2 points",
    ]  # fmt: skip
    assert "a" in texts(ax) and with_gid(ax, "saturation")[0].get_offsets().tolist() == [[2, 0.89]]


def test_a_grid_names_only_what_matters(ax):
    rows = [{"point": "reference", "reference": True, "size_bytes": 1e6, "accuracy_val": 0.98}]
    for a, p in itertools.product((0.25, 0.5, 0.75, 1.0), (0.1, 0.3, 0.5, 0.7, 0.9)):
        quality = 0.98 - 0.02 / a - 0.03 * p**3
        label = f"alpha={a}, prune={p}"
        rows.append({"point": label, "reference": False, "size_bytes": 1e6 * a * a * (1 - p), "accuracy_val": quality})
    plot_saturation(pd.DataFrame(rows), ax=ax)
    assert "reference" in texts(ax)
    assert 2 <= len(ax.texts) <= 12
    for first, second in itertools.combinations(drawn_boxes(ax), 2):
        assert not first.overlaps(second)


def test_the_knee_has_no_tolerance_line(runs, ax):
    plot_saturation(runs, ax=ax, method="kneedle")
    assert with_gid(ax, "tolerance") == []


def test_a_single_point_can_be_drawn_and_no_point_can_not(runs, ax):
    plot_saturation(runs.iloc[1:2], ax=ax)
    ax.figure.draw_without_rendering()
    assert ax.get_title(loc="left") == "2 points are needed, there is 1"
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_saturation(runs.iloc[:0], ax=ax)


@pytest.mark.extended
def test_without_axes_one_figure_is_made_and_saved(runs, tmp_path):
    drawn = plot_saturation(runs)
    assert plt.get_fignums() == [drawn.figure.number]
    drawn.figure.savefig(tmp_path / "figure.png", dpi=200)
    plt.close(drawn.figure)
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_mean_of_ratios_is_drawn_in_percent(segmented, ax):
    plot_saturation(segmented, ax=ax)
    assert ax.get_ylabel() == "validation miou (%)"
    assert "prune=0.5\n0.41× the bytes,\n−0.8 mIoU points\ntest: −0.9" in texts(ax)
    assert with_gid(ax, "tolerance")[0].get_label() == "reference − 2 mIoU points"


def test_where_lower_is_better_true_values_are_drawn(language, ax):
    plot_saturation(language, ax=ax, tolerance=0.5)
    assert ax.get_ylabel() == "validation perplexity"
    drawn = [xy[1] for gid in ("points", "reference") for artist in with_gid(ax, gid) for xy in artist.get_offsets()]
    assert sorted(drawn) == [20.9, 21.0, 21.3, 30.0]
    assert with_gid(ax, "saturation")[0].get_offsets().tolist() == [[164_000, 21.3]]
    line = with_gid(ax, "tolerance")[0]
    assert (line.get_ydata()[0], line.get_label()) == (21.5, "reference + 0.5 nats")
    assert "prune=0.5\n0.41× the bytes,\n+0.3 nats\ntest: +0.4" in texts(ax)
    assert ax.get_yscale() == "linear" and not ax.yaxis_inverted()
    for first, second in itertools.combinations(drawn_boxes(ax), 2):
        assert not first.overlaps(second)


def test_an_exponential_over_a_wide_range_is_logarithmic(language, ax):
    wide = language.assign(perplexity_val=[240.0, 21.0, 20.9, 21.3])
    # Error bars that would reach below 0.
    spread = pd.concat([wide.assign(seed=s, perplexity_val=wide["perplexity_val"] * f) for s, f in ((0, 0.1), (1, 2))])
    plot_saturation(spread, ax=ax, tolerance=0.5)
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert sum(low <= tick <= high for tick in ax.get_yticks()) >= 2
    ax.figure.draw_without_rendering()


def test_a_fraction_over_a_wide_range_is_not(runs, ax):
    plot_saturation(runs.assign(accuracy_val=[0.05, 0.96, 0.961, 0.952]), ax=ax)
    assert ax.get_yscale() == "linear"
