"""What is logged, as MLflow has it."""

import json

import pytest

from effbench.tracking.entities import (
    BATCH,
    BATCH_BYTES,
    MAX_PARAM_LENGTH,
    dataset_inputs,
    metric_entities,
    param_batches,
)
from effbench.tracking.tracker import Dataset


def test_what_is_not_a_number_is_no_metric():
    (metric,) = metric_entities({"a": 1, "b": float("nan")})
    assert (metric.key, metric.value) == ("a", 1.0)


def test_params_come_in_batches_that_mlflow_takes():
    assert [len(batch) for batch in param_batches({str(n): "x" * 700 for n in range(2 * BATCH + 1)})] == [100, 100, 1]
    assert list(param_batches({})) == [[]]
    wide = list(param_batches({str(n): "\U0001f600" * MAX_PARAM_LENGTH for n in range(50)}))  # 12 bytes each in JSON
    assert sum(map(len, wide)) == 50
    assert max(sum(len(json.dumps(param.value)) for param in batch) for batch in wide) <= BATCH_BYTES


@pytest.mark.parametrize("length", [MAX_PARAM_LENGTH - 1, MAX_PARAM_LENGTH, MAX_PARAM_LENGTH + 1])
def test_nothing_of_a_param_is_cut_silently(length):
    ((param,),) = param_batches({"a": "x" * length})
    assert (param.value == "x" * length) == (length <= MAX_PARAM_LENGTH)
    assert length <= MAX_PARAM_LENGTH or param.value.startswith(f"too long for a param ({length} characters)")


@pytest.mark.parametrize("name", ["a+b", "a//b", "/a", "..", ".", "../a", "x" * 251, "", "a\nb", "a=b", "a/../b"])
def test_names_that_mlflow_does_not_take_are_left_out(name):
    assert [param.key for (param,) in param_batches({name: 1, "stage.prune.scope": 2})] == ["stage.prune.scope"]


def test_a_data_set_is_three_inputs_each_with_its_own_context_digest_and_size():
    def inputs(digest="d", **sizes):
        entries = dataset_inputs(Dataset(name="toy", digest=digest, source="s", sizes=sizes))
        return [(e.tags[0].value, e.dataset.digest, json.loads(e.dataset.profile)["num_rows"]) for e in entries]

    one = inputs(train=3, val=1, test=1)
    assert [(context, size) for context, _, size in one] == [("train", 3), ("validation", 1), ("test", 1)]
    assert len({digest for _, digest, _ in one}) == 3
    assert inputs(train=3, val=1, test=1) == one
    assert not {d for _, d, _ in inputs("other", train=3, val=1, test=1)} & {d for _, d, _ in one}
    assert [context for context, _, _ in inputs(test=4)] == ["test"]
    assert max(len(digest) for _, digest, _ in one) <= 36
