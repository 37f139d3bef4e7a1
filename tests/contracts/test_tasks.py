"""What every task in conf/task owes."""

from pathlib import Path

import pytest
import torch
import yaml

from effbench.analysis.curves.counts import quality_from_sums
from effbench.plan.blueprint import Blueprint
from effbench.tasks import Task

CONF = Path(__file__).parents[2] / "conf"
CONFIGURATIONS = sorted((CONF / "task").glob("*.yaml"))
N, N_CLASSES, SIDE = 12, 4, 8


@pytest.fixture(params=CONFIGURATIONS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def node(path):
    return yaml.safe_load(path.read_text())


@pytest.fixture
def task(node):
    return Blueprint(node["_target_"]).build()


@pytest.fixture
def data(node, make_toy_data):
    """A small data set of the kind that the task is for: classes of images, or of their pixels."""
    plain = make_toy_data()
    data_node = yaml.safe_load((CONF / "data" / f"{node['data']}.yaml").read_text())
    small = {name: 3 for name in data_node if name in ("n_train", "n_val", "n_test")}
    whole = Blueprint.from_node({**data_node, **small}).build()
    if whole.labels["val"].ndim == 1:
        return plain
    maps = {s: images[:, 0].remainder(N_CLASSES) for s, images in plain.images.items()}
    return make_toy_data(labels=maps)


@pytest.fixture
def batch(task, data):
    """Outputs that are right more often than not, and their targets."""
    _, targets = next(data.batches("val", side=SIDE, batch_size=N))
    noise = torch.randn(N, task.n_outputs(data), *targets.shape[1:], generator=torch.Generator().manual_seed(0))
    return noise + 2 * torch.nn.functional.one_hot(targets, N_CLASSES).movedim(-1, 1), targets


def test_names_its_own_network_and_data(path, node, task):
    assert isinstance(task, Task)
    assert task.name == path.stem
    assert type(task.VERSION) is int
    for group in ("model", "data"):
        assert path.stem in yaml.safe_load((CONF / group / f"{node[group]}.yaml").read_text())["tasks"]


def test_its_quality_is_its_first_count(task, data, batch):
    quality, kinds = task.quality(data), task.kinds(data)
    counts = task.counts(*batch)
    assert list(kinds) == list(counts)
    assert quality.name == next(iter(counts))
    assert quality.kind == kinds[quality.name]
    assert quality.direction in ("higher", "lower")


def test_counts_are_whole_numbers_for_each_example(task, data, batch):
    for counts in task.counts(*batch).values():
        assert counts.dtype == torch.int64
        assert counts.shape[::2] == (N, 2)
        assert (counts >= 0).all()


def test_a_batch_counts_as_its_examples_do(task, batch):
    outputs, targets = batch
    parts = [(outputs[i : i + 1], targets[i : i + 1]) for i in range(N)]
    for name, counts in task.counts(outputs, targets).items():
        assert torch.equal(torch.cat([task.counts(*part)[name] for part in parts]), counts)
    for name, values in task.examples(outputs, targets).items():
        assert values.shape == (N,)
        assert torch.allclose(torch.cat([task.examples(*part)[name] for part in parts]).double(), values.double())
    summed = sum(task.summed_loss(*part) for part in parts)
    assert summed.item() == pytest.approx(task.summed_loss(outputs, targets).item(), rel=1e-5)
    assert task.loss(outputs, targets).item() == pytest.approx(summed.item() / N, rel=1e-5)


def test_right_outputs_are_better_than_chance_and_wrong_ones_are_not(task, data, batch):
    outputs, targets = batch
    quality = task.quality(data)

    def measured(scores):
        counts = task.counts(scores, targets)[quality.name].sum(0).numpy()
        return float(quality_from_sums(counts, quality.kind))

    right, wrong = measured(outputs), measured(-outputs)
    better, worse = (right, wrong) if quality.direction == "higher" else (-right, -wrong)
    chance = quality.chance if quality.direction == "higher" else -quality.chance
    assert better > chance > worse


def test_losses_have_gradients_and_fall_with_better_outputs(task, batch):
    outputs, targets = batch[0].clone().requires_grad_(), batch[1]
    task.loss(outputs, targets).backward()
    assert outputs.grad.isfinite().all() and outputs.grad.any()
    assert task.loss(outputs - outputs.grad, targets) < task.loss(outputs, targets)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn(task, batch, temperature):
    outputs, _ = batch
    teacher = (outputs / temperature).log_softmax(1)
    same = task.distillation_loss(outputs, teacher, temperature=temperature)
    different = task.distillation_loss(-outputs, teacher, temperature=temperature)
    assert same.item() == pytest.approx(0, abs=1e-5)
    assert different > 0.1


def test_outputs_for_other_classes_are_refused(task, data, batch):
    outputs, _ = batch
    task.check_outputs(outputs[:1], data, side=SIDE)
    for other in (outputs[:1, :-1], outputs[:2], None):
        with pytest.raises(ValueError, match=r"^must give \(1, 4.*but gives [^\n]*$"):
            task.check_outputs(other, data, side=SIDE)
