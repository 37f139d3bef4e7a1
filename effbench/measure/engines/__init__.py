"""Inference engines, one file each; `effbench.measure.engine` says what an engine is."""
