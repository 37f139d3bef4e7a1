"""A user's folder of configuration, and the code that it names."""

import textwrap

import pytest

AXIS = {
    "help": "what is small is taken away",
    "type": "float",
    "minimum": 0,
    "neutral": 0,
    "reads": "stage",
    "target": "mine.amount",
    "phase": "prune",
    "moves": "[size_bytes]",
    "realised": "{bytes: executed}",
    "example": '"0.5,1"',
}
CODE = """
from dataclasses import dataclass
from typing import Annotated, ClassVar
from pydantic import Field
from torch import nn
from effbench.plan.stage import Stage
from effbench.tasks.classification import Classification

@dataclass(frozen=True, kw_only=True)
class Mine(Stage):
    VERSION: ClassVar[int] = 1
    amount: Annotated[float, Field(ge=0, le=2)]
    def apply(self, model, context, /):
        return model

class Likewise(Classification):
    name: ClassVar[str] = "likewise"

def network(*, units=4, num_classes, in_channels, input_side):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * input_side**2, units), nn.Linear(units, num_classes))
"""


@pytest.fixture
def axis_yaml():
    """Return what writes an axis down: a good one, but for the keys that are given (None: without it)."""

    def write(**changes):
        return "".join(f"{key}: {value}\n" for key, value in {**AXIS, **changes}.items() if value is not None)

    return write


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """Make the module `users_kit` importable."""
    (tmp_path / "users_kit.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """Return what fills the folder `conf_mine` of the working folder with files, anew."""
    monkeypatch.chdir(tmp_path)

    def fill(files, name="conf_mine"):
        for path, text in files.items():
            place = tmp_path / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(textwrap.dedent(text))
        return tmp_path / name

    return fill
