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

    @pytest.mark.parametrize(
        ("pair", "message"),
        [
            (("1", "2"), r"^hints=1:2: the student's \(4, 8, 8\) can't be regressed to the teacher's \(384,\)"),
            (("3", "0"), r"^hints=3:0: the student's \(4,\) can't be regressed to the teacher's \(6, 8, 8\)"),
        ],
    )
    def test_layers_of_other_kinds_are_refused(self, pair, message):
        with pytest.raises(ValueError, match=message):
            self.make(pairs=(pair,))


class TestMapsOfOtherSides:
    @pytest.mark.parametrize(("ours", "theirs"), [("0", "1"), ("1", "0"), ("0", "0")])
    def test_the_larger_is_averaged_to_the_smaller(self, ours, theirs):
        student = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2))
        teacher = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.AvgPool2d(4)).eval()
        guided = hinted(student, teacher, ((ours, theirs),), IMAGES, generator=torch.Generator())
        loss = HintLoss(teacher, [theirs], guided.hint_sides)
        smaller = min(8 if ours == "0" else 4, 8 if theirs == "0" else 2)
        outputs = guided(IMAGES)
        assert outputs.shape == (3, 5 * smaller**2)
        hints = nn.functional.adaptive_avg_pool2d(outputs_of(teacher, [theirs], IMAGES)[0], smaller).flatten(1)
        assert torch.equal(loss(outputs, IMAGES, None), 0.5 * (outputs - hints).square().mean())
        loss(outputs, IMAGES, None).backward()
        assert student[0].weight.grad.abs().sum() > 0

    def test_sides_that_cross_are_both_averaged(self):
        student, teacher = nn.Sequential(nn.AvgPool2d((1, 2))), nn.Sequential(nn.AvgPool2d((4, 1)))
        guided = hinted(student, teacher, (("0", "0"),), IMAGES, generator=torch.Generator())
        assert guided(IMAGES).shape == (3, 2 * 4) and guided.hint_sides == ((2, 4),)

    def test_equal_sides_are_left_as_they_are(self):
        guided = hinted(network(4), network(6), (("0", "1"),), IMAGES, generator=torch.Generator())
        assert guided.hint_sides == (None,) and isinstance(guided.regressors[0], nn.Conv2d)


class Tokens(nn.Module):
    """Gives (n, tokens, width), as transformers do."""

    def __init__(self, n_tokens, width):
        super().__init__()
        self.size = n_tokens, width
        self.layer = nn.Linear(64, n_tokens * width)
        self.inner = nn.Identity()
        self.pair = nn.LSTM(width, 2, batch_first=True)

    def forward(self, images):
        tokens = self.inner(self.layer(images.flatten(1)).view(-1, *self.size))
        return self.pair(tokens)[0].flatten(1)


def test_tokens_have_a_linear_regressor_where_there_are_as_many():
    guided = hinted(Tokens(5, 3), Tokens(5, 7), (("inner", "inner"),), IMAGES, generator=torch.Generator())
    assert guided(IMAGES).shape == (3, 5 * 7)
    for other in (Tokens(6, 3), network(2)):
        path = "inner" if isinstance(other, Tokens) else "1"
        with pytest.raises(ValueError, match=r"can't be regressed to the teacher's .*or both as many tokens"):
            hinted(other, Tokens(5, 3), ((path, "inner"),), IMAGES, generator=torch.Generator())


def test_a_layer_that_gives_no_tensor_is_named():
    with pytest.raises(ValueError, match=r"^hints: the module pair gives a tuple, not one tensor$"):
        outputs_of(Tokens(2, 2), ["pair"], IMAGES)


def test_of_many_modules_those_of_a_like_name_are_suggested():
    model = nn.Sequential(*(nn.Identity() for _ in range(30)))
    with pytest.raises(
        ValueError, match=r"no module 222 in the network; did you mean .*22.*\? there are 0, .* and 10 more"
    ):
        outputs_of(model, ["222"], IMAGES)


def test_a_layer_of_the_student_has_one_teacher():
    with pytest.raises(ValueError, match="names a layer of the student twice"):
        read_pairs("a:b+a:c")


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
