"""Runs read through MLflow itself: from a server, or from a database that only MLflow can read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
from alembic.util import CommandError
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from effbench.tracking import names
from effbench.tracking.logged import LoggedRuns, Values

PAGE = 1000
READ_ERRORS = (MlflowException, SQLAlchemyError, CommandError, ImportError, OSError)
"""What is raised where a server can't be read: alembic does where the database is of a later MLflow, and a kind of
database has a driver of its own to import."""


class Server:
    """The MLflow at a URI."""

    def __init__(self, uri: str) -> None:
        self._client = MlflowClient(uri)

    def runs(self, experiments: Sequence[str], sweep: str | None, /) -> LoggedRuns | None:
        """Return the runs of experiments, of all sweeps or of those whose ids begin with `sweep`.

        None where there is not every one of these experiments. What other tools logged is read as well, but not kept.
        """
        found = {name: self._client.get_experiment_by_name(name) for name in experiments}
        numbers = {str(known.experiment_id): name for name, known in found.items() if known is not None}
        return _logged(self._pages(list(numbers), sweep), numbers) if len(numbers) == len(found) else None

    def artifact_uris(self, runs: Sequence[str], /) -> list[str]:
        """Return nothing of runs: their files come through the server, which knows where they lie."""
        return [""] * len(runs)

    def experiments(self) -> list[str]:
        """Return the names of the experiments there are."""
        return [str(experiment.name) for experiment in self._client.search_experiments()]

    def sweeps(self, experiment: str, /) -> list[str]:
        """Return the ids of the sweeps that have runs in an experiment."""
        logged = self.runs([experiment], None)
        return [] if logged is None else list(dict.fromkeys(logged.tags.column(names.SWEEP, "")))

    def _pages(self, experiment_ids: Sequence[str], sweep: str | None) -> Iterator[list[Run]]:
        # An id is hexadecimal; what is not would have to be quoted, and can't be the beginning of one.
        is_id = sweep is not None and re.fullmatch(r"[0-9A-Za-z]+", sweep)
        filter_string = f"tags.`{names.SWEEP}` LIKE '{sweep}%'" if is_id else ""
        token = None
        while True:
            page = self._client.search_runs(list(experiment_ids), filter_string, max_results=PAGE, page_token=token)
            yield [run for run in page if _is_wanted(run, sweep)]
            token = page.token
            if not token:
                return


def _is_wanted(run: Run, sweep: str | None) -> bool:
    tags = run.data.tags
    return names.RUN_KEY in tags and (sweep is None or tags.get(names.SWEEP, "").startswith(sweep))


def _logged(pages: Iterator[list[Run]], experiments: Mapping[str, str]) -> LoggedRuns:
    infos: list[tuple[str, str, int, str]] = []
    layouts: dict[str, list[tuple[str, ...]]] = {"params": [], "metrics": [], "tags": []}
    values: dict[str, list[list[object]]] = {"params": [], "metrics": [], "tags": []}
    for run in chain.from_iterable(pages):
        infos.append((run.info.run_id, run.info.status, run.info.start_time or 0, run.info.experiment_id))
        tags = {name: value for name, value in run.data.tags.items() if name in names.READ}
        metrics = {name: value for name, value in run.data.metrics.items() if not name.startswith(names.CURVE)}
        for kind, logged in (("params", run.data.params), ("metrics", metrics), ("tags", tags)):
            layouts[kind].append(tuple(logged))
            values[kind].append(list(logged.values()))

    def gathered(kind: str) -> Values:
        flat = list(chain.from_iterable(values[kind]))
        return Values.gather(
            layouts[kind],
            np.array(flat, dtype=np.float64) if kind == "metrics" else flat,
            runs=range(len(infos)),
            n_runs=len(infos),
        )

    return LoggedRuns(
        ids=[run_id for run_id, *_ in infos],
        statuses=[status for _, status, *_ in infos],
        starts=np.array([start for _, _, start, _ in infos], dtype=np.int64),
        experiments=[experiments[str(number)] for *_, number in infos],
        params=gathered("params"),
        metrics=gathered("metrics"),
        tags=gathered("tags"),
    )
