import torch
from hypothesis import given
from hypothesis import strategies as st

from effbench.compression.constraints.ranges import least_error, percentile_of


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


def test_the_least_error_is_found_per_row_and_the_full_range_kept_on_a_tie():
    wanted = torch.tensor([1.0, 0.5, 0.8])
    assert torch.allclose(least_error(lambda f: (f - wanted).square(), 3, wanted.device), wanted, atol=0.02)
    assert torch.equal(least_error(torch.zeros_like, 3, wanted.device), torch.ones(3))


@given(weights(), st.floats(50, 100))
def test_the_percentile_leaves_no_more_than_its_share_above(weight, percentile):
    sizes = weight.abs()
    limit = percentile_of(sizes, percentile)
    n_above, n_nonzero = (sizes > limit.unsqueeze(1)).sum(1), (sizes > 0).sum(1)
    assert (n_above <= (1 - percentile / 100) * n_nonzero + 1e-4).all()
    assert all(limit[row] in sizes[row] for row in range(len(sizes)))
    assert torch.equal(percentile_of(sizes, 100), sizes.amax(1))
