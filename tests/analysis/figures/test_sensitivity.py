import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from effbench.analysis import plot_sensitivity

WIDTHS, LAYERS = (8, 4, 2), ("conv2", "conv10", "head")


def table(increase=lambda layer, bits: 10.0**-bits):
    rows = itertools.product(LAYERS, WIDTHS)
    return pd.DataFrame(
        [
            {
                "layer": layer,
                "weights": 1000 * (LAYERS.index(layer) + 1),
                "bits": bits,
                "loss_increase": increase(layer, bits),
                "accuracy_val": 0.9,
                "chosen": bits == WIDTHS[LAYERS.index(layer)],
            }
            for layer, bits in rows
        ]
    )


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_layers_are_rows_widths_columns_and_choices_framed():
    ax = plot_sensitivity(
        table().sample(frac=1, random_state=0).sort_values("layer", key=lambda s: s.map(LAYERS.index))
    )
    assert labels(ax.xaxis) == ["8", "4", "2"]
    assert labels(ax.yaxis) == ["conv2 (1.00 K)", "conv10 (2.00 K)", "head (3.00 K)"]
    frames = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    cells = sorted((round(f.get_y() + 0.44), round(f.get_x() + 0.47)) for f in frames)
    assert cells == [(0, 0), (1, 1), (2, 2)]
    image = ax.images[0].get_array()
    assert np.allclose(image[:, 2], 0.01)
    assert {text.get_text() for text in ax.texts} == {"0", "0.0001", "0.01"}


def test_what_lowers_the_loss_has_no_colour_and_nothing_at_all_is_drawn_too():
    falling = plot_sensitivity(table(lambda layer, bits: -0.5 if bits == 8 else 1.0))
    assert falling.images[0].get_array().mask[:, 0].all()
    assert "−0.5" in {text.get_text() for text in falling.texts}
    flat = plot_sensitivity(table(lambda layer, bits: 0.0))
    flat.figure.canvas.draw()
    assert flat.images[0].get_array().mask.all()


def test_what_is_no_table_of_sensitivities_is_named():
    with pytest.raises(ValueError, match="chosen: a table of sensitivities has this column"):
        plot_sensitivity(table().drop(columns="chosen"))
    with pytest.raises(ValueError, match="conv10: each layer needs a figure for each width"):
        plot_sensitivity(table().drop(index=3))
