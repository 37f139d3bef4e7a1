import pytest

from effbench.plan.components import TargetComponent
from effbench.training.options import TrainingOptions, check_kind

LOSS = TargetComponent.read("torch.nn.CrossEntropyLoss")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"label_smoothing": 1.0}, r"label_smoothing=1.0: must be a number in \[0, 1\)"),
        ({"label_smoothing": 0.1, "loss": LOSS}, "label_smoothing=0.1: must be 0 with a loss of your own"),
        ({"mixup": 0}, "mixup=0: must be a number above 0, or null"),
        ({"cutmix": -1.0}, "cutmix=-1.0: must be a number above 0, or null"),
        ({"clip": 0.0}, "clip=0.0: must be a number above 0, or null"),
        ({"ema": 1.0}, r"ema=1.0: must be a number in \(0, 1\), or null"),
        ({"stop_after": 0}, "stop_after=0: must be a whole number, 1 or more, or null"),
        ({"keep": "first"}, "keep=first: must be last or best"),
        ({"schedule_by": "step"}, "schedule_by=step: must be null without a scheduler of your own"),
        ({"schedule_by": "batch"}, "schedule_by=batch: must be step or epoch, or null"),
        ({"warm_up_epochs": -1.0}, "warm_up_epochs=-1.0: must be a number, 0 or more, or null"),
        ({"warm_up_epochs": 3}, "warm_up_epochs=3: must be at most the epochs, 2"),
        ({"decay_norms": 1}, "decay_norms=1: must be true or false"),
    ],
)
def test_what_cannot_be_trained_with_is_named(given, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        TrainingOptions(epochs=2, lr=0.1, **given)


def test_a_class_of_another_kind_is_named_and_a_function_is_left_to_be_tried():
    with pytest.raises(
        ValueError, match=r"^loss\._target_=torch\.nn\.CrossEntropyLoss: must be a class derived from a\.B"
    ):
        check_kind("loss", LOSS, dict, "a.B")
    check_kind("loss", TargetComponent.read("torch.nn.functional.relu"), dict, "a.B")
