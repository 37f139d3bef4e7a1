"""The heat map: numbers, frames and names where they belong, none over another."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

import effbench
from effbench.analysis import figure_bytes, plot_heatmap

from ..conftest import runs_of

GRID = [("reference", 400, 1.0), ("prune=0.5", 200, 0.95), ("bits=8", 100, 1.0), ("prune=0.5, bits=8", 50, 0.95)]


def big(n_across, n_down, name="prune", loss=0.005, seeds=(0,)):
    points = [("reference", 10**6, 0.99)]
    for x in range(n_across):
        for y in range(n_down):
            parts = [f"{name}={name}-{x}"] * (x > 0) + [f"bits={32 - y}"] * (y > 0)
            points.append((", ".join(parts), 10**6 - 20_000 * x - 3_700 * y, 0.99 - loss * (x + y))) if parts else None
    return runs_of(points, seeds=seeds)


def drawn(frame, **options):
    ax = plot_heatmap(frame, ax=Figure(figsize=(6, 4), layout="constrained").add_subplot(), **options)
    ax.figure.draw_without_rendering()
    return ax


def artists(ax, gid):
    return [artist for artist in (*ax.collections, *ax.patches) if artist.get_gid() == gid]


def test_cells_hold_losses_and_the_saturation_point_is_framed():
    ax = drawn(runs_of(GRID))
    assert [text.get_text() for text in ax.texts] == ["0.0", "5.0", "0.0", "5.0"]
    (frame,) = artists(ax, "saturation")
    assert (round(frame.get_x() - 0.06), round(frame.get_y() - 0.08)) == (0, 1)  # bits=8, not pruned
    assert len(artists(ax, "within")[0].get_segments()) == 6
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("prune", "bits")
    assert ax.figure.axes[1].get_ylabel() == "validation accuracy lost (points)"
    assert "outlined: within 2 points; framed: the saturation point" in ax.get_title(loc="left")


def test_a_cell_without_a_run_has_a_dash():
    ax = drawn(runs_of([*GRID[:3], ("prune=0.9, bits=8", 50, 0.95)]))
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("–") == 2 and len(texts) == 6


def test_where_the_saturation_point_is_not_in_the_figure_it_is_named():
    points = [("reference", 400, 1.0), *((f"prune=0.5, bits=8, coder={c}", n, 1.0) for c, n in (("a", 90), ("b", 80)))]
    ax = drawn(runs_of([*points, ("bits=8", 100, 1.0), ("prune=0.9", 9, 0.5)]), axes=("prune", "bits"))
    title = ax.get_title(loc="left").replace("\n", " ")
    assert "coder=b, is not among these; at coder=reference" in title and not artists(ax, "saturation")


@pytest.mark.parametrize("shape", [(10, 6), (3, 20), (20, 12)])
def test_no_text_touches_another_up_to_hundreds_of_cells(shape):
    ax = plot_heatmap(big(*shape))
    ax.figure.draw_without_rendering()
    texts = [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels(), ax.xaxis.label, ax.yaxis.label, ax.title]
    boxes = np.array([t.get_window_extent().extents for t in texts if t.get_text() and t.get_visible()])
    plt.close(ax.figure)
    touches = (boxes[:, None, :2] < boxes[None, :, 2:] - 0.5).all(2) & (
        boxes[:, None, 2:] > boxes[None, :, :2] + 0.5
    ).all(2)
    assert touches.sum() == len(boxes)
    size = ax.figure.bbox.extents
    assert (boxes[:, :2] >= size[:2] - 0.5).all() and (boxes[:, 2:] <= size[2:] + 0.5).all()


def test_cells_are_vectors_and_names_are_not_mathematics():
    ax = drawn(big(3, 3, name="a_b"))
    svg = figure_bytes(ax.figure, "svg").decode()
    assert "a_b-1" in svg
    assert svg.count("<image") <= 1  # the bar of colours is one
    assert not any(label.get_parse_math() for label in ax.get_xticklabels())


@pytest.mark.parametrize("axes", [None, ("prune", "rho")])
def test_without_two_axes_there_is_none(axes):
    with pytest.raises(ValueError, match="axes"):
        plot_heatmap(runs_of(GRID[:2]), axes=axes)


def test_it_is_public():
    assert effbench.plot_heatmap is plot_heatmap and "plot_heatmap" in dir(effbench)
