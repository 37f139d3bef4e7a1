from typing import ClassVar

import pytest
import torch

from effbench.analysis.quality import Quality
from effbench.tasks import Task
from effbench.tasks.base import shape_of


def test_what_a_task_must_say_is_asked_for():
    class Half(Task):
        name: ClassVar[str] = "half"
        VERSION: ClassVar[int] = 1

        def quality(self, data, /):
            return Quality(name="half", kind="ratio", unit="points", direction="higher", chance=0.5)

    with pytest.raises(TypeError, match="abstract"):
        Half()


@pytest.mark.parametrize(
    ("outputs", "words"),
    [(torch.zeros(1, 5), "shape (1, 5)"), (torch.tensor(1.0), "shape ()"), ({}, "a dict"), (None, "a NoneType")],
)
def test_what_a_network_gave_in_words(outputs, words):
    assert shape_of(outputs) == words
