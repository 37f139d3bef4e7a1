"""What a model costs: multiply-adds, parameters, bytes, milliseconds."""

from effbench.measure.compute import Cost, count_cost
from effbench.measure.latency import measure_latency, sample_latency, summarise_latency
from effbench.measure.size import float32_bytes

__all__ = ["Cost", "count_cost", "float32_bytes", "measure_latency", "sample_latency", "summarise_latency"]
