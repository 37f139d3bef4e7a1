"""A bench for one question: where does compressing a neural network stop being free.

The public API is loaded on first use: importing effbench imports neither torch nor MLflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from effbench import models
    from effbench.analysis import (
        Counts,
        Saturation,
        axis_contributions,
        compare,
        nominal_and_real,
        pareto_front,
        plot_axes,
        plot_heatmap,
        plot_nominal,
        plot_saturation,
        profile_figure,
        recommend,
        saturation_point,
    )
    from effbench.codec import decode, encode
    from effbench.measure.compute import Cost, count_cost
    from effbench.measure.latency import measure_latency
    from effbench.measure.layer_profile import profile_layers
    from effbench.sweep.load_model import load_model
    from effbench.sweep.result import SweepResult
    from effbench.sweep.run_sweep import SweepPlan, plan_sweep, run_sweep
    from effbench.sweep.technique import apply
    from effbench.tracking.read import load_counts, load_runs

    __version__: str

__all__ = [
    "Cost",
    "Counts",
    "Saturation",
    "SweepPlan",
    "SweepResult",
    "__version__",
    "apply",
    "axis_contributions",
    "compare",
    "count_cost",
    "decode",
    "encode",
    "load_counts",
    "load_model",
    "load_runs",
    "measure_latency",
    "models",
    "nominal_and_real",
    "pareto_front",
    "plan_sweep",
    "plot_axes",
    "plot_heatmap",
    "plot_nominal",
    "plot_saturation",
    "profile_figure",
    "profile_layers",
    "recommend",
    "run_sweep",
    "saturation_point",
]

_HOMES = {
    "Cost": "effbench.measure.compute",
    "Counts": "effbench.analysis",
    "Saturation": "effbench.analysis",
    "SweepPlan": "effbench.sweep.run_sweep",
    "SweepResult": "effbench.sweep.result",
    "apply": "effbench.sweep.technique",
    "axis_contributions": "effbench.analysis",
    "compare": "effbench.analysis",
    "count_cost": "effbench.measure.compute",
    "decode": "effbench.codec",
    "encode": "effbench.codec",
    "load_counts": "effbench.tracking.read",
    "load_model": "effbench.sweep.load_model",
    "load_runs": "effbench.tracking.read",
    "measure_latency": "effbench.measure.latency",
    "nominal_and_real": "effbench.analysis",
    "pareto_front": "effbench.analysis",
    "plan_sweep": "effbench.sweep.run_sweep",
    "plot_axes": "effbench.analysis",
    "plot_heatmap": "effbench.analysis",
    "plot_nominal": "effbench.analysis",
    "plot_saturation": "effbench.analysis",
    "profile_figure": "effbench.analysis",
    "profile_layers": "effbench.measure.layer_profile",
    "recommend": "effbench.analysis",
    "run_sweep": "effbench.sweep.run_sweep",
    "saturation_point": "effbench.analysis",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home on first use."""
    if name == "models":
        return importlib.import_module("effbench.models")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("effbench")
    if name not in _HOMES:
        raise AttributeError(f"module 'effbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
