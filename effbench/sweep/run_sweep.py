"""A sweep from Python: `effbench.run_sweep`, and its dry run, `effbench.plan_sweep`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from effbench.config.hydra_keys import environment_kept
from effbench.config.keywords import arguments_of
from effbench.config.objects import with_names
from effbench.config.read import read_sweep
from effbench.config.search_path import searching, take_search_path
from effbench.plan.given import is_given, name_of
from effbench.plan.sweep import Sweep
from effbench.run.store import Store
from effbench.sweep.answer import answer_so_far
from effbench.sweep.carry_out import Display, InterruptedAfterGrid, outcome_so_far
from effbench.sweep.dry_run import more_runs, plan_table, print_plan
from effbench.sweep.messages import say
from effbench.sweep.notebook_progress import NotebookProgress, is_notebook
from effbench.sweep.progress import ProgressDisplay
from effbench.sweep.result import SweepResult
from effbench.sweep.terminal import text_of
from effbench.sweep.work import place_of, work


def run_sweep(*, progress: bool = True, **axes_and_keys: Any) -> SweepResult:
    """Sweep compression, log every run to MLflow, and say where compression stops being free.

    The same as `python -m effbench.sweep` with the same keys: the same runs under the same keys, to the bit, in the
    same store and tracker. The same call goes on where it was stopped, and does nothing twice; interrupted (Ctrl-C, the
    stop button of a notebook) it returns what is there.

    Parameters
    ----------
    progress
        Whether to show bars while it goes on.
    **axes_and_keys
        Axes and keys of the command. A list is several values, one run each (prune=[0.1, 0.5], seed=[0, 1]); for a key
        that holds a list itself it is that. Keys with a dot are mappings, train={"epochs": 3}, or have __ for the dot,
        train__epochs=3. Beside names, these take objects:

        model: a `torch.nn.Module`, whose weights are the starting point (train.epochs is then 0, and finetuning
        recovers what compression has cost), or a function or class that builds one (it is offered num_classes,
        in_channels and input_side, as far as it takes them).

        data: (train, val, test) of torch `Dataset`s or of pairs of arrays, (train, test), a mapping of these by name,
        or an object with the methods of a Lightning DataModule; or the path of a folder of images. See
        `effbench.data.user_datasets.user_data`.

        config_dir: a folder of configuration of your own, with networks, techniques, data by their YAML, as
        `--config-dir` of the command; config_name as `--config-name`. experiment="my_study" takes a file of it.

        hydra: a mapping of Hydra's keys, as hydra={"callbacks": {"mine": {"_target_": "my_module.Mine"}}}.
        References such as ${my_resolver:3} are resolved by what OmegaConf.register_new_resolver was given before.

        What a child process can't import (a class typed into a notebook, a lambda) goes to effbench's own workers by
        value.

    Returns
    -------
    SweepResult
        With the runs that are there: failed ones are in its `failures`, those that an interrupt left out are counted in
        `n_missing`.

    Raises
    ------
    ValueError
        For anything that does not fit, before anything starts.
    effbench.sweep.work.Stopped
        Where the store can't be written or the tracker can't be reached; what was finished is kept.

    Examples
    --------
    >>> import effbench, torch
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    >>> result = effbench.run_sweep(
    ...     model=network, data="digits", bits=[8, 2], finetune={"epochs": 0}, measure={"seconds": 0.01}, progress=False
    ... )
    >>> sorted(result.runs["bits"])
    [2, 8, 32]
    >>> result.runs["size_bytes"].is_monotonic_decreasing
    True
    """
    with environment_kept():
        return _run(_read(axes_and_keys), progress)


def _run(sweep: Sweep, progress: bool) -> SweepResult:
    if sweep.dry_run:
        raise ValueError("dry_run=True: effbench.plan_sweep(…) is the dry run")
    display = _display(sweep, progress)
    with place_of(sweep) as (use, uri):
        try:
            worked = work(sweep, use, uri, display, shows=False)
        except KeyboardInterrupt as interrupt:
            is_grid_over = isinstance(interrupt, InterruptedAfterGrid)
            outcome = outcome_so_far(sweep, use.store, is_grid_over=is_grid_over)
            sweep = sweep if outcome.refined is None else outcome.refined.sweep
            say(f"interrupted: {outcome.n_missing} of {len(sweep.plan.points)} runs are missing; the same call goes on")
            return SweepResult.of(sweep, outcome, answer_so_far(sweep, outcome, use.store), use.store, is_logged=False)
        return SweepResult.of(worked.sweep, worked.outcome, worked.printout, use.store, is_logged=worked.is_logged)


class SweepPlan:
    """What a sweep would do: its runs, and which of their steps are there already.

    >>> import effbench
    >>> plan = effbench.plan_sweep(bits=[4])
    >>> plan.runs[["point", "status", "bits"]].to_numpy().tolist()
    [['reference', 'to run', 32], ['bits=4', 'to run', 4]]
    """

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._store = Store(Path(sweep.store.root), read_only=True)

    @property
    def sweep_id(self) -> str:
        """The id that the sweep would have."""
        return self._sweep.plan.sweep_id

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run: point, seed, run_key, status ("kept" or "to run"), steps, and the values of the axes."""
        return plan_table(self._sweep, self._store)

    @property
    def most_runs_more(self) -> int:
        """How many runs refining (`sweep.refine`) may add to these, where their results ask for them."""
        return self._sweep.refinement.most_runs

    def __len__(self) -> int:
        return len(self._sweep.plan.points)

    def __repr__(self) -> str:
        return text_of(partial(print_plan, self._sweep, self._store))

    def _repr_html_(self) -> str:
        more = more_runs(self._sweep)
        table: str = self.runs.to_html(index=False, escape=True, border=0)
        return f"{table}\n<p>{escape(more)}</p>" if more else table


def plan_sweep(**axes_and_keys: Any) -> SweepPlan:
    """Return what `run_sweep` would do with the same keywords: everything is checked, nothing runs.

    ValueError as there.

    >>> import effbench
    >>> plan = effbench.plan_sweep(prune=[0.5, 0.9], seed=[0, 1])
    >>> len(plan), plan.runs["point"].tolist()[:3]
    (6, ['reference', 'reference', 'prune=0.5'])
    """
    with environment_kept():
        return SweepPlan(_read(axes_and_keys))


def _read(axes_and_keys: Mapping[str, Any]) -> Sweep:
    given = dict(axes_and_keys)
    places = [f"{option}={given[key]}" for key, option in _PLACES.items() if key in given]
    path, _ = take_search_path(places)
    with searching(path):
        named = with_names({key: value for key, value in given.items() if key not in _PLACES})
        arguments = arguments_of(named)
    return read_sweep([*places, *arguments], call=f"effbench.run_sweep({', '.join(_shown(given, named))})")


_PLACES = {"config_dir": "--config-dir", "config_name": "--config-name"}
"""Keywords that say where the configuration is looked for."""


def _shown(given: Mapping[str, Any], named: Mapping[str, Any]) -> Iterator[str]:
    """Yield keywords as the call may be shown: objects by the name of their class."""
    for key, value in given.items():
        name = named.get(key)
        yield f"{key}={value!r}" if key not in ("model", "data") else f"{key}={_name(name)}"


def _name(name: Any) -> str:
    if isinstance(name, list):
        return f"[{', '.join(map(_name, name))}]"
    return name_of(name) if is_given(name) else repr(name)


def _display(sweep: Sweep, progress: bool) -> Display:
    if not progress:
        return ProgressDisplay(
            sweep.plan, console=Console(file=io.StringIO(), force_terminal=False, force_jupyter=False)
        )
    return NotebookProgress(sweep.plan) if is_notebook() else ProgressDisplay(sweep.plan)
