import os
import shutil

import pytest

from effbench.data import SPLITS
from effbench.data.folder_files import find_files

CLASSES = ("cat", "dog", "emu")


@pytest.fixture
def whole_folder(tmp_path, touch_images):
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
    def test_class_folders_alone_are_divided_by_the_shares(self, tmp_path, touch_images, inside):
        touch_images(tmp_path / inside, 10)
        classes, paths = list_files(tmp_path)
        assert classes == CLASSES
        for split, n_of_each in (("train", 6), ("val", 2), ("test", 2)):
            assert [sum(f"{c}/" in path for path in paths[split]) for c in CLASSES] == [n_of_each] * 3
        assert len(set.union(*paths.values())) == 30

    def test_the_split_follows_its_seed(self, tmp_path, touch_images):
        touch_images(tmp_path, 10)
        first, again, second = (list_files(tmp_path, split_seed=seed)[1] for seed in (0, 0, 1))
        assert first == again != second

    def test_a_class_may_be_called_test(self, tmp_path, touch_images):
        touch_images(tmp_path, 10, classes=("control", "test"))
        assert list_files(tmp_path)[0] == ("control", "test")

    def test_hidden_folders_are_no_classes(self, tmp_path, touch_images):
        touch_images(tmp_path, 10)
        (tmp_path / ".ipynb_checkpoints").mkdir()
        assert list_files(tmp_path)[0] == CLASSES

    def test_images_may_lie_deeper_and_other_files_are_passed_over(self, tmp_path, touch_images):
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

    def test_a_single_class(self, tmp_path, touch_images):
        touch_images(tmp_path / "images", 5)  # a folder too high
        with pytest.raises(ValueError, match="holds the one class images; two or more"):
            list_files(tmp_path)

    def test_shares_that_leave_nothing(self, whole_folder):
        shutil.rmtree(whole_folder / "val")
        for shares, split in (((0.0, 0.0, 1.0), "train"), ((0.0, 0.5, 0.5), "train"), ((0.5, 0.0, 0.5), "val")):
            with pytest.raises(
                ValueError, match=rf"data\.shares=\[.*\]: {split}, which has no folder of its own, would"
            ):
                list_files(whole_folder, shares=shares)
        assert list_files(whole_folder, shares=(0.8, 0.2, 0.0))  # it has a test folder

    @pytest.mark.parametrize("classes", [(), ("cat",)])
    def test_images_without_class_folders(self, tmp_path, classes):
        for name in (".", *classes):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "000.png").touch()
        with pytest.raises(ValueError, match="holds images itself; one folder a class is expected"):
            list_files(tmp_path)

    def test_a_level_too_high(self, tmp_path, touch_images):
        touch_images(tmp_path / "images", 5)
        with pytest.raises(ValueError, match=rf"the one class images; .*, give data\.root={tmp_path}/images"):
            list_files(tmp_path)

    @pytest.mark.parametrize("is_there", [True, False])
    def test_a_class_without_training_images(self, whole_folder, is_there):
        shutil.rmtree(whole_folder / "train" / "dog")
        if is_there:
            (whole_folder / "train" / "dog").mkdir()
        with pytest.raises(ValueError, match="its train folder holds no images of dog; add some, or remove the class"):
            list_files(whole_folder)

    def test_a_class_without_images(self, tmp_path, touch_images):
        touch_images(tmp_path, 5)
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels" / "000.txt").touch()
        with pytest.raises(ValueError, match="it holds no images of labels; add some, or remove the class"):
            list_files(tmp_path)

    def test_images_of_other_kinds_alone(self, tmp_path, touch_images):
        touch_images(tmp_path, 2)
        for path in tmp_path.rglob("*.png"):
            path.rename(path.with_suffix(".heic"))
        with pytest.raises(ValueError, match=r"holds no images; .*; what is there: 6 \.heic$"):
            list_files(tmp_path)

    def test_an_archive_and_a_file(self, tmp_path):
        (tmp_path / "images.zip").touch()
        with pytest.raises(ValueError, match="is an archive; unpack it"):
            list_files(tmp_path / "images.zip")


class TestRemarks:
    """Each is made once a process, and has the folder's name, which no other test has."""

    @pytest.mark.parametrize("split", ["val", "test"])
    @pytest.mark.parametrize("is_there", [True, False])
    def test_a_class_that_can_not_be_evaluated(self, whole_folder, caplog, split, is_there):
        shutil.rmtree(whole_folder / split / "dog")
        if is_there:
            (whole_folder / split / "dog").mkdir()
        assert list_files(whole_folder)[0] == CLASSES
        assert [record.message for record in caplog.records] == [
            f"data.root={whole_folder}: its {split} folder holds no images of dog"
        ]

    def test_what_is_left_out(self, whole_folder, caplog):
        for name in ("a.heic", "b.HEIC", "notes.txt", ".hidden"):
            (whole_folder / "train" / "cat" / name).touch()
        (whole_folder / "test" / "preview.png").touch()
        _, paths = list_files(whole_folder)
        assert len(paths["train"]) == 30 and len(paths["test"]) == 15
        assert [record.message for record in caplog.records] == [
            f"data.root={whole_folder}: files that are no images are left out: 2 .heic, 1 .txt",
            f"{whole_folder}/test: 1 images beside the class folders are left out",
        ]

    def test_classes_too_small_to_be_divided(self, tmp_path, touch_images, caplog):
        touch_images(tmp_path, 1, classes=[f"{number:02}" for number in range(10)])
        list_files(tmp_path)
        assert "4 of 10 classes have too few images: none is for training" in caplog.text

    def test_nothing_to_remark(self, whole_folder, caplog):
        list_files(whole_folder)
        assert not caplog.records


def test_names_of_any_bytes(tmp_path, touch_images):
    touch_images(tmp_path, 5, classes=[os.fsdecode(b"\xff"), "\n", "\x1b[2J"])
    classes, paths = list_files(tmp_path)
    assert len(classes) == 3 and sum(map(len, paths.values())) == 15
    (tmp_path / "\x1b[2J" / "001.png").unlink()
    (tmp_path / "\x1b[2J" / "001.png").mkdir()
    with pytest.raises(ValueError, match=r"x1b\[2J.001\.png'?: is a folder") as refused:
        list_files(tmp_path)
    assert str(refused.value).isprintable()
