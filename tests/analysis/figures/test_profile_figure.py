import itertools

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from effbench.analysis import profile_figure


def table(rows):
    frame = pd.DataFrame(rows, columns=["layer", "group", "form", "macs", "params", "activations"])
    same = {"macs_effective": frame["macs"], "params_nonzero": frame["params"], "weights": frame["params"]}
    return frame.assign(**same, activation_bytes=4 * frame["activations"])


def network(n_blocks):
    """Blocks of a convolution, a norm and an activation, then attention and a fully connected layer."""
    rows = []
    for n in range(n_blocks):
        rows.append((f"features.block{n}.conv", "convolution", "3×3", 10 + n, 5 + n, 30))
        rows.append((f"features.block{n}.norm", "norm", "BatchNorm2d", 0, 1, 30))
        rows.append((f"features.block{n}.relu", "other", "ReLU", 0, 0, 15))
    rows.append(("attn", "attention", "projection", 7, 7, 7))
    rows.append(("attn", "attention", "products", 7, 0, 7))
    return table([*rows, ("classifier", "fully connected", "linear", 3, 900, 2)])


def bars(ax, gid):
    return [patch for container in ax.containers for patch in container if patch.get_gid() == gid]


def row_names(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_every_panel_adds_up_to_the_network():
    layers = network(3)
    figure = profile_figure(layers, title="a network")
    for ax, cost in zip(figure.axes, ("macs", "params", "activations"), strict=True):
        own, behind = (sum(bar.get_width() for bar in bars(ax, gid)) for gid in (cost, "behind"))
        assert own + behind == layers[cost].sum()
        assert len(bars(ax, cost)) == 6
    behind = [bar.get_width() for bar in bars(figure.axes[2], "behind")]
    assert behind == [45, 45, 45, 0, 0, 0]
    assert row_names(figure)[3:] == ["attn", "attn products", "classifier"]
    assert figure.get_suptitle() == "a network"


def test_groups_have_colours_of_their_own_and_stand_in_the_legend():
    figure = profile_figure(network(2))
    colours = [to_hex(bar.get_facecolor()) for bar in bars(figure.axes[0], "macs")]
    assert colours[0] == colours[1] and colours[2] == colours[3] and len(set(colours)) == 3
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words[:3] == ["convolution", "fully connected", "attention"] and words[3].startswith("norms, activations")


@pytest.mark.parametrize("n_blocks", [1, 17, 200])
def test_no_text_covers_another(n_blocks):
    figure = profile_figure(network(n_blocks), title="a network")
    figure.draw_without_rendering()
    assert figure.get_size_inches()[1] < 15
    renderer = figure.canvas.get_renderer()
    for ax in figure.axes:
        names = ax.get_yticklabels() if ax is figure.axes[0] else []
        shares = [text for text in ax.texts if text.get_gid() == "share"]
        for texts in (names, shares):
            boxes = sorted((text.get_window_extent(renderer) for text in texts), key=lambda box: box.y0)
            assert all(below.y1 <= above.y0 + 0.5 for below, above in itertools.pairwise(boxes))
        ticks = [label.get_window_extent(renderer) for label in ax.get_xticklabels() if label.get_text()]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(ticks))
    assert len(row_names(figure)) >= min(n_blocks + 3, 60)
    assert "classifier" in row_names(figure)  # the most costly ones are named, whatever their number
    assert figure.axes[1].texts[-1].get_text().strip().endswith(" %")


def test_titles_say_who_has_most():
    lines = profile_figure(network(2)).axes[1].get_title(loc="left").split("\n")
    assert lines[0] == "parameters: 920" and lines[1].startswith("fully connected 97.8 %")


def test_odd_networks_are_drawn():
    only_others = table([("pool", "other", "MaxPool2d", 0, 0, 4), ("$a_b", "norm", "Norm", 0, 2, 4)])
    assert row_names(profile_figure(only_others)) == ["pool", "$a_b"]
    first = table([("norm", "norm", "Norm", 0, 2, 4), ("", "fully connected", "Own", 6, 6, 2)])
    figure = profile_figure(first)
    assert row_names(figure) == ["(the network itself)"]
    assert [bar.get_width() for bar in bars(figure.axes[2], "behind")] == [4]
    with pytest.raises(ValueError, match="the profile has no layers"):
        profile_figure(table([]))
