"""The progress of a sweep in a notebook: the same bars, in the cell's output."""

from __future__ import annotations

import io
import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console

from effbench.plan.point import Plan, Point
from effbench.sweep.messages import say
from effbench.sweep.progress import ProgressDisplay

SECONDS_BETWEEN = 0.2
"""A notebook is told no more often."""
_WIDTH = 100
_PAGE = '<pre style="white-space:pre;overflow-x:auto;line-height:normal;margin:0">{code}</pre>'


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


class NotebookProgress(ProgressDisplay):
    """Bars that the notebook draws: rich's own need a widget, which not every notebook has."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            plan, console=Console(file=io.StringIO(), force_terminal=False, force_jupyter=False, width=_WIDTH)
        )
        self._shown_at = 0.0
        self._handle: Any = None

    def __enter__(self) -> NotebookProgress:
        """Begin to show."""
        from IPython.display import display

        self._handle = display(_Page(self._page()), display_id=True)  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show how it ended."""
        self._show(now=True)

    def run_started(self, point: Point) -> None:
        """Show a bar for the run."""
        super().run_started(point)
        self._show()

    def step(self, point: Point, step: str, done: int, total: int) -> None:
        """Show how far a stage of the run is."""
        super().step(point, step, done, total)
        self._show()

    def run_computed(self, point: Point) -> None:
        """Take the run's bar away."""
        super().run_computed(point)
        self._show()

    def run_ended(self, point: Point, *, failed: bool) -> None:
        """Count the run."""
        super().run_ended(point, failed=failed)
        self._show()

    def measuring(self, done: float, total: int) -> None:
        """Show the latency pass."""
        super().measuring(done, total)
        self._show()

    def say(self, line: str) -> None:
        """Print a line below the cell, as messages are."""
        say(line)

    def _show(self, *, now: bool = False) -> None:
        if self._handle is not None and (now or time.monotonic() >= self._shown_at + SECONDS_BETWEEN):
            self._shown_at = time.monotonic()
            self._handle.update(_Page(self._page()))

    def _page(self) -> str:
        console = Console(file=io.StringIO(), record=True, width=_WIDTH, force_terminal=True, force_jupyter=False)
        console.print(self.bars())
        return console.export_html(inline_styles=True, code_format=_PAGE)


class _Page:
    """What a notebook shows: HTML, or the same as text."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return "a sweep's progress"
