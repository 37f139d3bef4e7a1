import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from effbench.data import SPLITS
from effbench.data.image_folder import ImageFolder, image_folder
from effbench.data.in_memory import InMemoryData

CLASSES = ("cat", "dog", "emu")


def write_images(folder, n_per_class, *, seed=0, classes=CLASSES, size=(20, 14), mode="RGB", suffix=".png"):
    """Class folders of images: noise around a brightness that says the class."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(n_per_class):
            shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
            pixels = rng.integers(0, 60, shape) + 90 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:03}{suffix}")


@pytest.fixture
def whole_folder(tmp_path):
    """Folders for train (10 per class), val (4) and test (5)."""
    for seed, (split, n_per_class) in enumerate((("train", 10), ("val", 4), ("test", 5))):
        write_images(tmp_path / split, n_per_class, seed=seed)
    return tmp_path


def load(root, **options):
    defaults = {"side": 12, "augment": "crop_flip", "workers": 0, "crop_share": 1.0}
    return image_folder(root=str(root), **{**defaults, **options})


def stream(root, **options):
    data = load(root, resize_once=False, **options)
    assert isinstance(data, ImageFolder)
    return data


def one_pass(data, split="train", *, seed=None, side=12, batch_size=8):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    images, labels = zip(*data.batches(split, side=side, batch_size=batch_size, generator=generator), strict=True)
    return torch.cat(images), torch.cat(labels)


def paths(data, split):
    return {path.relative_to(data.root).as_posix() for path, _ in data.files[split]}


def test_the_split_follows_its_seed(tmp_path):
    write_images(tmp_path, 10)
    first, again, second = (stream(tmp_path, split_seed=seed) for seed in (0, 0, 1))
    assert paths(first, "test") == paths(again, "test") != paths(second, "test")


@pytest.mark.parametrize("removed", [None, "val", "test"])
def test_a_test_image_is_never_trained_on(whole_folder, removed):
    if removed is not None:
        shutil.rmtree(whole_folder / removed)
    data = stream(whole_folder)
    content = [{path.read_bytes() for path, _ in data.files[split]} for split in SPLITS]
    assert not (content[0] & content[1] or content[0] & content[2] or content[1] & content[2])


class TestImages:
    @pytest.mark.parametrize("resize_once", [False, True])
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_grey_and_colour_become_the_channels_asked_for(self, tmp_path, mode, channels, resize_once):
        write_images(tmp_path, 10, mode=mode)
        data = load(tmp_path, channels=channels, resize_once=resize_once)
        images, labels = one_pass(data)
        assert data.channels == channels
        assert images.shape == (18, channels, 12, 12)
        assert images.dtype == torch.float32
        brightness = [images[labels == label].mean().item() for label in range(3)]
        assert brightness == sorted(brightness)
        if mode == "L" and channels == 3:
            pixels = images * torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)
            pixels += torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)
            assert torch.allclose(pixels[:, 0], pixels[:, 2], atol=1e-5)

    def test_the_centre_is_kept_and_the_short_side_sets_the_size(self, tmp_path):
        pixels = np.zeros((20, 40, 3), dtype=np.uint8)
        pixels[:, 10:30] = 255  # the central square is white, the sides are black
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            for number in range(5):
                Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
        images, _ = one_pass(load(tmp_path, mean=(0, 0, 0), std=(1, 1, 1), resize_once=True), side=12)
        assert images[:, :, :, 1:-1].min() == 1
        images, _ = one_pass(stream(tmp_path, mean=(0, 0, 0), std=(1, 1, 1), crop_share=0.5), side=10)
        assert images.shape[-2:] == (10, 10)
        assert images.min() == 1

    @pytest.mark.parametrize("resize_once", [False, True])
    def test_a_fixed_order_in_which_each_example_comes_once(self, whole_folder, resize_once):
        data = load(whole_folder, resize_once=resize_once)
        images, labels = one_pass(data, "val", batch_size=5)
        assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert torch.equal(images, one_pass(data, "val", batch_size=12)[0])

    @pytest.mark.parametrize("augment", ["crop_flip", "resized_crop"])
    def test_the_number_of_workers_changes_no_augmented_image(self, whole_folder, augment):
        alone, with_workers = (stream(whole_folder, augment=augment, workers=n) for n in (0, 2))
        images, labels = one_pass(alone, seed=3)
        others, other_labels = one_pass(with_workers, seed=3)
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)
        assert not torch.equal(images, one_pass(alone, seed=4)[0])

    @pytest.mark.parametrize("augment", ["none", "crop_flip", "resized_crop"])
    def test_augmentation_is_for_training_only(self, tmp_path, augment):
        write_images(tmp_path, 10)
        data = stream(tmp_path, augment=augment)
        plain, labels = one_pass(data)
        assert torch.equal(plain, one_pass(stream(tmp_path, augment="none"))[0])
        shuffled, shuffled_labels = one_pass(data, seed=0)
        assert sorted(shuffled_labels.tolist()) == sorted(labels.tolist())
        n_same = sum(bool((plain == image).all((1, 2, 3)).any()) for image in shuffled)
        assert n_same == 18 if augment == "none" else n_same < 9

    def test_crop_flip_shifts_by_at_most_an_eighth_and_mirrors(self, tmp_path):
        pixels = np.zeros((16, 16, 3), dtype=np.uint8)
        pixels[8, 11] = 255
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            for number in range(100):
                Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
        places = []
        for resize_once in (False, True):
            data = load(tmp_path, side=16, mean=(0, 0, 0), std=(1, 1, 1), resize_once=resize_once)
            _, _, rows, columns = one_pass(data, seed=0, side=16)[0][:, :1].nonzero(as_tuple=True)
            places.append((set(rows.tolist()), set(columns.tolist())))
        assert places[0] == places[1] == (set(range(6, 11)), set(range(2, 7)) | set(range(9, 14)))

    def test_global_random_state_is_left_alone(self, whole_folder):
        before = torch.get_rng_state()
        one_pass(stream(whole_folder, augment="resized_crop"), seed=0)
        assert torch.equal(before, torch.get_rng_state())


class TestInMemory:
    def test_holds_the_images_that_streaming_gives(self, whole_folder):
        streamed, kept = stream(whole_folder, crop_share=0.875), load(whole_folder, crop_share=0.875, resize_once=True)
        assert isinstance(kept, InMemoryData)
        assert (kept.name, kept.n_classes, kept.channels) == (streamed.name, streamed.n_classes, streamed.channels)
        for split in SPLITS:
            for theirs, ours in zip(one_pass(streamed, split), one_pass(kept, split), strict=True):
                assert torch.allclose(theirs, ours, atol=1e-5)

    def test_is_the_choice_where_it_fits(self, whole_folder, monkeypatch):
        assert isinstance(load(whole_folder), InMemoryData)
        assert isinstance(load(whole_folder, augment="none"), InMemoryData)
        # 57 images of 3 x 12 x 12 bytes.
        monkeypatch.setattr("effbench.data.image_folder.RESIZED_ONCE_BYTES", 57 * 432 - 1)
        assert isinstance(load(whole_folder), ImageFolder)
        assert isinstance(load(whole_folder, resize_once=True), InMemoryData)
        monkeypatch.setattr("effbench.data.image_folder.RESIZED_ONCE_BYTES", 57 * 432)
        assert isinstance(load(whole_folder), InMemoryData)

    def test_random_crops_need_the_files(self, whole_folder):
        assert isinstance(load(whole_folder, augment="resized_crop"), ImageFolder)
        with pytest.raises(ValueError, match=r"data\.resize_once=true: augment=resized_crop crops anew"):
            load(whole_folder, augment="resized_crop", resize_once=True)

    def test_has_a_fingerprint_of_its_own(self, whole_folder):
        assert load(whole_folder, resize_once=True).fingerprint != stream(whole_folder).fingerprint

    @pytest.mark.parametrize("split", SPLITS)
    def test_any_broken_image_is_named(self, whole_folder, split):
        broken = whole_folder / split / "dog" / "003.png"
        broken.write_bytes(broken.read_bytes()[:60])
        with pytest.raises(ValueError, match=r"dog.003\.png: not a readable image"):
            load(whole_folder, resize_once=True)


class TestFingerprint:
    def test_is_the_same_wherever_the_folder_is(self, whole_folder, tmp_path_factory):
        elsewhere = tmp_path_factory.mktemp("copy") / "moved"
        shutil.copytree(whole_folder, elsewhere)
        for resize_once in (False, True):
            here, there = (load(root, resize_once=resize_once).fingerprint for root in (whole_folder, elsewhere))
            assert here == there
        assert stream(whole_folder).fingerprint == stream(whole_folder, workers=2).fingerprint

    @pytest.mark.parametrize("resize_once", [False, True])
    @pytest.mark.parametrize("split", SPLITS)
    def test_changes_with_a_file(self, whole_folder, split, resize_once):
        before = load(whole_folder, resize_once=resize_once).fingerprint
        path = whole_folder / split / "emu" / "000.png"
        pixels = np.array(Image.open(path))
        pixels[7, 10] ^= 128
        Image.fromarray(pixels).save(path)
        assert load(whole_folder, resize_once=resize_once).fingerprint != before

    def test_of_large_folders_changes_with_size_and_time(self, whole_folder, monkeypatch):
        monkeypatch.setattr("effbench.data.folder_stream.HASHED_BYTES", 1000)
        before = stream(whole_folder).fingerprint
        assert stream(whole_folder).fingerprint == before
        path = whole_folder / "test" / "emu" / "000.png"
        path.write_bytes(path.read_bytes() + b"\0")
        assert stream(whole_folder).fingerprint != before

    def test_changes_when_a_file_changes_its_class(self, whole_folder):
        before = stream(whole_folder).fingerprint
        shutil.move(whole_folder / "train" / "cat" / "000.png", whole_folder / "train" / "dog" / "zzz.png")
        assert stream(whole_folder).fingerprint != before

    @pytest.mark.parametrize(
        "change",
        [{"augment": "none"}, {"side": 10}, {"channels": 1}, {"crop_share": 0.9}, {"std": (0.5, 0.5, 0.5)}],
    )
    def test_changes_with_what_is_done_to_the_images(self, whole_folder, change):
        assert stream(whole_folder, **change).fingerprint != stream(whole_folder).fingerprint


class TestRefusals:
    def test_what_is_wrong_with_a_folder(self, tmp_path):
        with pytest.raises(ValueError, match=r"data\.root=.*nowhere: there is no such folder"):
            load(tmp_path / "nowhere")

    @pytest.mark.matrix(fast=2)
    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("is_gone", [True, False])
    def test_an_unreadable_image_while_streaming(self, whole_folder, workers, is_gone):
        data = stream(whole_folder, workers=workers)
        path = whole_folder / "train" / "dog" / "004.png"
        path.unlink()
        if not is_gone:
            path.write_bytes(b"no image")
        said = "can't be read (No such file or directory)" if is_gone else "not a readable image (of no kind that"
        with pytest.raises(ValueError, match=r"dog.004\.png: ") as refused:
            one_pass(data)
        assert str(refused.value).startswith(f"{path}: {said}"), "in its first line, also from another process"

    def test_a_first_image_that_is_unreadable_is_noticed_before_training(self, whole_folder):
        (whole_folder / "train" / "cat" / "000.png").write_bytes(b"")
        with pytest.raises(ValueError, match=r"cat.000\.png: not a readable image"):
            stream(whole_folder)

    @pytest.mark.parametrize(
        ("option", "named"),
        [
            ({"side": 0}, "side=0"),
            ({"channels": 2}, "channels=2"),
            ({"augment": "flip"}, "augment=flip"),
            ({"crop_share": 0.0}, r"crop_share=0\.0"),
            ({"crop_share": 1.5}, r"crop_share=1\.5"),
            ({"shares": (0.5, 0.5)}, r"shares=\[0\.5, 0\.5\]"),
            ({"std": (0.2, 0.0, 0.2)}, r"std=\[0\.2, 0\.0, 0\.2\]: must be above 0"),
            ({"workers": 10**6}, r"workers=1000000: must be"),
            ({"mean": (0.5,)}, r"mean=\[0\.5\]"),
        ],
    )
    def test_values_out_of_range(self, whole_folder, option, named):
        with pytest.raises(ValueError, match=rf"data\.{named}"):
            load(whole_folder, **option)


class TestKinds:
    """Images of any kind: the same pixels streamed and kept, and a fingerprint that knows what is done to them."""

    def write(self, root, image, suffix, **options):
        for name in ("a", "b"):
            (root / name).mkdir(parents=True)
            for number in range(5):
                image.save(root / name / f"{number}{suffix}", **options)

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("kind", ["16 bits", "float", "transparent", "turned"])
    def test_are_the_same_streamed_and_kept(self, tmp_path, kind, channels):
        ramp = np.linspace(0, 1, 12 * 12).reshape(12, 12)
        if kind == "16 bits":
            self.write(tmp_path, Image.fromarray((ramp * 65535).astype(np.uint16)), ".png")
        elif kind == "float":
            self.write(tmp_path, Image.fromarray(ramp.astype(np.float32)), ".tif")
        elif kind == "transparent":
            alpha = Image.fromarray((255 * (1 - ramp)).astype(np.uint8))
            self.write(tmp_path, Image.merge("LA", [Image.new("L", (12, 12)), alpha]), ".png")
        else:
            exif = Image.Exif()
            exif[0x0112] = 3
            self.write(tmp_path, Image.fromarray((255 * ramp[::-1, ::-1]).astype(np.uint8)), ".png", exif=exif)
        options = {"mean": [0.0] * channels, "std": [1.0] * channels, "channels": channels}
        for resize_once in (False, True):
            images, _ = one_pass(load(tmp_path, resize_once=resize_once, **options))
            assert images.shape[1] == channels
            assert np.abs(images[0, 0].numpy() - ramp).max() < 1.01 / 255

    def test_that_nobody_can_tell_are_refused_before_training(self, tmp_path):
        self.write(tmp_path, Image.new("F", (12, 12), 0.5), ".tif")
        path = tmp_path / "b" / "3.tif"
        Image.new("F", (12, 12), 255).save(path)
        with pytest.raises(ValueError, match=r"b/3\.tif: holds floats from 255 to 255, of which white can't be known"):
            load(tmp_path, resize_once=True)
        data = stream(tmp_path)
        with pytest.raises(ValueError, match=r"b/3\.tif: holds floats from 255 to 255"):
            _ = data.fingerprint


def test_fingerprints_of_plain_folders_are_those_in_the_keys_of_earlier_runs(tmp_path):
    for split, n_images in (("train", 3), ("val", 1), ("test", 2)):
        for name in ("cat", "é"):
            for number in range(n_images):
                path = tmp_path / split / name / f"{number}.ppm"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"P6 4 3 255\n" + bytes(range(number, number + 36)))
                path.with_suffix(".pgm").write_bytes(b"P5 4 3 255\n" + bytes(range(number, number + 12)))
    options = {"side": 3, "augment": "none"}
    assert stream(tmp_path, **options).fingerprint == "b81471122f895448"
    assert stream(tmp_path, channels=1, **options).fingerprint == "a50373e85c73d374"
    assert load(tmp_path, resize_once=True, **options).fingerprint == "6f8f4966bb3b7541"
