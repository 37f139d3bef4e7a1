"""Networks as MLflow's own models: loaded again they answer as before, and hold nothing of the machine."""

import io
import json
import re
import sys
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.tracking import MlflowClient
from torch import nn

import effbench
from effbench.tracking import names
from effbench.tracking.models import NotExportable, ServedNetwork, log_network, model_name

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SIDE = 8


class Own(nn.Module):
    """A network of the user's own; `answer` is what it gives of its features."""

    def __init__(self, answer, channels=1):
        super().__init__()
        self.features, self.answer = nn.Conv2d(channels, 4, 3, padding=1), answer

    def forward(self, images):
        return self.answer(self.features(images).relu())


def served(network, *, channels=1, name="own net", **metadata):
    example = torch.randn(2, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    metadata = {"input": "normalised", "task": "classification", **metadata}
    return ServedNetwork(name=name, network=network.eval(), example=example, metadata=metadata)


@pytest.fixture
def logged(uri, opened, record):
    """Return what logs a network as a model of a finished run: its tracker, the run's id, its model."""

    def make(network, **options):
        tracker = opened(uri)
        tracker.log_run(record("a", metrics={"accuracy": 0.5, "curve/loss": 2.0}), status="FINISHED")
        reason = tracker.log_model("a", served(network, **options))
        assert reason is None, reason
        run = MlflowClient(uri).get_run(tracker._run_ids["a"])
        (output,) = run.outputs.model_outputs
        return tracker, run.info.run_id, MlflowClient(uri).get_logged_model(output.model_id)

    mlflow.set_tracking_uri(uri)
    yield make
    mlflow.set_tracking_uri(None)


def segments(features):
    return nn.functional.interpolate(features, scale_factor=2)


NETWORKS = {
    "grey": (lambda: Own(nn.Sequential(nn.Flatten(), nn.Linear(4 * SIDE**2, 3))), 1),
    "segmentation": (lambda: Own(segments, channels=3), 3),
    "bfloat16": (lambda: Own(lambda features: features.mean((2, 3)).bfloat16()), 1),
    "pruned and quantised": (lambda: compressed(), 1),
}


def compressed():
    """Return a network as it is read back from the file of one with masks, a grid and fewer channels."""
    network, fresh = (effbench.models.small_cnn(alpha=0.25, input_side=SIDE) for _ in range(2))
    network = effbench.apply("prune_channels", network, ratio=0.5, data="digits")
    for technique, options in (("prune", {"ratio": 0.5}), ("quantize", {"bits": 4})):
        network = effbench.apply(technique, network, **options)
    return effbench.decode(effbench.encode(network), fresh)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_loaded_answers_as_the_network_for_any_number_of_examples(logged, kind):
    build, channels = NETWORKS[kind]
    network = build().eval()
    _, run_id, model = logged(network, channels=channels)
    again = mlflow.pytorch.load_model(f"runs:/{run_id}/own_net")
    served_by = mlflow.pyfunc.load_model(model.model_uri)
    for n_examples in (1, 2, 7):
        images = torch.randn(n_examples, channels, SIDE, SIDE)
        with torch.no_grad():
            expected = network(images).float()
            torch.testing.assert_close(again(images), expected)
        np.testing.assert_allclose(served_by.predict(images.numpy()), expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.extended
def test_a_model_says_what_it_is_and_nothing_of_the_machine(logged, uri):
    network = Own(nn.Sequential(nn.Flatten(), nn.Linear(4 * SIDE**2, 3)))
    tracker, run_id, model = logged(network, classes=["cat", "dog"])
    assert tracker.keys_with_models() == {"a"}
    assert (model.name, model.status, model.source_run_id) == ("own_net", "READY", run_id)
    assert model.params["prune"] == "0.5" and model.tags[names.RUN_KEY] == "a"
    assert {metric.key: metric.value for metric in model.metrics} == {"accuracy": 0.5}  # no curves
    folder = Path(mlflow.artifacts.download_artifacts(model.model_uri))
    info = mlflow.models.get_model_info(model.model_uri)
    assert info.signature.inputs.inputs[0].shape == (-1, 1, SIDE, SIDE)
    assert info.signature.outputs.inputs[0].shape == (-1, 3)
    assert info.metadata["input"] == "normalised" and info.metadata["classes"] == ["cat", "dog"]
    assert info.flavors["python_function"]["config"] == {"device": "cpu"}  # MLflow would refuse it on a GPU
    assert np.shape(json.loads((folder / "serving_input_example.json").read_text())["inputs"]) == (2, 1, SIDE, SIDE)
    requirements = (folder / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} == {"mlflow", "torch"} and "+" not in str(requirements)
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".pt2"]
    with zipfile.ZipFile(folder / "data" / "model.pt2") as program:
        contents += [program.read(name) for name in program.namelist()]
        for name in program.namelist():
            if name.endswith(".pt"):  # tensors, which torch reads without running anything
                torch.load(io.BytesIO(program.read(name)), weights_only=True)
    ours = b"|".join(re.escape(str(path).encode()) for path in (Path(effbench.__file__).parents[1], Path(sys.prefix)))
    found = [re.findall(rb"[^\s\"]*(?:" + ours + rb"|site-packages|\.py\b)[^\s\"]*", content) for content in contents]
    (located,) = {text for texts in found for text in texts} or {None}
    assert located is None or located.decode().endswith(f"{model.model_id}/artifacts")  # where MLflow keeps it


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda features: {"out": features}, "its answer is a dict, not one tensor"),
        (lambda features: torch.stack([image.sum() for image in features]), "it takes 2 examples at once and no other"),
        (lambda features: features * float(features.sum() > 0), "data-dependent"),
    ],
)
def test_what_can_not_be_one_says_why_and_leaves_the_run_as_it_was(uri, opened, record, answer, reason):
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    told = tracker.log_model("a", served(Own(answer)))
    assert reason in told and "\n" not in told
    assert tracker.keys_with_models() == frozenset()
    assert MlflowClient(uri).get_run(tracker._run_ids["a"]).info.status == "FINISHED"
    assert MlflowClient(uri).search_logged_models([tracker._experiment_id]) == []


def test_one_that_is_interrupted_counts_as_none(uri, opened, record, monkeypatch):
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")

    def interrupt(self, *arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(MlflowClient, "log_model_artifacts", interrupt)
        tracker.log_model("a", served(Own(nn.Flatten())))
    client = MlflowClient(uri)
    assert [model.status for model in client.search_logged_models([tracker._experiment_id])] == ["FAILED"]
    assert tracker.keys_with_models() == frozenset()


def test_a_network_that_fails_is_not_exportable(uri):
    def fails(features):
        raise RuntimeError("no\nmore")

    with pytest.raises(NotExportable, match=r"^no$"):
        log_network(MlflowClient(uri), "none", served(Own(fails)))


@pytest.mark.parametrize("name", ["torchvision/resnet18", "a.b:c%d\"e'f", "größe", "...", "x" * 400])
def test_names_are_such_as_mlflow_takes(name):
    from mlflow.utils.validation import _validate_logged_model_name

    _validate_logged_model_name(model_name(name))
    assert 0 < len(model_name(name)) <= 250
