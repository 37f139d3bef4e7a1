"""The loss of a training: torch's modules on what they take, and what is refused before anything starts."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effbench.data.scenes import scenes
from effbench.plan.components import TargetComponent
from effbench.tasks.classification import Classification
from effbench.tasks.segmentation import Segmentation
from effbench.training.losses import make_criterion
from effbench.training.options import TrainingOptions

CPU = torch.device("cpu")
TASK = Classification()
OUTPUTS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 3, 1, 1, 2])
ONE_HOT = F.one_hot(TARGETS, 4).float()


def component(name, **options):
    return TargetComponent.read({"_target_": name if "." in name else f"torch.nn.{name}", **options})


def criterion(data, task=TASK, **options):
    return make_criterion(TrainingOptions(epochs=1, lr=0.1, **options), task, data, CPU)


def test_without_options_it_is_the_tasks_own(toy_data):
    assert criterion(toy_data) == TASK.loss


@pytest.mark.parametrize(
    ("name", "options", "targets"),
    [
        ("CrossEntropyLoss", {"label_smoothing": 0.2, "weight": [1, 2, 3, 4]}, TARGETS),
        ("MultiMarginLoss", {"margin": 0.5}, TARGETS),
        ("NLLLoss", {}, TARGETS),
        ("BCEWithLogitsLoss", {"pos_weight": [1, 2, 3, 4]}, ONE_HOT),
        ("MSELoss", {"reduction": "sum"}, ONE_HOT),
        ("L1Loss", {}, ONE_HOT),
        ("HuberLoss", {"delta": 0.5}, ONE_HOT),
        ("SmoothL1Loss", {}, ONE_HOT),
        ("MultiLabelSoftMarginLoss", {}, ONE_HOT),
        ("KLDivLoss", {"reduction": "batchmean"}, ONE_HOT),
    ],
)
def test_a_module_of_torchs_gets_classes_or_else_a_1_for_each(name, options, targets, toy_data):
    plain = {key: torch.tensor(value).float() if isinstance(value, list) else value for key, value in options.items()}
    expected = getattr(nn, name)(**plain)(OUTPUTS, targets)
    assert torch.equal(criterion(toy_data, loss=component(name, **options))(OUTPUTS, TARGETS), expected)


def test_labels_are_smoothed_and_blended_ones_are_taken(toy_data):
    expected = F.cross_entropy(OUTPUTS, TARGETS, label_smoothing=0.1)
    assert torch.equal(criterion(toy_data, label_smoothing=0.1)(OUTPUTS, TARGETS), expected)
    soft = 0.7 * ONE_HOT + 0.3 * ONE_HOT.roll(1, 0)
    for options in ({"mixup": 0.2}, {"cutmix": 1.0, "label_smoothing": 0.1}):
        expected = F.cross_entropy(OUTPUTS, soft, label_smoothing=options.get("label_smoothing", 0.0))
        assert torch.equal(criterion(toy_data, **options)(OUTPUTS, soft), expected)
    mixed = criterion(toy_data, mixup=0.2, loss=component("BCEWithLogitsLoss"))
    assert torch.equal(mixed(OUTPUTS, soft), F.binary_cross_entropy_with_logits(OUTPUTS, soft))


@pytest.mark.extended
def test_each_pixel_has_a_loss():
    data = scenes()
    maps = data.labels["train"][:2].long()
    outputs = torch.randn(2, data.n_classes, 8, 8, generator=torch.Generator().manual_seed(0))
    resized = F.interpolate(outputs, size=maps.shape[1:], mode="bilinear", align_corners=False)
    smoothed = criterion(data, Segmentation(), label_smoothing=0.1)(outputs, maps)
    assert torch.equal(smoothed, F.cross_entropy(resized, maps, label_smoothing=0.1))
    own = criterion(data, Segmentation(), loss=component("BCEWithLogitsLoss"))(outputs, maps)
    one_hot = F.one_hot(maps, data.n_classes).movedim(-1, 1).float()
    assert torch.equal(own, F.binary_cross_entropy_with_logits(resized, one_hot))
    with pytest.raises(ValueError, match=r"^cutmix=1: must be null with task=segmentation"):
        criterion(data, Segmentation(), cutmix=1.0)


@pytest.mark.parametrize(
    ("name", "options", "others", "message"),
    [
        ("MarginRankingLoss", {}, {}, "takes neither classes nor a 1 for each: TypeError: "),
        ("CTCLoss", {}, {}, "takes neither classes nor a 1 for each: TypeError: "),
        ("CrossEntropyLoss", {"reduction": "none"}, {}, "must give one number for a batch, but gives shape (3,)"),
        ("CrossEntropyLoss", {"weight": [1, 2]}, {}, "RuntimeError: weight tensor should be defined either for all 4"),
        ("CrossEntropyLoss", {"smoothing": 0.1}, {}, "takes no option 'smoothing'; its options: "),
        ("MultiMarginLoss", {}, {"mixup": 0.2}, "takes no probabilities, which mixing makes of labels: "),
        ("Linear", {"in_features": 4, "out_features": 1}, {}, "has parameters of its own, which nothing would train"),
        ("torch.optim.SGD", {}, {}, "loss._target_=torch.optim.SGD: must be a class derived from torch.nn.Module"),
    ],
)
def test_what_is_no_loss_here_is_refused(name, options, others, message, toy_data):
    with pytest.raises(ValueError) as refusal:
        criterion(toy_data, loss=component(name, **options), **others)
    assert str(refusal.value).startswith("loss")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
