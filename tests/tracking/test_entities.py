"""What is logged, as MLflow has it."""

import json

from effbench.tracking.entities import BATCH, MAX_PARAM_LENGTH, dataset_input, metric_entities, param_batches
from effbench.tracking.tracker import Dataset


def test_what_is_not_a_number_is_no_metric():
    (metric,) = metric_entities({"a": 1, "b": float("nan")})
    assert (metric.key, metric.value) == ("a", 1.0)


def test_params_come_in_batches_that_mlflow_takes():
    assert [len(batch) for batch in param_batches({str(n): "x" * 700 for n in range(2 * BATCH + 1)})] == [100, 100, 1]
    assert list(param_batches({})) == [[]]
    ((param,),) = param_batches({"a": "x" * 700})
    assert len(param.value) == MAX_PARAM_LENGTH


def test_a_data_set_says_how_many_examples_it_has():
    entry = dataset_input(Dataset(name="toy", digest="d", source="s", sizes={"train": 3}))
    assert json.loads(entry.dataset.profile) == {"n_train": 3}
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "training")]
