"""The colours of heat maps: lightness falls evenly, text on each can be read."""

import numpy as np
import pytest

from effbench.analysis.figures.heat_colours import colour_at, darkest_loss, text_on


def luminance(colour):
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return float(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def test_more_is_darker_in_even_steps():
    lightness = np.array([116 * luminance(colour_at(share)) ** (1 / 3) - 16 for share in np.linspace(0, 1, 11)])
    steps = -np.diff(lightness)
    assert (steps > 0).all() and steps.max() < 2 * steps.min()


@pytest.mark.parametrize("share", [-1.0, 0.0, 0.3, 0.5, 0.6, 1.0, 2.0])
def test_text_has_the_better_contrast_and_enough_of_it(share):
    colour = colour_at(share)
    own = luminance(colour)
    contrasts = {"white": 1.05 / (own + 0.05), "black": (own + 0.05) / 0.05}
    assert contrasts[text_on(colour)] == max(contrasts.values()) >= 4.5


def test_the_darkest_is_where_losses_stop_to_matter():
    assert darkest_loss(np.array([0.5, np.nan]), 0.02) == 0.1
    assert darkest_loss(np.array([0.05, 0.0]), 0.02) == 0.05
    assert darkest_loss(np.array([np.nan]), 0.0) == 1.0
    assert darkest_loss(np.array([0.3]), 0.0) == 0.3
