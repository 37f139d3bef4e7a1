"""What refining may add, counted."""

from types import SimpleNamespace

from effbench.plan.refinement import Refinement


def test_each_curve_may_have_so_many_values_with_every_seed():
    curves = tuple(SimpleNamespace(references=(1, 2)) for _ in range(3))
    assert Refinement(most=4, curves=curves).most_runs == 24
    assert Refinement().most_runs == 0
