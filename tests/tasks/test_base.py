from typing import ClassVar

import pytest
import torch

from effbench.analysis.curves.quality import Quality
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


def test_what_a_task_need_not_have_is_refused_by_name():
    class Plain(Task):
        name = "plain"

        def unused(self, *args, **options):
            raise NotImplementedError

        quality = kinds = check_outputs = loss = summed_loss = distillation_loss = counts = examples = unused

    outputs = torch.zeros(1, 2)
    assert not Plain.BLENDS
    assert Plain().comparable(outputs, torch.zeros(1)) is outputs
    with pytest.raises(ValueError, match=r"^label_smoothing=0\.1: must be 0, as task=plain has no such loss"):
        Plain().smoothed_loss(outputs, torch.zeros(1), smoothing=0.1)
