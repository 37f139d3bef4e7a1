"""Cells on the page: within the picture, names beside them that do not touch."""

from itertools import pairwise

import pytest

from effbench.analysis.report.cells import Cells, Content
from effbench.analysis.report.labels import text_width


def cells_of(n_down, n_across, name="{}", text="1.0"):
    content = Content(text=text, said="a point", share=0.5)
    return Cells(
        **dict.fromkeys(("title", "described", "note", "x_title", "y_title", "key_title"), "x"),
        key_ends=("0", "1"),
        contents=[[content] * n_across for _ in range(n_down)],
        across=[name.format(number) for number in range(n_across)],
        down=[name.format(number) for number in range(n_down)],
        edges=[((0, 0), (0, n_down))],
    )


@pytest.mark.parametrize("name", ["{}", "value-{}", "a very long name of a category {}"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 30), (30, 2), (60, 60), (100, 3)])
def test_nothing_leaves_the_picture_and_no_name_touches_another(shape, name):
    cells = cells_of(*shape, name=name)
    assert len(cells.cells) == shape[0] * shape[1] and cells.width > 0
    last = cells.cells[-1]
    assert last.x + cells.width <= 470.01 and last.y + cells.row_height <= cells.bottom + 0.01
    assert all(text_width(text) <= cells.left for _, text in cells.rows)
    across, down = ([at for at, _ in names] for names in (cells.columns, cells.rows))
    least = 13 if cells.are_upright else max(text_width(text) for _, text in cells.columns)
    for places, room in ((across, least), (down, 13)):
        assert all(b - a >= room - 0.01 for a, b in pairwise(places))
    assert cells.below > cells.bottom
    assert cells.outline == f"M{cells.left:.1f} {cells.top:.1f}L{cells.left:.1f} {cells.bottom:.1f}"


def test_texts_stand_in_cells_where_all_have_room():
    assert cells_of(3, 6).has_texts
    assert not cells_of(3, 40).has_texts and not cells_of(80, 3).has_texts
    assert not cells_of(3, 6, text="a longer text").has_texts


def test_text_is_black_on_light_and_white_on_dark():
    contents = [Content(text="", said="", share=share) for share in (0.0, 1.0, None)]
    (light, dark, empty) = Cells(
        **dict.fromkeys(("title", "described", "note", "x_title", "y_title", "key_title"), "x"),
        key_ends=("0", "1"),
        contents=[contents],
        across=["a", "b", "c"],
        down=["d"],
    ).cells
    assert (light.ink, dark.ink, empty.ink, empty.fill) == ("black", "white", "", "")
