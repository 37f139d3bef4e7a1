"""What is drawn of a curve."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.figures.marks import COLOURS, base_word, draw_chosen, draw_deviations, draw_points, style_of
from tests.analysis.conftest import runs_of


@pytest.fixture
def ax():
    return Figure().subplots()


def gids(ax):
    return [artist.get_gid() for artist in ax.get_children() if artist.get_gid()]


def test_what_points_are_compared_with(lucky):
    assert base_word(curve_of(lucky, cost="size_bytes")) == "reference"
    alone = lucky[lucky["reference"]]
    assert base_word(curve_of(alone, cost="size_bytes")) == "most accurate"


def test_styles_differ_in_grey_too():
    styles = [style_of(number) for number in range(49)]
    assert len(set(styles)) == 49
    assert len({style.shape for style in styles[:7]}) == 7 == len({style.colour for style in styles[:7]})


def luminance(colour):
    parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return float(np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("matrix", ["protan", "deutan", "tritan"])
def test_the_first_colours_are_told_apart_with_every_kind_of_colour_vision(matrix):
    # Machado, Oliveira and Fernandes 2009 (doi:10.1109/TVCG.2009.113), severity 1, on linear RGB.
    seen = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
    }[matrix]
    rgb = np.array([[int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)] for c in COLOURS[:4]])
    shown = (rgb**2.2) @ np.array(seen).T
    distances = np.linalg.norm(shown[:, None] - shown[None], axis=-1) + 9 * np.eye(len(shown))
    assert distances.min() > 0.1
    assert all(luminance(colour) < 0.6 for colour in COLOURS)


def test_seeds_are_dots_with_bars_and_both_are_explained(seeded, ax):
    entries = draw_deviations(ax, curve_of(seeded, cost="size_bytes"))
    assert [entry.text for entry in entries] == ["single seeds", "± standard deviation over seeds"]
    (dots,) = [artist for artist in ax.collections if artist.get_gid() == "seeds"]
    assert len(dots.get_offsets()) == len(seeded)
    single = Figure().subplots()
    one = curve_of(runs_of([("reference", 9, 0.9), ("a=1", 5, 0.8)], seeds=(0,)), cost="size_bytes")
    assert draw_deviations(single, one) == [] and gids(single) == []


def test_the_interval_is_a_band_where_the_choice_moves(runs, ax):
    curve = curve_of(runs, cost="size_bytes")
    assert [entry.text for entry in draw_chosen(ax, curve, 1, (60_000, 164_000))][1:] == ["its 95 % interval"]
    assert sorted(gids(ax)) == ["interval", "interval_band", "saturation"]
    still = Figure().subplots()
    assert len(draw_chosen(still, curve, 1, (164_000, 164_000))) == 1 and gids(still) == ["saturation"]


def test_names_of_all_panels_give_a_series_its_style(runs, ax):
    curve = curve_of(runs, cost="size_bytes")
    draw_points(ax, curve, ["other", ""])
    (line,) = [line for line in ax.lines if line.get_gid() == "front"]
    assert line.get_color() == COLOURS[1]
