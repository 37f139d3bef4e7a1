"""Hints: pairs of layers, the regressors between them, and the loss that brings them together."""

import pytest
import torch
from torch import nn

from effbench.training.hints import HintedStudent, HintLoss, hinted, outputs_of, read_pairs


def network(width, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64 * width, 4)
        )


IMAGES = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("text", "pairs"),
    [("none", ()), ("a:b", (("a", "b"),)), ("a.1:b.2+c:d", (("a.1", "b.2"), ("c", "d")))],
)
def test_pairs_are_read(text, pairs):
    assert read_pairs(text) == pairs


@pytest.mark.parametrize("text", ["", "a", "a:", ":b", "a:b:c", "a:b+", "a:b c:d+e"])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(ValueError, match="must be none, or student:teacher paths of modules, joined by"):
        read_pairs(text)


def test_outputs_are_those_of_the_modules_before_the_next_one_works_in_place():
    model = network(4).eval()
    convolved, rectified = outputs_of(model, ["0", "1"], IMAGES)
    assert torch.equal(convolved, nn.functional.conv2d(IMAGES, model[0].weight, model[0].bias, padding=1))
    assert torch.equal(rectified, convolved.relu())
    assert not any(module._forward_hooks for module in model.modules())


def test_modules_that_are_not_there_or_do_not_run_are_named():
    model = network(4)
    with pytest.raises(ValueError, match=r"^hints: there is no module 7 in the network; there are 0, 1, 2, 3$"):
        outputs_of(model, ["0", "7"], IMAGES)
    model.unused = nn.Linear(1, 1)
    model.forward = model[:4].forward
    with pytest.raises(ValueError, match=r"^hints: the module unused does not run; name one that does$"):
        outputs_of(model, ["unused"], IMAGES)
    assert not any(module._forward_hooks for module in model.modules())


class TestHinted:
    def make(self, seed=0, pairs=(("1", "1"), ("3", "3"))):
        generator = torch.Generator().manual_seed(seed)
        return hinted(network(4), network(6, seed=1), pairs, IMAGES, generator=generator)

    def test_each_pair_has_a_regressor_of_its_kind_and_size(self):
        student = self.make()
        convolution, linear = student.regressors
        assert (convolution.in_channels, convolution.out_channels, convolution.kernel_size) == (4, 6, (1, 1))
        assert (linear.in_features, linear.out_features) == (4, 4)
        assert student(IMAGES).shape == (3, 6 * 64 + 4)

    def test_they_are_drawn_from_the_generator_and_from_nothing_else(self):
        torch.manual_seed(3)
        before = torch.get_rng_state()
        one, again, other = (self.make(seed).regressors.state_dict() for seed in (0, 0, 1))
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(tensor, again[name]) for name, tensor in one.items())
        assert not torch.equal(one["0.weight"], other["0.weight"])

    def test_layers_whose_maps_have_other_sides_are_refused(self):
        with pytest.raises(
            ValueError, match=r"^hints=1:2: the student's \(4, 8, 8\) can't be regressed to the teacher's"
        ):
            self.make(pairs=(("1", "2"),))


def test_the_loss_is_half_the_mean_square_of_what_is_missing_to_the_hints():
    teacher = network(6, seed=1)
    loss = HintLoss(teacher.train(), ["1"])
    hints = outputs_of(teacher.eval(), ["1"], IMAGES)[0].detach().flatten(1)
    assert float(loss(hints, IMAGES, None)) == 0
    assert float(loss(hints + 2, IMAGES, None)) == pytest.approx(2)
    assert not teacher.training


def test_regressors_and_student_learn_the_teacher_does_not():
    student = HintedStudent(network(4), {"1": nn.Conv2d(4, 6, 1)})
    teacher = network(6, seed=1)
    HintLoss(teacher, ["1"])(student(IMAGES), IMAGES, None).backward()
    assert student.student[0].weight.grad.abs().sum() > 0
    assert student.regressors[0].weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())
