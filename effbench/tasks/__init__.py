"""What networks are for: the losses they learn by and the counts that their quality follows from; one task a file."""

from effbench.tasks.base import Task

__all__ = ["Task"]
