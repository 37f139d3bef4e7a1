"""Several sweeps in one figure."""

from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from effbench.analysis import plot_saturation
from tests.analysis.conftest import runs_of


@pytest.fixture
def ax():
    return Figure(figsize=(6, 4)).subplots()


@pytest.fixture
def coarse(runs):
    changed = runs.assign(point=["reference", "bits=8", "bits=4", "bits=2"][: len(runs)])
    return changed.assign(size_bytes=changed["size_bytes"] * 0.5, accuracy_val=changed["accuracy_val"] - 0.001)


def with_gid(ax, gid):
    return [artist for artist in ax.get_children() if artist.get_gid() == gid]


@pytest.mark.extended
def test_each_has_a_front_a_reference_and_a_point_in_its_own_colour(runs, coarse, ax):
    assert plot_saturation([runs, SimpleNamespace(runs=coarse)], labels=["pruned", "rounded"], ax=ax) is ax
    fronts, rings, references = (with_gid(ax, gid) for gid in ("front", "saturation", "reference"))
    assert [len(fronts), len(rings), len(references)] == [2, 2, 2]
    colours = [line.get_color() for line in fronts]
    assert len(set(colours)) == 2 and len({line.get_marker() for line in fronts}) == 2
    from matplotlib.colors import to_rgba

    assert [tuple(ring.get_edgecolor()[0]) for ring in rings] == [to_rgba(colour) for colour in colours]
    alone = [plot_saturation(frame, ax=Figure().subplots()) for frame in (runs, coarse)]
    assert [ring.get_offsets().tolist() for ring in rings] == [
        with_gid(one, "saturation")[0].get_offsets().tolist() for one in alone
    ]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "pruned", "rounded", "its reference", "its saturation point",
    ]  # fmt: skip
    assert len(ax.texts) == 2 and ax.texts[0].get_text().startswith("pruned: ")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("file size (KB)", "validation accuracy (%)")


@pytest.mark.extended
def test_names_are_made_where_there_are_none_and_no_legend_where_none_is_wanted(runs, coarse, ax):
    plot_saturation([runs, coarse], ax=ax, legend=False)
    assert ax.get_legend() is None and ax.texts[0].get_text().startswith("sweep 1: ")


def test_all_share_one_cost(runs, coarse, ax):
    smaller = runs_of([("reference", 400, 0.9), ("a=1", 300, 0.89)], macs=7)
    quicker = runs_of([("reference", 400, 0.9), ("a=1", 400, 0.89)], macs=7)
    quicker.loc[quicker["point"] == "a=1", "macs"] = 5
    with pytest.raises(ValueError, match=r"no cost varies in all of the sweeps; give cost="):
        plot_saturation([smaller, quicker], ax=ax)
    plot_saturation([quicker, quicker], ax=ax)
    assert ax.get_xlabel().startswith("multiply-adds")


@pytest.mark.parametrize(
    ("frames", "labels", "message"),
    [
        ([], None, "0 frames and 0 labels"),
        (["runs"], ["a", "b"], "1 frames and 2 labels"),
        (["runs", 3], None, "int: must be a frame of runs, or the result of run_sweep"),
        (["runs", "other quality"], None, "the sweeps have several qualities"),
    ],
)
def test_what_can_not_be_compared_is_refused(runs, ax, frames, labels, message):
    other = runs.rename(columns={"accuracy_val": "miou_val"}).assign(
        quality_name="miou", quality_kind="ratio", quality_unit="points", quality_direction="higher", quality_chance=0.0
    )
    known = {"runs": runs, "other quality": other}
    with pytest.raises(ValueError) as caught:
        plot_saturation([known.get(str(frame), frame) for frame in frames], labels=labels, ax=ax)
    assert message in str(caught.value)


def test_labels_are_for_several(runs, ax):
    with pytest.raises(ValueError, match="are for several frames"):
        plot_saturation(runs, labels=["a"], ax=ax)


def test_many_points_and_no_point_are_drawn(ax):
    flat = runs_of([("reference", 400, 0.9), ("a=1", 300, 0.5)])
    plot_saturation([flat, flat], ax=ax)
    assert len(with_gid(ax, "front")) == 2
