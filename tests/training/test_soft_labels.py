"""The loss of soft labels: between the task's own and the teacher's, as the paper's equations have it."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from effbench.tasks.classification import Classification
from effbench.tasks.segmentation import Segmentation
from effbench.training.loop import TrainingOptions, fit
from effbench.training.soft_labels import SoftLabelLoss


def random_logits(seed, n=6, n_classes=5, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = scale * torch.randn(2, n, n_classes, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), teacher, torch.randint(0, n_classes, (n,), generator=generator)


def gradient(student, teacher, labels, **options):
    loss = SoftLabelLoss(task=Classification(), teacher=teacher, labels=labels, **options)(
        student, None, torch.arange(len(student))
    )
    return torch.autograd.grad(loss, student)[0]


@given(st.integers(0, 1000), st.floats(0.5, 30))
def test_the_gradient_of_the_soft_part_is_the_difference_of_the_softened_outputs(seed, temperature):
    student, teacher, labels = random_logits(seed)
    found = gradient(student, teacher, labels, weight=1.0, temperature=temperature)
    # T² · (1/T) · (student_T - teacher_T): arXiv:1503.02531, equation 2, with the factor T².
    difference = F.softmax(student / temperature, 1) - F.softmax(teacher / temperature, 1)
    torch.testing.assert_close(found * len(student), temperature * difference)


@given(st.integers(0, 1000))
def test_a_high_temperature_matches_logits(seed):
    # arXiv:1503.02531, section 2.1: for zero-mean logits the gradient goes to (z - v) / (N T²), here times T².
    student, teacher, labels = random_logits(seed)
    teacher = teacher - teacher.mean(1, keepdim=True)
    student = (student.detach() - student.detach().mean(1, keepdim=True)).requires_grad_()
    found = gradient(student, teacher, labels, weight=1.0, temperature=1e4)
    torch.testing.assert_close(found * len(student), (student - teacher).detach() / 5, rtol=1e-2, atol=1e-3)


@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0.5, 30))
def test_is_between_the_true_and_the_soft_labels(seed, weight, temperature):
    student, teacher, labels = random_logits(seed)
    hard, soft, mixed = (
        gradient(student, teacher, labels, weight=w, temperature=temperature) for w in (0.0, 1.0, weight)
    )
    torch.testing.assert_close(hard, torch.autograd.grad(F.cross_entropy(student, labels), student)[0])
    torch.testing.assert_close(mixed, (1 - weight) * hard + weight * soft)


def test_a_student_that_agrees_has_no_soft_loss_and_otherwise_a_positive_one():
    student, teacher, labels = random_logits(0)
    loss = SoftLabelLoss(task=Classification(), weight=1.0, temperature=3.0, teacher=teacher, labels=labels)
    numbers = torch.arange(6)
    assert loss(teacher + 2.5, None, numbers).item() == pytest.approx(0, abs=1e-12)  # a constant says nothing
    assert loss(student, None, numbers) > 0
    assert loss(teacher.flip(0), None, numbers.flip(0)).item() == pytest.approx(0, abs=1e-12)  # rows by number


def test_maps_of_classes_have_a_soft_label_for_each_pixel():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 4, 3, 5, 5, generator=generator)
    labels = torch.randint(0, 3, (4, 5, 5), generator=generator)
    task = Segmentation()
    soft, hard, mixed = (
        SoftLabelLoss(task=task, weight=weight, temperature=2.0, teacher=teacher, labels=labels)
        for weight in (1.0, 0.0, 0.25)
    )
    numbers = torch.tensor([2, 0])
    given = student[numbers]
    divergence = F.kl_div(
        F.log_softmax(given / 2, 1), F.log_softmax(teacher[numbers] / 2, 1), log_target=True, reduction="none"
    )
    torch.testing.assert_close(soft(given, None, numbers), 4 * divergence.sum(1).mean())
    torch.testing.assert_close(hard(given, None, numbers), F.cross_entropy(given, labels[numbers]))
    expected = 0.75 * hard(given, None, numbers) + 0.25 * soft(given, None, numbers)
    torch.testing.assert_close(mixed(given, None, numbers), expected)


def test_the_true_labels_by_number_train_to_the_bits_of_plain_training(make_toy_data, toy_network):
    data, task = make_toy_data(augment="crop_flip"), Classification()
    plain, numbered = toy_network(), toy_network()
    options = TrainingOptions(epochs=2, lr=1e-2, batch_size=32, fraction=0.7)
    by_number = SoftLabelLoss(
        task=task, weight=0.0, temperature=1.0, teacher=torch.zeros(203, 4), labels=data.labels["train"]
    )
    how = {"side": 8, "device": torch.device("cpu")}
    fit(
        plain,
        data,
        options,
        generator=torch.Generator().manual_seed(0),
        loss=lambda outputs, images, targets: task.loss(outputs, targets),
        **how,
    )
    fit(numbered, data, options, generator=torch.Generator().manual_seed(0), loss=by_number, by_number=True, **how)
    assert all(torch.equal(tensor, numbered.state_dict()[name]) for name, tensor in plain.state_dict().items())


@given(st.integers(0, 1000), st.sampled_from([0.3, 1.0]), st.integers(0, 63))
def test_examples_without_a_soft_label_learn_their_true_one(seed, weight, gaps):
    student, teacher, labels = random_logits(seed)
    known = torch.tensor([not gaps >> number & 1 for number in range(6)])
    options = {"weight": weight, "temperature": 2.0, "task": Classification()}
    found = SoftLabelLoss(**options, teacher=teacher.masked_fill(~known[:, None], torch.nan), labels=labels)
    whole = SoftLabelLoss(**options, teacher=teacher, labels=labels)
    numbers = torch.arange(6)
    each = [
        whole(student[[n]], None, numbers[[n]]) if known[n] else F.cross_entropy(student[[n]], labels[[n]])
        for n in range(6)
    ]
    torch.testing.assert_close(found(student, None, numbers), torch.stack(each).mean())
    assert torch.isfinite(torch.autograd.grad(found(student, None, numbers), student)[0]).all()
