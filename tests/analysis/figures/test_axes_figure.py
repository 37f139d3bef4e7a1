import pytest
from matplotlib.figure import Figure

from effbench.analysis import plot_axes

from ..conftest import runs_of

GRID = [("reference", 400, 1.0), ("prune=0.5", 200, 0.95), ("bits=8", 100, 1.0), ("prune=0.5, bits=8", 50, 0.95)]


def artists(ax, gid):
    return [artist for artist in (*ax.lines, *ax.collections) if artist.get_gid() == gid]


def test_each_axis_has_its_own_curve_from_the_reference_and_the_joint_front_lies_behind():
    ax = plot_axes(runs_of(GRID), ax=Figure().add_subplot())
    curves = {line.get_label(): list(map(float, line.get_xdata())) for line in artists(ax, "axis")}
    assert curves == {"prune": [200, 400], "bits": [100, 400]}
    (front,) = artists(ax, "joint_front")
    assert list(front.get_xdata()) == [50, 100] and front.get_zorder() < artists(ax, "axis")[0].get_zorder()
    assert len(artists(ax, "several")[0].get_offsets()) == 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("file size (bytes)", "validation accuracy (%)")


def test_categories_are_not_joined():
    points = [("reference", 400, 1.0), ("pooling=early", 200, 0.95), ("pooling=late", 100, 0.9), ("bits=8", 90, 1.0)]
    frame = runs_of(points)
    frame["pooling"] = frame["point"].map({"pooling=early": "early", "pooling=late": "late"}).fillna("usual")
    ax = plot_axes(frame, ax=Figure().add_subplot())
    assert {line.get_label(): line.get_linewidth() > 0 for line in artists(ax, "axis")} == {
        "pooling": False,
        "bits": True,
    }


def test_numbers_are_joined_whatever_the_reference_has_in_their_place():
    frame = runs_of([("reference", 400, 1.0), ("hidden=100", 200, 0.95), ("hidden=50", 100, 0.9), ("bits=8", 90, 1.0)])
    hidden = {"hidden=100": 100, "hidden=50": 50}
    for own in (None, "300-100"):
        frame["hidden"] = [hidden.get(point, own) for point in frame["point"]]
        ax = plot_axes(frame.astype({"hidden": object}), ax=Figure().add_subplot())
        assert all(line.get_linewidth() > 0 for line in artists(ax, "axis"))


def test_names_are_not_read_as_mathematics():
    frame = runs_of([("reference", 400, 1.0), ("a_b=5", 200, 0.95), ("a_c=8", 100, 1.0)])
    ax = plot_axes(frame, ax=Figure().add_subplot())
    assert not any(text.get_parse_math() for text in ax.get_legend().get_texts())


def test_without_an_axis_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="no axis varies"):
        plot_axes(runs_of(GRID[:1]), cost="size_bytes", ax=Figure().add_subplot())
