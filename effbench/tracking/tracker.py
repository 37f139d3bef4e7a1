"""What a sweep asks of whatever keeps its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from effbench.tracking.models import ServedNetwork

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The data set of a run. sizes: examples by split."""

    name: str
    digest: str
    source: str
    sizes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A point of a training curve: a metric with a step. time: in seconds since 1970."""

    name: str
    value: float
    step: int
    time: float


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What is logged of one run, in one go. `files` are artifacts by name."""

    name: str
    key: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    dataset: Dataset | None = None
    points: Sequence[CurvePoint] = ()
    """Of its training curves."""
    began: float | None = None
    """When it was begun to be computed, in seconds since 1970; None where nobody knows."""
    ended: float | None = None
    """When it was done, or had failed; None where nobody knows."""


class TrackingError(RuntimeError):
    """The tracker can't be reached, or can't write: one line that says which and why."""


class Tracker(Protocol):
    """Keeps one parent run per sweep and one nested run per point."""

    def open_sweep(
        self,
        sweep_id: str,
        *,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        began: float | None = None,
    ) -> None:
        """Continue the parent of that sweep, or begin one; `began`: when its work did, in seconds since 1970."""

    def finished_keys(self) -> frozenset[str]:
        """Return the keys of the runs that the sweep has as FINISHED."""

    def begin_run(self, record: RunRecord) -> None:
        """Begin a run that goes on since `record.began`: it is RUNNING until `log_run` ends it."""

    def log_points(self, key: str, points: Sequence[CurvePoint]) -> None:
        """Log points of the training curves of a run that was begun."""

    def log_run(self, record: RunRecord, *, status: RunStatus, reused: bool = False) -> None:
        """Log a run that ended; `reused`: its result was there before this sweep, and is marked with where from."""

    def keys_without_files(self) -> frozenset[str]:
        """Return the keys of finished runs whose files are gone from where they were kept."""

    def log_files(self, key: str, files: Mapping[str, bytes]) -> None:
        """Keep files of a finished run, once more where they are there."""

    def log_metrics(self, key: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to a finished run."""

    def log_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Add tags to a finished run."""

    def keys_with_models(self) -> frozenset[str]:
        """Return the keys of the sweep's runs whose networks are logged as models."""

    def log_model(self, key: str, served: ServedNetwork) -> str | None:
        """Log the network of a finished run as a model; returns, in a line, why it can't be one."""

    def share_view(self, params: Sequence[str], metrics: Sequence[str], *, order: str, with_models: bool) -> str:
        """Have the tracker show the sweep's runs with these columns, ordered by a metric; returns the page's path."""

    def runs_page(self, keys: Sequence[str]) -> str | None:
        """Return the path of the page that shows finished runs, by their keys; None where one is not logged."""

    def abandon_sweep(self) -> None:
        """End what this process has open as KILLED, and the parent unless another process is still at it.

        The sweep did not come to its end.
        """

    def close_sweep(
        self,
        *,
        status: RunStatus,
        metrics: Mapping[str, float],
        files: Mapping[str, bytes],
        tags: Mapping[str, str],
    ) -> None:
        """End the parent with what came out, unless another process is still at the same sweep.

        What an earlier command left there, and is no more, goes.
        """
