import pytest
import torch

from effbench.data.pool import AugmentedPool, augmented_by


@pytest.fixture(scope="module")
def data(make_toy_data):
    return make_toy_data(augment="crop_flip")


@pytest.fixture(scope="module")
def pool(data):
    return AugmentedPool.of(data, n_copies=3)


def one_pass(data, split="train", *, seed=None, **options):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    options = {"side": data.side, "batch_size": 50, **options}
    images, labels = zip(*data.batches(split, generator=generator, **options), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_is_the_data_set_behind_it(data, pool):
    for fact in ("name", "n_classes", "channels", "side"):
        assert getattr(pool, fact) == getattr(data, fact)
    assert [pool.n_examples(split) for split in ("train", "val", "test")] == [203, 61, 62]
    assert pool.fingerprint != data.fingerprint
    assert pool.fingerprint != AugmentedPool.of(data, n_copies=2).fingerprint


def test_copy_0_is_the_data_set_as_it_is_and_the_others_are_not(data, pool):
    images, labels = one_pass(pool)
    plain, plain_labels = one_pass(data)
    assert images.shape == (4 * 203, 1, 8, 8)
    assert torch.equal(images[:203], plain.half().float())
    assert torch.equal(labels, plain_labels.repeat(4))
    for copy in range(1, 4):
        assert not torch.equal(images[203 * copy : 203 * (copy + 1)], images[:203])


def test_a_shuffled_pass_has_each_example_once_in_a_copy_that_is_drawn(pool):
    images, numbers = one_pass(pool, seed=0, numbered=True)
    assert torch.equal((numbers % 203).sort().values, torch.arange(203))
    assert all(20 < n < 85 for n in torch.bincount(numbers // 203, minlength=4).tolist())
    whole, _ = one_pass(pool)
    assert torch.equal(images, whole[numbers])


def test_a_fraction_keeps_examples_in_all_their_copies(pool):
    _, numbers = one_pass(pool, fraction=0.3, numbered=True)
    kept = numbers[:61]
    assert torch.equal(numbers, torch.cat([kept + 203 * copy for copy in range(4)]))


def test_other_splits_are_those_of_the_data_set(data, pool):
    for seed in (None, 0):
        for ours, theirs in zip(one_pass(pool, "val", seed=seed), one_pass(data, "val", seed=seed), strict=True):
            assert torch.equal(ours, theirs)


def test_another_side_shows_the_same_pictures(pool):
    small, labels = one_pass(pool, side=4)
    images, same_labels = one_pass(pool)
    assert small.shape == (4 * 203, 1, 4, 4)
    assert torch.equal(labels, same_labels)
    assert torch.allclose(small.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=0.15)


def test_is_the_same_whenever_it_is_drawn_and_kept_until_another_is(make_toy_data):
    first = AugmentedPool.of(make_toy_data(augment="crop_flip"), n_copies=1)
    assert AugmentedPool.of(make_toy_data(augment="crop_flip"), n_copies=1) is first
    AugmentedPool.of(make_toy_data(augment="affine"), n_copies=1)
    again = AugmentedPool.of(make_toy_data(augment="crop_flip"), n_copies=1)
    assert again is not first
    assert torch.equal(again.images, first.images)


def test_data_that_augment_nothing_have_no_pool(toy_data):
    with pytest.raises(ValueError, match="pool=2: must be 0 with toy, which augments nothing"):
        AugmentedPool.of(toy_data, n_copies=2)


def test_only_kept_images_can_be_augmented_otherwise(toy_data, pool):
    assert augmented_by(toy_data, "affine").augment == "affine"
    with pytest.raises(ValueError, match=r"augment=affine: must be null with toy, which has data\.augment alone"):
        augmented_by(pool, "affine")
