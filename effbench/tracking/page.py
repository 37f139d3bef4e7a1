"""The page of MLflow's that shows the runs of a sweep side by side: their axes and what these cost, nothing else.

MLflow keeps the view that somebody shares of an experiment's page in a tag of the experiment, by a key that stands in
the page's address. So is the view of a sweep kept: its runs only, each in a row, the columns that answer its question.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from effbench.tracking import names

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

VIEW = "mlflow.sharedViewState."
"""What the tags of an experiment begin with that hold shared views."""


def share_view(
    client: MlflowClient,
    experiment_id: str,
    parent: str,
    sweep_id: str,
    /,
    *,
    params: Sequence[str],
    metrics: Sequence[str],
    order: str,
    with_models: bool = False,
) -> str:
    """Keep the view of the runs below a parent, and return the path of its page.

    params, metrics: the columns, in the page's order, then the runs' models, where wanted; order: the metric by which
    it sorts the runs, the largest first.
    """
    columns = [*(f"params.`{name}`" for name in params), *(f"metrics.`{name}`" for name in metrics)]
    if with_models:
        columns.append("attributes.`Models`")
    view = {
        "searchFilter": f"tags.`{names.PARENT}` = '{parent}'",
        "orderByKey": f"metrics.`{order}`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": columns,
    }
    value, tag = json.dumps(view), f"{VIEW}{sweep_id}"
    if client.get_experiment(experiment_id).tags.get(tag) != value:
        client.set_experiment_tag(experiment_id, tag, value)
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={sweep_id}"


def runs_path(experiment_id: str, run_ids: Sequence[str], /) -> str:
    """Return the path of the page of a run, or of the one that shows several side by side.

    >>> runs_path("1", ["3f2a"])
    '/#/experiments/1/runs/3f2a'
    >>> runs_path("1", ["3f2a", "77c0"])
    '/#/compare-runs?runs=%5B%223f2a%22%2C%2277c0%22%5D&experiments=%5B%221%22%5D'
    """
    if len(run_ids) == 1:
        return f"/#/experiments/{quote(experiment_id, safe='')}/runs/{quote(run_ids[0], safe='')}"
    runs, experiments = (quote(json.dumps(ids, separators=(",", ":"))) for ids in (list(run_ids), [experiment_id]))
    return f"/#/compare-runs?runs={runs}&experiments={experiments}"
