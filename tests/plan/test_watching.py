"""How trainings are followed: what is no such thing is refused."""

import pytest

from effbench.plan.watching import Watching


@pytest.mark.parametrize(
    "wrong",
    [
        {"curves": "test"},
        {"curves": None},
        {"curves": True},
        {"checkpoint": -1},
        {"checkpoint": "60"},
        {"checkpoint": float("nan")},
        {"checkpoint": float("inf")},
    ],
)
def test_what_is_not_allowed_is_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name}=.*must be"):
        Watching(**wrong)
    assert Watching(checkpoint=0).checkpoint == 0
    assert Watching(checkpoint=None).checkpoint is None
