import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from effbench.analysis.curves.counts import quality_from_sums
from effbench.tasks.classification import Classification

TASK = Classification()


def batch(n=50, n_classes=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, n_classes, (n,), generator=generator)
    outputs = torch.randn(n, n_classes, generator=generator) + 2 * F.one_hot(targets, n_classes)
    return outputs, targets


def test_quality_is_accuracy_whose_chance_is_the_largest_class(make_toy_data):
    assert TASK.quality(make_toy_data()).chance == 16 / 61  # 61 examples of 4 classes
    labels = make_toy_data().labels
    uneven = make_toy_data(labels={**labels, "val": torch.where(labels["val"] == 0, 2, labels["val"])})
    quality = TASK.quality(uneven)
    assert quality.chance == (labels["val"].remainder(2) == 0).sum().item() / 61
    assert (quality.name, quality.kind, quality.direction) == ("accuracy", "ratio", "higher")


@given(st.integers(1, 40), st.integers(2, 12), st.integers(0, 1000))
def test_summed_counts_are_those_of_a_confusion_matrix(n, n_classes, seed):
    outputs, targets = batch(n, n_classes, seed)
    confusion = np.zeros((n_classes, n_classes), dtype=int)
    for true, scores in zip(targets.tolist(), outputs.numpy(), strict=True):
        confusion[true, int(np.argmax(scores))] += 1
    counts = TASK.counts(outputs, targets)
    assert counts["accuracy"].sum(0).tolist() == [[np.trace(confusion), n]]
    assert list(counts) == (["accuracy"] if n_classes <= 5 else ["accuracy", "accuracy_top5"])
    if n_classes > 5:
        ranks = [(scores > scores[true]).sum() for true, scores in zip(targets.tolist(), outputs.numpy(), strict=True)]
        assert counts["accuracy_top5"].sum(0).tolist() == [[sum(rank < 5 for rank in ranks), n]]


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_counts_and_losses_do_not_depend_on_the_batch_size(batch_size):
    outputs, targets = batch()
    parts = list(zip(outputs.split(batch_size), targets.split(batch_size), strict=True))
    whole = TASK.counts(outputs, targets)
    for name, counts in whole.items():
        assert counts.dtype == torch.int64
        assert counts.shape == (50, 1, 2)
        assert torch.equal(torch.cat([TASK.counts(*part)[name] for part in parts]), counts)
    summed = sum(TASK.summed_loss(*part).item() for part in parts)
    assert summed == pytest.approx(50 * TASK.loss(outputs, targets).item(), rel=1e-5)


def test_kinds_name_what_is_counted(toy_data, digits_data):
    for data in (toy_data, digits_data):
        outputs, targets = batch(4, data.n_classes)
        assert list(TASK.kinds(data)) == list(TASK.counts(outputs, targets))
        assert next(iter(TASK.kinds(data))) == TASK.quality(data).name


def test_of_equal_scores_the_first_counts_as_the_highest():
    # A network that was pruned away gives every class the same score: it is right by chance, in both countings.
    counts = TASK.counts(torch.zeros(10, 10), torch.arange(10))
    assert counts["accuracy"][:, 0, 0].tolist() == [1] + [0] * 9
    assert counts["accuracy_top5"][:, 0, 0].tolist() == [1] * 5 + [0] * 5


def test_losses_are_cross_entropies_in_nats():
    outputs, targets = torch.zeros(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    assert TASK.loss(outputs, targets).item() == pytest.approx(math.log(4))
    assert TASK.summed_loss(outputs, targets).item() == pytest.approx(6 * math.log(4))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_distillation_loss_by_hand(temperature):
    (outputs, _), (teacher, _) = batch(5, 3, seed=1), batch(5, 3, seed=2)
    p, q = (torch.softmax(logits.double() / temperature, 1) for logits in (teacher, outputs))
    by_hand = temperature**2 * (p * (p / q).log()).sum(1).mean()
    loss = TASK.distillation_loss(outputs, F.log_softmax(teacher / temperature, 1), temperature=temperature)
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-4)


def test_examples_say_class_prediction_and_confidence():
    outputs = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]]))
    examples = TASK.examples(outputs, torch.tensor([1, 2]))
    assert examples["group"].tolist() == [1, 2]
    assert examples["predicted"].tolist() == [0, 2]
    assert examples["confidence"].tolist() == pytest.approx([0.7, 0.4])


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (torch.zeros(1, 5), r"must give \(1, 4\) scores for one image, but gives shape \(1, 5\)"),
        (torch.zeros(1, 4, 1, 1), r"gives shape \(1, 4, 1, 1\)"),
        ({"out": torch.zeros(1, 4)}, "gives a dict"),
    ],
)
def test_outputs_of_another_shape_are_refused(toy_data, outputs, words):
    TASK.check_outputs(torch.zeros(1, 4), toy_data, side=8)
    with pytest.raises(ValueError, match=f"^must give .*{words}$" if words.startswith("gives") else f"^{words}$"):
        TASK.check_outputs(outputs, toy_data, side=8)


def test_quality_follows_from_the_summed_counts():
    outputs, targets = batch()
    sums = TASK.counts(outputs, targets)["accuracy"].sum(0).numpy()
    assert float(quality_from_sums(sums, "ratio")) == (outputs.argmax(1) == targets).sum().item() / 50
