import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.models.downsampling import pooling_layers, sides_of


@pytest.mark.parametrize(
    ("pooling", "n_poolings", "layers"),
    [
        ("early", 2, (1, 2)),
        ("even", 2, (2, 4)),
        ("late", 2, (5, 6)),
        ("even", 1, (3,)),
        ("even", 6, (1, 2, 3, 4, 5, 6)),
        ("late", 0, ()),
        ("1-3", 2, (1, 3)),
        ("4", 2, (4,)),
        (4, 2, (4,)),
        ([2, 5, 6], 2, (2, 5, 6)),
    ],
)
def test_pooling_layers(pooling, n_poolings, layers):
    assert pooling_layers(pooling, n_layers=6, n_poolings=n_poolings) == layers


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_every_placement_places_as_many_poolings_as_asked(sizes):
    n_layers, n_poolings = sizes
    for pooling in ("early", "even", "late"):
        layers = pooling_layers(pooling, n_layers=n_layers, n_poolings=n_poolings)
        assert len(set(layers)) == n_poolings
        assert all(1 <= layer <= n_layers for layer in layers)


@pytest.mark.parametrize(
    ("poolings", "sides"), [((), [9, 9, 9, 9]), ((1, 3), [9, 4, 4, 2]), ((3,), [9, 9, 9, 4]), ((1, 2, 3), [9, 4, 2, 1])]
)
def test_sides(poolings, sides):
    assert sides_of(poolings, 9, n_layers=3) == sides


def test_a_pooling_that_would_leave_nothing_is_named():
    with pytest.raises(ValueError, match="after layer 4 would leave nothing: at input_side 9 the map there has side 1"):
        sides_of((1, 2, 3, 4), 9, n_layers=4)
