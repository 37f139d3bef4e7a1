"""Image data sets and their splits; one source a file."""

from effbench.data.base import SPLITS, ImageData, Pass, Split

__all__ = ["SPLITS", "ImageData", "Pass", "Split"]
