import io
import shutil

import numpy as np
import pytest
from PIL import Image

from effbench.data import SPLITS
from effbench.data.folder_files import find_files, open_image, read_image_file

CLASSES = ("cat", "dog", "emu")


def touch_images(folder, n_per_class, *, classes=CLASSES):
    """Make class folders of empty files: none of them is opened to be listed."""
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(n_per_class):
            (folder / name / f"{number:03}.png").touch()


@pytest.fixture
def whole_folder(tmp_path):
    """Folders for train (10 per class), val (4) and test (5)."""
    for split, n_per_class in (("train", 10), ("val", 4), ("test", 5)):
        touch_images(tmp_path / split, n_per_class)
    return tmp_path


def list_files(root, *, shares=(0.6, 0.2, 0.2), split_seed=0):
    """Return the class names, and the paths of each split relative to the root."""
    classes, files = find_files(root, shares, split_seed=split_seed)
    for of_split in files.values():
        assert all(path.relative_to(root).parts[-2] == classes[label] for path, label in of_split)
    return classes, {split: {path.relative_to(root).as_posix() for path, _ in files[split]} for split in SPLITS}


class TestLayouts:
    def test_three_folders_are_taken_as_they_are(self, whole_folder):
        classes, paths = list_files(whole_folder)
        assert classes == CLASSES
        for split, n_per_class in (("train", 10), ("val", 4), ("test", 5)):
            assert paths[split] == {f"{split}/{c}/{i:03}.png" for c in CLASSES for i in range(n_per_class)}

    def test_without_val_a_part_of_train_is_held_out_and_test_is_left_alone(self, whole_folder):
        shutil.rmtree(whole_folder / "val")
        _, paths = list_files(whole_folder, shares=(0.4, 0.1, 0.5))
        assert [len(paths[split]) for split in SPLITS] == [24, 6, 15]  # 30 divided as 0.4 to 0.1
        assert paths["train"] | paths["val"] == {f"train/{c}/{i:03}.png" for c in CLASSES for i in range(10)}
        assert all(path.startswith("test/") for path in paths["test"])

    def test_without_test_the_validation_images_are_halved(self, whole_folder):
        shutil.rmtree(whole_folder / "test")
        _, paths = list_files(whole_folder)
        assert [len(paths[split]) for split in SPLITS] == [30, 6, 6]
        assert paths["val"] | paths["test"] == {f"val/{c}/{i:03}.png" for c in CLASSES for i in range(4)}

    @pytest.mark.parametrize("inside", [".", "val", "train"])
    def test_class_folders_alone_are_divided_by_the_shares(self, tmp_path, inside):
        touch_images(tmp_path / inside, 10)
        classes, paths = list_files(tmp_path)
        assert classes == CLASSES
        for split, n_of_each in (("train", 6), ("val", 2), ("test", 2)):
            assert [sum(f"{c}/" in path for path in paths[split]) for c in CLASSES] == [n_of_each] * 3
        assert len(set.union(*paths.values())) == 30

    def test_the_split_follows_its_seed(self, tmp_path):
        touch_images(tmp_path, 10)
        first, again, second = (list_files(tmp_path, split_seed=seed)[1] for seed in (0, 0, 1))
        assert first == again != second

    def test_a_class_may_be_called_test(self, tmp_path):
        touch_images(tmp_path, 10, classes=("control", "test"))
        assert list_files(tmp_path)[0] == ("control", "test")

    def test_hidden_folders_are_no_classes(self, tmp_path):
        touch_images(tmp_path, 10)
        (tmp_path / ".ipynb_checkpoints").mkdir()
        assert list_files(tmp_path)[0] == CLASSES

    def test_images_may_lie_deeper_and_other_files_are_passed_over(self, tmp_path):
        touch_images(tmp_path, 10)
        (tmp_path / "cat" / "more").mkdir()
        shutil.move(tmp_path / "cat" / "000.png", tmp_path / "cat" / "more" / "000.PNG")
        (tmp_path / "cat" / "notes.txt").write_text("not an image")
        _, files = find_files(tmp_path, (0.6, 0.2, 0.2), split_seed=0)
        assert sum(len(files[split]) for split in SPLITS) == 30


class TestRefusals:
    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(ValueError, match=r"data\.root=.*nowhere: there is no such folder"):
            list_files(tmp_path / "nowhere")

    @pytest.mark.parametrize("inside", [".", "train/cat"])
    def test_an_empty_folder(self, tmp_path, inside):
        (tmp_path / inside).mkdir(parents=True, exist_ok=True)
        with pytest.raises(ValueError, match=r"holds no images; one folder a class is expected, with .*jpg"):
            list_files(tmp_path)

    @pytest.mark.parametrize("split", SPLITS)
    def test_a_folder_without_images_among_those_with(self, whole_folder, split):
        for path in (whole_folder / split).glob("*/*.png"):
            path.unlink()
        with pytest.raises(ValueError, match=f"its {split} folder holds no images"):
            list_files(whole_folder)

    @pytest.mark.parametrize("kept", [("test",), ("val", "test")])
    def test_no_train_folder(self, whole_folder, kept):
        for split in set(SPLITS) - set(kept):
            shutil.rmtree(whole_folder / split)
        with pytest.raises(ValueError, match=f"has {' and '.join(kept)} but no train folder"):
            list_files(whole_folder)

    def test_a_single_class(self, tmp_path):
        touch_images(tmp_path / "images", 5)  # a folder too high
        with pytest.raises(ValueError, match="holds the one class images; two or more"):
            list_files(tmp_path)

    def test_shares_that_leave_nothing(self, whole_folder):
        shutil.rmtree(whole_folder / "val")
        with pytest.raises(ValueError, match=r"data\.shares=\[0.0, 0.0, 1.0\]: nothing is left"):
            list_files(whole_folder, shares=(0.0, 0.0, 1.0))


class TestFiles:
    def test_are_decoded_in_the_mode_asked_for(self, tmp_path):
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        assert np.array_equal(open_image(tmp_path / "a.png", "RGB"), pixels)
        assert np.asarray(open_image(tmp_path / "a.png", "L")).shape == (5, 7)

    def test_come_as_they_are_on_disk(self, tmp_path):
        stream = io.BytesIO()
        Image.new("RGB", (5, 7)).save(stream, "JPEG")
        (tmp_path / "a.jpg").write_bytes(stream.getvalue())
        assert read_image_file(tmp_path / "a.jpg") == stream.getvalue()

    @pytest.mark.parametrize("n_bytes", [0, 20, 60])
    @pytest.mark.parametrize("read", [read_image_file, lambda path: open_image(path, "RGB")])
    def test_damaged_ones_are_named(self, tmp_path, n_bytes, read):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8)).save(tmp_path / "a.png")
        (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:n_bytes])
        with pytest.raises(ValueError, match=r"a\.png: not a readable image .*; mend or remove it"):
            read(tmp_path / "a.png")
