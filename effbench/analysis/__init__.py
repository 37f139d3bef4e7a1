"""Frames in, frames and figures out: fronts, saturation points, tables. Needs no torch; a CSV of runs is enough.

A frame has one row per run. Lower costs and higher qualities are better.
"""

from effbench.analysis.costs import varying_costs
from effbench.analysis.pareto import pareto_front
from effbench.analysis.plot import plot_saturation
from effbench.analysis.report import points_table, saturation_sentence
from effbench.analysis.saturation import Saturation, saturation_point
from effbench.analysis.sensitivity import plot_sensitivity

__all__ = [
    "Saturation",
    "pareto_front",
    "plot_saturation",
    "plot_sensitivity",
    "points_table",
    "saturation_point",
    "saturation_sentence",
    "varying_costs",
]
