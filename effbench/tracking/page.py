"""The page of MLflow's that shows the runs of a sweep side by side: their axes and what these cost, nothing else.

MLflow keeps the view that somebody shares of an experiment's page in a tag of the experiment, by a key that stands in
the page's address. So is the view of a sweep kept: its runs only, each in a row, the columns that answer its question.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from mlflow.tracking import MlflowClient

from effbench.tracking import names

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
