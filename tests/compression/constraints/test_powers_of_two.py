import torch
from hypothesis import given
from hypothesis import strategies as st

from effbench.compression.constraints.powers_of_two import MAX_LEVELS, from_powers, to_powers
from effbench.compression.constraints.quantizer import UniformQuantizer


@st.composite
def weights(draw):
    """(n_out, n_in), of any scale, skewed or not, with zeros, sometimes with an outlier or a row of zeros."""
    n_out, n_in = draw(st.integers(1, 5)), draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.randn(n_out, n_in, generator=generator) * 10.0 ** draw(st.integers(-6, 4))
    weight += weight.abs().max() * draw(st.sampled_from([0.0, 0.3, -2.0]))
    weight[torch.rand(n_out, n_in, generator=generator) < draw(st.sampled_from([0.0, 0.5]))] = 0
    weight[:, 0] *= draw(st.sampled_from([1.0, 30.0]))
    if draw(st.booleans()):
        weight[-1] = 0
    return weight


@given(weights(), st.integers(2, 8))
def test_powers_are_the_nearest_of_all_levels(weight, bits):
    n_levels = 2 ** (bits - 1) - 1
    codes, largest = to_powers(weight, n_levels=n_levels)
    rounded = from_powers(codes, largest[:, None]).double()
    for row, got, top in zip(weight.double(), rounded, largest.double(), strict=True):
        assert torch.frexp(top)[0] == 0.5
        powers = top * 2.0 ** -torch.arange(n_levels, dtype=torch.float64)
        levels = torch.cat([-powers, torch.zeros(1, dtype=torch.float64), powers])
        assert torch.isin(got, levels).all()
        distance = (row[:, None] - levels).abs().amin(1)
        assert torch.allclose((row - got).abs(), distance, rtol=1e-12, atol=0)
        if row.any():  # the largest power is the nearest one to the largest weight
            assert 0.75 * top <= row.abs().max() < 1.5 * top


def test_any_integer_is_a_code_and_the_extremes_of_float_are_weights():
    codes = torch.tensor([-(2**31), 2**31 - 1, 0, 1, -2], dtype=torch.int32)
    values = from_powers(codes, torch.tensor(4.0))
    smallest = 4.0 * 2.0 ** (1 - MAX_LEVELS)
    assert values.tolist() == [-smallest, smallest, 0.0, 4.0, -2.0]
    extreme = torch.tensor([[3.4e38, -1e-38, 1e-45, 0.0]])
    assert UniformQuantizer(8, scheme="power_of_two")(extreme).isfinite().all()
