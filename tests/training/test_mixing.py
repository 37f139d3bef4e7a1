import pytest
import torch
import torch.nn.functional as F

from effbench.training.mixing import BlendedLoss, Mixing
from effbench.training.options import TrainingOptions


def mixing(base=0, **options):
    return Mixing(TrainingOptions(epochs=1, lr=0.1, **options), 4, base)


IMAGES = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 8, 8).clone()
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


def test_mixup_blends_images_and_labels_alike():
    images, targets = mixing(mixup=0.4)(IMAGES, LABELS, 0, 0)
    assert targets.shape == (6, 4)
    share = images[1, 0, 0, 0]  # of the image of ones, beside that of zeros
    torch.testing.assert_close(targets[1], torch.stack([1 - share, share, torch.zeros(()), torch.zeros(())]))


def test_cutmix_has_whole_pixels_and_both_kinds_come_where_both_are_asked_for():
    images, targets = mixing(cutmix=1.0)(IMAGES, LABELS, 0, 0)
    assert set(images[1].unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(targets[1, 1], images[1].mean())
    both = mixing(cutmix=1.0, mixup=1.0)
    whole = [bool((images == images.round()).all()) for images, _ in (both(IMAGES, LABELS, 0, n) for n in range(20))]
    assert {True, False} == set(whole)


def test_only_seed_epoch_and_batch_decide():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = mixing(mixup=0.4)(IMAGES, LABELS, 2, 3)[0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(mixing(mixup=0.4)(IMAGES, LABELS, 2, 3)[0], first)
    others = [
        mixing(mixup=0.4)(IMAGES, LABELS, 3, 3),
        mixing(mixup=0.4)(IMAGES, LABELS, 2, 4),
        mixing(1, mixup=0.4)(IMAGES, LABELS, 2, 3),
    ]
    assert not any(torch.equal(images, first) for images, _ in others)


@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}])
@pytest.mark.parametrize("n", [1, 2, 6])
def test_what_knows_examples_by_number_is_blended_alike(options, n):
    labels, outputs = LABELS[:n], torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    of_numbers = BlendedLoss(lambda outputs, images, numbers: F.cross_entropy(outputs, LABELS[numbers - 100]))
    for batch in range(5):
        images, targets = mixing(**options)(IMAGES[:n], labels, 0, batch)
        same, numbered = mixing(**options).by_number(IMAGES[:n], torch.arange(100, 100 + n), 0, batch)
        assert torch.equal(same, images)
        assert numbered[:, 0].tolist() == list(range(100, 100 + n))
        torch.testing.assert_close(of_numbers(outputs, images, numbered), F.cross_entropy(outputs, targets))
    numbers = torch.arange(100, 100 + n)
    assert torch.equal(of_numbers(outputs, images, numbers), F.cross_entropy(outputs, labels))
