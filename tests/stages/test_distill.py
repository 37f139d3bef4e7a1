import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.models import small_cnn
from effbench.plan.teacher import Teacher, label_examples
from effbench.run.store import Store
from effbench.stages.distill import Distill
from effbench.stages.prune import Prune
from effbench.stages.train import Train
from effbench.training.loop import TrainingOptions, fit
from effbench.training.soft_labels import SoftLabelLoss

CPU = torch.device("cpu")
OPTIONS = {"epochs": 2, "lr": 1e-2, "batch_size": 32}


def same_bits(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def random_logits(seed, n=6, n_classes=5, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = scale * torch.randn(2, n, n_classes, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), teacher, torch.randint(0, n_classes, (n,), generator=generator)


def gradient(student, teacher, labels, **options):
    loss = SoftLabelLoss(teacher=teacher, labels=labels, **options)(student, None, torch.arange(len(student)))
    return torch.autograd.grad(loss, student)[0]


class CountedTeacher:
    """A teacher over a store, with how often its network was asked for."""

    def __init__(self, network, store, *, key="teacher", side=8):
        self.n_asked = 0

        def give():
            self.n_asked += 1
            return network

        self.teacher = Teacher(key=key, side=side, network=give, keep=store.keep_tensor)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture(scope="module")
def trained_teacher(toy_data, toy_network, make_context):
    return Train(epochs=4, lr=1e-2).apply(toy_network(seed=7), make_context(toy_data, step="teacher"))


class TestSoftLabelLoss:
    @given(st.integers(0, 1000), st.floats(0.5, 30))
    def test_the_gradient_of_the_soft_part_is_the_difference_of_the_softened_outputs(self, seed, temperature):
        student, teacher, labels = random_logits(seed)
        found = gradient(student, teacher, labels, weight=1.0, temperature=temperature)
        # T² · (1/T) · (student_T - teacher_T): arXiv:1503.02531, equation 2, with the factor T².
        difference = F.softmax(student / temperature, 1) - F.softmax(teacher / temperature, 1)
        torch.testing.assert_close(found * len(student), temperature * difference)

    @given(st.integers(0, 1000))
    def test_a_high_temperature_matches_logits(self, seed):
        # arXiv:1503.02531, section 2.1: for zero-mean logits the gradient goes to (z - v) / (N T²), here times T².
        student, teacher, labels = random_logits(seed)
        teacher = teacher - teacher.mean(1, keepdim=True)
        student = (student.detach() - student.detach().mean(1, keepdim=True)).requires_grad_()
        found = gradient(student, teacher, labels, weight=1.0, temperature=1e4)
        torch.testing.assert_close(found * len(student), (student - teacher).detach() / 5, rtol=1e-2, atol=1e-3)

    @given(st.integers(0, 1000), st.floats(0, 1), st.floats(0.5, 30))
    def test_is_between_the_true_and_the_soft_labels(self, seed, weight, temperature):
        student, teacher, labels = random_logits(seed)
        hard, soft, mixed = (
            gradient(student, teacher, labels, weight=w, temperature=temperature) for w in (0.0, 1.0, weight)
        )
        torch.testing.assert_close(hard, torch.autograd.grad(F.cross_entropy(student, labels), student)[0])
        torch.testing.assert_close(mixed, (1 - weight) * hard + weight * soft)

    def test_a_student_that_agrees_has_no_soft_loss_and_otherwise_a_positive_one(self):
        student, teacher, labels = random_logits(0)
        loss = SoftLabelLoss(weight=1.0, temperature=3.0, teacher=teacher, labels=labels)
        numbers = torch.arange(6)
        assert loss(teacher + 2.5, None, numbers).item() == pytest.approx(0, abs=1e-12)  # a constant says nothing
        assert loss(student, None, numbers) > 0
        assert loss(teacher.flip(0), None, numbers.flip(0)).item() == pytest.approx(0, abs=1e-12)  # rows by number


class TestThroughTheLoop:
    def test_the_true_labels_by_number_train_to_the_bits_of_plain_training(self, make_toy_data, toy_network):
        data = make_toy_data(augment="crop_flip")
        plain, numbered = toy_network(), toy_network()
        loss = SoftLabelLoss(weight=0.0, temperature=1.0, teacher=torch.zeros(203, 4), labels=data.labels["train"])
        for model, given_loss in ((plain, None), (numbered, loss)):
            generator = torch.Generator().manual_seed(0)
            options = TrainingOptions(**OPTIONS, fraction=0.7)
            fit(model, data, options, side=8, generator=generator, device=CPU, loss=given_loss)
        assert same_bits(plain, numbered)

    def test_weight_zero_is_plain_training_and_needs_no_teacher(self, toy_data, toy_network, make_context):
        absent = Teacher(key="", side=8, network=lambda: 1 / 0, keep=lambda name, make: 1 / 0)
        context = make_context(toy_data, teacher=absent)
        taught = Distill(**OPTIONS, weight=0.0).apply(toy_network(), context)
        assert same_bits(taught, Train(**OPTIONS).apply(toy_network(), context))

    def test_weight_one_never_looks_at_a_true_label(self, make_toy_data, toy_network, make_context, trained_teacher):
        data, scrambled = make_toy_data(), make_toy_data()
        scrambled.labels["train"][:] = 0
        one, other = (
            Distill(**OPTIONS, weight=1.0).apply(
                toy_network(), make_context(d, teacher=teacher_without_store(trained_teacher))
            )
            for d in (data, scrambled)
        )
        assert same_bits(one, other)

    def test_the_teacher_decides_the_student(self, toy_data, toy_network, make_context, trained_teacher):
        stage = Distill(**OPTIONS, weight=0.5)
        one, again, other = (
            stage.apply(toy_network(), make_context(toy_data, teacher=teacher_without_store(network)))
            for network in (trained_teacher, trained_teacher, toy_network(seed=5))
        )
        assert same_bits(one, again)
        assert not same_bits(one, other)

    def test_masks_hold(self, toy_data, toy_network, make_context):
        pruned = Prune(ratio=0.8).apply(toy_network(), make_context(toy_data))
        taught = Distill(**OPTIONS, weight=0.9).apply(pruned, make_context(toy_data))
        for before, after in ((pruned[0], taught[0]), (pruned[5], taught[5])):
            assert torch.equal(before.weight == 0, after.weight == 0)
        assert not torch.equal(pruned[5].weight, taught[5].weight)


def perceptron(seed, n_hidden):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(196, n_hidden), nn.ReLU(), nn.Linear(n_hidden, 10))


def test_a_student_with_few_examples_is_better_taught_than_alone(digits_data, make_context):
    def context(step, seed, teacher=None):
        return make_context(digits_data, side=14, step=step, seed=seed, teacher=teacher)

    network = Train(epochs=8, lr=3e-3).apply(perceptron(100, 64), context("teacher", 0))
    teacher = Teacher(key="t", side=14, network=lambda: network, keep=lambda name, make: make())
    options = {"epochs": 80, "lr": 1e-2, "fraction": 0.1}  # 300 images; the teacher had 3,000
    gains = []
    for seed in (0, 1, 2):
        alone, taught = (
            stage.apply(perceptron(seed, 16), context("student", seed, teacher))
            for stage in (Train(**options), Distill(**options, weight=0.9))
        )
        gains.append(context("", seed).evaluate(taught) - context("", seed).evaluate(alone))
    # Seen on test with a teacher of 128 units: 85 to 87 % alone, 91 % taught. Every seed gains.
    assert min(gains) > 0.015
    assert sum(gains) / 3 > 0.03


def teacher_without_store(network):
    return Teacher(key="t", side=8, network=lambda: network, keep=lambda name, make: make())


class TestSoftLabelsKept:
    def test_are_those_of_the_network_by_number(self, toy_data, trained_teacher):
        found = label_examples(trained_teacher, toy_data, side=8, device=CPU)
        images = torch.cat([images for images, _ in toy_data.batches("train", side=8, batch_size=300)])
        with torch.no_grad():
            torch.testing.assert_close(found, trained_teacher(images))
        assert (found.argmax(1) == toy_data.labels["train"]).float().mean() > 0.95

    def test_serve_every_student_and_give_the_bits_that_the_teacher_gives(
        self, toy_data, toy_network, make_context, store, trained_teacher
    ):
        counted = CountedTeacher(trained_teacher, store)
        stage = Distill(**OPTIONS, weight=0.9)
        first = stage.apply(toy_network(), make_context(toy_data, teacher=counted.teacher))
        from_kept = stage.apply(toy_network(), make_context(toy_data, teacher=counted.teacher))
        Distill(**OPTIONS, weight=0.5, temperature=9.0).apply(
            toy_network(seed=3), make_context(toy_data, seed=1, teacher=counted.teacher)
        )
        assert counted.n_asked == 1
        assert same_bits(first, from_kept)
        online = make_context(toy_data, teacher=teacher_without_store(trained_teacher))
        assert same_bits(first, stage.apply(toy_network(), online))

    def test_belong_to_teacher_data_and_side(self, toy_data, make_toy_data, store, trained_teacher, toy_network):
        small = lambda network: nn.Sequential(nn.Upsample((8, 8)), network)  # noqa: E731
        cases = [("a", toy_data, 8), ("b", toy_data, 8), ("a", make_toy_data(seed=1), 8), ("a", toy_data, 6)]
        for key, data, side in cases:
            counted = CountedTeacher(small(trained_teacher), store, key=key, side=side)
            for _ in range(2):
                counted.teacher.logits(data, device=CPU)
            assert counted.n_asked == 1, (key, side)

    def test_a_teacher_of_other_classes_is_refused(self, toy_data, make_context, toy_network):
        other = teacher_without_store(nn.Sequential(nn.Flatten(), nn.Linear(64, 7)))
        with pytest.raises(ValueError, match=r"outputs are \(7,\), the data have 4 classes"):
            Distill(**OPTIONS, weight=1.0).apply(toy_network(), make_context(toy_data, teacher=other))


class TestPool:
    def test_each_copy_has_a_label_of_its_own(self, make_toy_data, toy_network, make_context, store, trained_teacher):
        from effbench.data.pool import AugmentedPool

        data = make_toy_data(augment="crop_flip")
        pool = AugmentedPool.of(data, n_copies=2)
        counted = CountedTeacher(trained_teacher, store)
        logits = counted.teacher.logits(pool, device=CPU)
        assert logits.shape == (3 * 203, 4)
        torch.testing.assert_close(logits[:203], counted.teacher.logits(data, device=CPU), atol=0.05, rtol=0.01)
        assert not torch.allclose(logits[203:406], logits[406:], atol=0.1)
        batches = list(pool.batches("train", side=8, batch_size=32, generator=torch.Generator(), numbered=True))
        numbers = torch.cat([numbers for _, numbers in batches])
        assert sorted((numbers % 203).tolist()) == list(range(203))
        assert set((numbers // 203).tolist()) == {0, 1, 2}
        with torch.no_grad():
            for images, part in batches:
                torch.testing.assert_close(trained_teacher(images), logits[part], atol=1e-4, rtol=1e-4)
        before = counted.n_asked
        stage = Distill(**OPTIONS, weight=1.0, pool=2)
        one, again = (stage.apply(toy_network(), make_context(data, teacher=counted.teacher)) for _ in range(2))
        assert same_bits(one, again)
        assert counted.n_asked == before

    def test_needs_data_that_augment(self, toy_data, toy_network, make_context):
        with pytest.raises(ValueError, match="pool=2: must be 0 with toy, which augments nothing"):
            Distill(**OPTIONS, weight=0.5, pool=2).apply(toy_network(), make_context(toy_data))


def cnn(seed, alpha):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return small_cnn(num_classes=4, input_side=8, channels=(8, 12, 16), n_poolings=1, alpha=alpha)


@pytest.fixture(scope="module")
def teacher(toy_data, make_context):
    return Train(epochs=4, lr=1e-2).apply(cnn(7, 1.0), make_context(toy_data, step="teacher"))


class TestHints:
    def test_bring_the_guided_layer_nearer_to_the_hint(self, toy_data, make_context, teacher):
        stage = {"epochs": 13, "lr": 1e-2, "batch_size": 32, "weight": 0.5, "hint_epochs": 12}
        left = {"none": [], "features.relu2:features.relu2": []}
        for seed in (0, 1, 2):
            context = make_context(toy_data, seed=seed, teacher=teacher_without_store(teacher))
            for hints, residuals in left.items():
                student = Distill(**stage, hints=hints).apply(cnn(seed, 0.5), context)
                residuals.append(unexplained(student, teacher, toy_data))
        without, with_hints = (sum(residuals) / 3 for residuals in left.values())
        # Seen with another order of the examples, over four seeds: 0.29 to 0.35 of the hint's variance is left
        # unexplained, 0.41 to 0.58 without hints.
        assert with_hints < 0.9 * without, left

    def test_are_deterministic_and_leave_no_regressor_behind(self, toy_data, make_context, teacher):
        stage = Distill(**OPTIONS, weight=0.5, hints="features.relu3:features.relu2+pool:pool", hint_epochs=1)
        context = make_context(toy_data, teacher=teacher_without_store(teacher))
        before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
        one, again = stage.apply(cnn(0, 0.5), context), stage.apply(cnn(0, 0.5), context)
        assert same_bits(one, again)
        assert one.state_dict().keys() == cnn(0, 0.5).state_dict().keys()
        assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())

    @pytest.mark.parametrize(
        ("hints", "message"),
        [
            ("features.relu9:features.relu2", "hints: there is no module features.relu9 in the network; there are"),
            ("features.relu1:features.relu3", r"hints=features.relu1:features.relu3: the student's \(4, 8, 8\) can't"),
        ],
    )
    def test_layers_that_do_not_fit_are_named(self, toy_data, make_context, teacher, hints, message):
        context = make_context(toy_data, teacher=teacher_without_store(teacher))
        with pytest.raises(ValueError, match=message):
            Distill(**OPTIONS, weight=0.5, hints=hints, hint_epochs=1).apply(cnn(0, 0.5), context)


def unexplained(student, teacher, data):
    """The share of the hint's variance on validation that the best linear map of the guided layer leaves."""
    images = torch.cat([images for images, _ in data.batches("val", side=8, batch_size=100)])
    with torch.no_grad():
        guided, hint = (
            model.features[: list(dict(model.features.named_children())).index("relu2") + 1](images)
            .movedim(1, -1)
            .flatten(0, 2)
            for model in (student, teacher)
        )
    guided = torch.cat([guided, torch.ones(len(guided), 1)], dim=1).double()
    hint = hint.double()
    solution = torch.linalg.lstsq(guided, hint, driver="gelsd").solution
    return float((hint - guided @ solution).square().sum() / (hint - hint.mean(0)).square().sum())


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("weight", 1.1, "weight=1.1: must be in"),
        ("weight", math.nan, "weight=nan: must be in"),
        ("temperature", 0.0, "temperature=0.0: must be above 0"),
        ("teacher", "wide", "teacher_alpha=None: must be a width multiplier with teacher=wide"),
        ("teacher_alpha", 2.0, "teacher_alpha=2.0: must be .* null with teacher=reference"),
        ("teacher_fraction", 0.0, "teacher_fraction=0.0: must be in"),
        ("pool", -1, "pool=-1: must be 0 or more"),
        ("hints", "relu", "hints=relu: must be none, or student:teacher"),
        ("hints", "a:b", "hint_epochs=2: must be 1 to 1"),
        ("lr", -1.0, "lr=-1.0: must be"),
    ],
)
def test_what_cannot_be_learned_from_is_named(option, value, message):
    with pytest.raises(ValueError, match=message):
        Distill(**{**OPTIONS, "weight": 0.5, option: value})
