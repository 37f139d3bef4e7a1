"""The heat map on the page: what each cell says, where it leads, which is framed."""

from effbench.analysis import answers
from effbench.analysis.report.heat_map import heat_maps


def maps(runs):
    return heat_maps(answers(runs), tolerance=0.02, page_of=lambda keys: f"/{len(keys)}" if keys else None)


def test_each_cell_says_its_point_and_leads_to_its_runs(grid_runs):
    (cells,) = maps(grid_runs(n_seeds=3, missing=[(0.9, 4)]))
    contents = [content for row in cells.contents for content in row]
    assert [content.text for content in contents] == ["0.0", "0.6", "6.6", "0.0", "0.6", "6.6", "3.0", "3.6", "–"]
    assert contents[1].said.startswith("prune=0.5\nvalidation accuracy: 94.5 %")
    assert contents[1].page == "/3"
    assert contents[-1].said == "prune=0.9, bits=4: no run of it has finished" and contents[-1].page is None
    assert [content.is_framed for content in contents].index(True) == 4 and contents[4].said.startswith("prune=0.5, b")
    assert (cells.across, cells.down) == (["0", "0.5", "0.9"], ["32", "8", "4"])
    assert cells.note == "outlined: within 2 points; framed: the saturation point (file size)"
    assert "8 of 9 cells, of which 4 are within the tolerance" in cells.described
    assert cells.key_ends == ("0", "6.6")


def test_large_losses_have_one_colour_which_is_said(grid_runs):
    (cells,) = maps(grid_runs(prunes=(0.0, 0.5, 1.2)))
    assert cells.key_ends[1] == "10.0 or more"


def test_one_axis_or_points_that_move_one_alone_have_no_map(grid_runs):
    assert maps(grid_runs(widths=(32,))) == []
    assert maps(grid_runs(missing=[(p, b) for p in (0.5, 0.9) for b in (8, 4)])) == []
