"""Frames in, frames and figures out: fronts, saturation points, tables. Needs no torch; a CSV of runs is enough.

A frame has one row per run. Lower costs are better; which qualities are better, the frame's quality_direction says.
"""

from effbench.analysis.answers import Answer, answers
from effbench.analysis.compare import compare
from effbench.analysis.contributions import axis_contributions, contributions_sentence
from effbench.analysis.correlation import rank_correlations
from effbench.analysis.curves.costs import varying_costs
from effbench.analysis.curves.counts import Counts, QualityKind, quality_from_sums
from effbench.analysis.curves.groups import split_groups
from effbench.analysis.curves.pareto import pareto_front, undominated
from effbench.analysis.curves.quality import Quality
from effbench.analysis.figures.axes_figure import plot_axes
from effbench.analysis.figures.heatmap import plot_heatmap
from effbench.analysis.figures.panels import answers_figure, answers_png
from effbench.analysis.figures.plot import plot_saturation
from effbench.analysis.figures.profile_figure import profile_figure, short_count
from effbench.analysis.figures.saving import figure_bytes
from effbench.analysis.figures.sensitivity import plot_sensitivity
from effbench.analysis.nominal import nominal_and_real, not_faster, plot_nominal, verdicts
from effbench.analysis.profile import chosen_layers, profile_summary, with_shares
from effbench.analysis.recommend import recommend
from effbench.analysis.saturation import Saturation, saturation_point
from effbench.analysis.sentences import detail_sentences, saturation_sentence
from effbench.analysis.table import points_table

__all__ = [
    "Answer",
    "Counts",
    "Quality",
    "QualityKind",
    "Saturation",
    "answers",
    "answers_figure",
    "answers_png",
    "axis_contributions",
    "chosen_layers",
    "compare",
    "contributions_sentence",
    "detail_sentences",
    "figure_bytes",
    "nominal_and_real",
    "not_faster",
    "pareto_front",
    "plot_axes",
    "plot_heatmap",
    "plot_nominal",
    "plot_saturation",
    "plot_sensitivity",
    "points_table",
    "profile_figure",
    "profile_summary",
    "quality_from_sums",
    "rank_correlations",
    "recommend",
    "saturation_point",
    "saturation_sentence",
    "short_count",
    "split_groups",
    "undominated",
    "varying_costs",
    "verdicts",
    "with_shares",
]
