import math

import pytest
import torch
from torch import nn

from effbench.compression.structure.edits import Edit, EditKind
from effbench.compression.structure.rebuild import apply_edits
from effbench.compression.structure.redrawn import Drawn, draw_weights

RULES = {
    "torch's own": (lambda weight: None, True, lambda n_in, n_out: 1 / (3 * n_in)),
    "He, inputs": (lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"), False, lambda n_in, n_out: 2 / n_in),
    "He, outputs": (lambda w: nn.init.kaiming_normal_(w, mode="fan_out"), False, lambda n_in, n_out: 2 / n_out),
    "He, uniform": (lambda w: nn.init.kaiming_uniform_(w), True, lambda n_in, n_out: 2 / n_in),
    "Glorot": (nn.init.xavier_uniform_, True, lambda n_in, n_out: 2 / (n_in + n_out)),
}
"""How a weight is drawn, whether that is uniform, and the variance by the numbers of inputs and outputs."""
EDITS = {
    "separable": Edit(EditKind.REWRITTEN, (64, 128, 0, 0, 0)),
    "shuffle": Edit(EditKind.REWRITTEN, (64, 128, 4, 0, 0)),
    "grouped": Edit(EditKind.RESIZED, (64, 128, 4)),
}


def drawn_anew(form, init, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.Conv2d(64, 128, 3, padding=1, bias=False)
        init(layer.weight)
    network = nn.Sequential(layer)
    how = Drawn.like(layer.weight)
    apply_edits(network, {"0": EDITS[form]})
    draw_weights(network, {"0": how}, torch.Generator().manual_seed(seed))
    return layer, how, network[0]


@pytest.mark.parametrize("form", EDITS)
@pytest.mark.parametrize("rule", RULES)
def test_what_stands_for_a_layer_is_drawn_by_the_rule_that_drew_it(rule, form):
    init, is_uniform, variance = RULES[rule]
    _, how, made = drawn_anew(form, init)
    assert how.is_uniform == is_uniform
    last = made.last if form != "grouped" else made
    n_places = math.prod(last.kernel_size) / last.groups
    expected = variance(64 * n_places, 128 * n_places)
    assert float(last.weight.detach().var()) == pytest.approx(expected, rel=0.05)
    assert (float(last.weight.detach().abs().max()) < 1.8 * expected**0.5) == is_uniform
    if form == "separable":
        assert float(made.depthwise.weight.detach().var()) == pytest.approx(1 / 9, rel=0.2)


@pytest.mark.parametrize("form", EDITS)
@pytest.mark.parametrize("init", [lambda w: None, lambda w: nn.init.normal_(w, std=0.01), nn.init.zeros_])
def test_outputs_have_the_variance_that_the_layer_gave_them(form, init):
    layer, _, made = drawn_anew(form, init)
    images = torch.randn(2, 64, 20, 20, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert float(made(images).std()) == pytest.approx(float(layer(images).std()), rel=0.1)


def test_a_generator_decides_every_value_and_the_global_one_has_no_say():
    state = torch.get_rng_state()
    one, other, third = (drawn_anew("separable", lambda w: None, seed)[2].depthwise.weight for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_a_weight_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"^its weight is not finite$"):
        Drawn.like(torch.tensor([1.0, math.nan]))
