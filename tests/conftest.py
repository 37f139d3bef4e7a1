"""What several tests share: one thread, seeded property tests, a tiny data set, small networks, a stage's context."""

import functools
import gc
import os
import sys

import hypothesis
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf, _utils, base, grammar_parser
from omegaconf.basecontainer import BaseContainer
from torch import nn

from effbench.data.in_memory import InMemoryData
from effbench.plan.blueprint import Blueprint
from effbench.plan.chain import Chain
from effbench.plan.context import Context
from effbench.plan.sources import load_data
from effbench.plan.teacher import Teacher
from effbench.tasks.classification import Classification
from effbench.training.evaluation import evaluate

torch.set_num_threads(1)
hypothesis.settings.register_profile("effbench", derandomize=True, deadline=None, database=None, max_examples=50)
hypothesis.settings.load_profile("effbench")

# A composition parses the same few hundred interpolations anew: a fifth of the tests' time would go there.
grammar_parser.parse = _utils.parse = base.parse = functools.cache(grammar_parser.parse)

URI = "MLFLOW_TRACKING_URI"
HYDRAS = ("now", "hydra", "python_version")
"""Resolvers that Hydra registers, once it is there."""


def pytest_collection_finish():
    """Let the garbage collector leave alone what is there for good: modules, and the tests themselves."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Of the cases of a `matrix`, leave as many as it says to `make test`, evenly spread: the others are `extended`."""
    matrices = {}
    for item in items:
        if item.get_closest_marker("matrix") is not None:
            matrices.setdefault((item.path, item.parent.nodeid, item.originalname), []).append(item)
    for cases in matrices.values():
        n_fast = cases[0].get_closest_marker("matrix").kwargs["fast"]
        fast = {round((number + 0.5) * len(cases) / n_fast - 0.5) for number in range(n_fast)}
        for number, item in enumerate(cases):
            if number not in fast:
                item.add_marker(pytest.mark.extended)


@pytest.fixture(autouse=True)
def nothing_that_the_process_was_told_outlives_its_test(tmp_path_factory):
    """Take back what a test left in this process: where MLflow is (which exports that), modules, resolvers.

    Modules are those of the test's folders: others bear the same names.
    """
    uri, modules, resolvers = os.environ.get(URI), set(sys.modules), set(BaseContainer._resolvers)
    yield
    os.environ.pop(URI, None)
    if uri is not None:
        os.environ[URI] = uri
    if (told := sys.modules.get("mlflow.tracking._tracking_service.utils")) is not None:
        told._tracking_uri = None
    folders = str(tmp_path_factory.getbasetemp())
    for name in sys.modules.keys() - modules:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(folders):
            del sys.modules[name]
    for name in BaseContainer._resolvers.keys() - resolvers - {*HYDRAS}:
        OmegaConf.clear_resolver(name)


TOY_SIDE = 8
TOY_CLASSES = 4


def _toy_split(n_examples, rng):
    """Noise, in which the quadrant that shines says the class."""
    labels = rng.permutation(np.arange(n_examples) % TOY_CLASSES)
    images = rng.integers(0, 120, (n_examples, 1, TOY_SIDE, TOY_SIDE))
    half = TOY_SIDE // 2
    for image, label in zip(images, labels, strict=True):
        image[0, label // 2 * half :, label % 2 * half :][:half, :half] += 100
    return torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels)


@pytest.fixture(scope="session")
def make_toy_data():
    """Return a factory of four-class data sets, 8 x 8 pixels: 203 / 61 / 62 examples (no batch size divides them)."""

    def make(seed=0, **changes):
        rng = np.random.default_rng(seed)
        sizes = {"train": 203, "val": 61, "test": 62}
        parts = {split: _toy_split(n, rng) for split, n in sizes.items()}
        options = {
            "name": "toy",
            "n_classes": TOY_CLASSES,
            "images": {split: images for split, (images, _) in parts.items()},
            "labels": {split: labels for split, (_, labels) in parts.items()},
            "mean": (0.3,),
            "std": (0.25,),
            "side": TOY_SIDE,
        }
        return InMemoryData(**{**options, **changes})

    return make


@pytest.fixture(scope="session")
def toy_data(make_toy_data):
    return make_toy_data()


@pytest.fixture(scope="session")
def digits_data():
    from effbench.data.digits import digits

    return digits()


@pytest.fixture(scope="session")
def make_chain():
    """Return a factory of chains: a perceptron (LeNet-300-100, unless `changes` say otherwise) on digits."""

    def make(steps=(), **changes):
        data = Blueprint("effbench.data.digits.digits", {"side": 28, "split_seed": 0})
        options = {
            "network": Blueprint("effbench.models.lenet_300_100"),
            "task": Blueprint("effbench.tasks.classification.Classification"),
            "data": data,
            "fingerprint": load_data(data).fingerprint,
            "side": 28,
            "seed": 0,
            "threads": 1,
        }
        return Chain(**{**options, **changes}, steps=tuple(steps))

    return make


@pytest.fixture(scope="session")
def toy_network():
    """Return a factory of small networks for the toy data: convolution, batch norm, linear layer."""

    def make(seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(
                nn.Conv2d(1, 6, 3, padding=1),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(6 * (TOY_SIDE // 2) ** 2, TOY_CLASSES),
            )

    return make


@pytest.fixture(scope="module")  # some modules have a toy_network of their own
def make_context(toy_network):
    """Return a factory of what a stage may ask for; earlier networks and the teacher are toy networks, too."""

    def make(data, *, seed=0, step="stage", side=None, snapshot=lambda name: toy_network(seed=99), teacher=None):
        side, task = data.side if side is None else side, Classification()
        toy_teacher = Teacher(
            key="toy", side=data.side, network=lambda: toy_network(seed=98).eval(), keep=lambda name, make: make()
        )

        def cost(model):
            from effbench.measure.compute import count_cost

            return count_cost(model, (data.channels, side, side))

        return Context(
            data=data,
            task=task,
            side=side,
            seed=seed,
            step=step,
            device=torch.device("cpu"),
            evaluate=lambda model: evaluate(model, data, "val", task=task, side=side).score,
            validate=lambda model: evaluate(model, data, "val", task=task, side=side),
            cost=cost,
            snapshot=snapshot,
            teacher=lambda: teacher or toy_teacher,
        )

    return make
