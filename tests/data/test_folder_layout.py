import unicodedata
from itertools import product

import pytest

from effbench.data.folder_layout import class_folders, find_parts, split_of


def parts_of(root):
    return {split: path.relative_to(root).as_posix() for split, path in find_parts(root).items()}


def classes_of(root):
    found = class_folders(find_parts(root), root)
    return {
        name: {split: path.relative_to(root).as_posix() for split, path in places.items()}
        for name, places in found.items()
    }


class TestNamesOfSplits:
    @pytest.mark.parametrize(
        "names",
        [
            ("train", "val", "test"),
            ("Train", "Val", "Test"),
            ("TRAIN", "VAL", "TEST"),
            ("train", "valid", "test"),
            ("training", "validation", "testing"),
            ("Training", "Validation", "Testing"),
            ("train", "dev", "test"),
            ("train", "eval", "test"),
            ("training_set", "validation_set", "test_set"),
            ("Training Set", "Validation Set", "Test Set"),
            ("train-images", "val_images", "testdata"),
        ],
    )
    def test_are_known_in_any_case(self, tmp_path, touch_images, names):
        for name in names:
            touch_images(tmp_path / name, 2)
        assert parts_of(tmp_path) == dict(zip(("train", "val", "test"), names, strict=True))
        assert list(classes_of(tmp_path)) == ["cat", "dog", "emu"]

    @pytest.mark.parametrize(
        "names", [("Train", "Test"), ("Training", "Testing"), ("TRAIN", "valid"), ("train", "dev")]
    )
    def test_two_of_three_are_enough(self, tmp_path, touch_images, names):
        for name in names:
            touch_images(tmp_path / name, 2)
        assert list(parts_of(tmp_path).values()) == list(names)

    @pytest.mark.parametrize("name", ["cat", "trainer", "contest", "set", "invalid", "tests of cats", ""])
    def test_others_are_none(self, name):
        assert split_of(name) is None

    @pytest.mark.parametrize(
        ("one", "other"), [("val", "valid"), ("Train", "train"), ("test", "testing"), ("dev", "val")]
    )
    def test_two_for_one_split_are_refused(self, tmp_path, touch_images, one, other):
        for name in {"train", one, other}:
            touch_images(tmp_path / name, 2)
        with pytest.raises(ValueError, match=f"both ({one} and {other}|{other} and {one}) name the .* split"):
            parts_of(tmp_path)


class TestClassesThatAreCalledAsSplits:
    @pytest.mark.parametrize("named", [("test",), ("train",), ("val",), ("Valid",), ("train", "test")])
    def test_with_images_of_their_own_beside_others_are_classes(self, tmp_path, touch_images, named):
        touch_images(tmp_path, 3, classes=(*named, "boat", "plane"))
        assert parts_of(tmp_path) == {"train": "."}
        assert set(classes_of(tmp_path)) == {*named, "boat", "plane"}

    @pytest.mark.parametrize(("named", "beside"), [("test", "control"), ("valid", "invalid"), ("dev", "prod")])
    def test_may_have_folders_where_their_names_are_no_split_alone(self, tmp_path, touch_images, named, beside):
        touch_images(tmp_path, 3, classes=(named, beside), inside="first patient")
        assert set(classes_of(tmp_path)) == {named, beside}

    @pytest.mark.parametrize("named", ["train", "val"])
    def test_with_folders_may_be_either_and_are_refused(self, tmp_path, touch_images, named):
        touch_images(tmp_path / named, 3, classes=("steam", "diesel"))
        touch_images(tmp_path, 3, classes=("boat", "plane"))
        with pytest.raises(ValueError, match=f"{named} may be a split, or a class beside boat, plane"):
            parts_of(tmp_path)

    @pytest.mark.parametrize("named", ["train", "test", "Valid"])
    def test_that_repeat_the_classes_beside_them_are_refused(self, tmp_path, touch_images, named):
        for folder in (".", named):
            touch_images(tmp_path / folder, 3)
        with pytest.raises(ValueError, match="may be a split, or a class beside cat, dog, emu"):
            parts_of(tmp_path)

    def test_within_a_split_are_classes(self, tmp_path, touch_images):
        for split in ("train", "test"):
            touch_images(tmp_path / split, 3, classes=("train", "test", "val"))
        assert parts_of(tmp_path) == {"train": "train", "test": "test"}
        assert set(classes_of(tmp_path)) == {"train", "test", "val"}


class TestFolders:
    def test_of_images_beside_splits_are_left_out_with_a_remark(self, tmp_path, touch_images, caplog):
        for split in ("train", "val"):
            touch_images(tmp_path / split, 2)
        touch_images(tmp_path, 3, classes=("unlabelled",))
        (tmp_path / "annotations").mkdir()
        assert parts_of(tmp_path) == {"train": "train", "val": "val"}
        assert "beside train and val, what is in unlabelled is left out" in caplog.text
        assert "annotations" not in caplog.text

    def test_that_were_divided_into_splits_beside_them_are_left_out(self, tmp_path, touch_images, caplog):
        for folder in (".", "train", "test"):
            touch_images(tmp_path / folder, 3)
        assert parts_of(tmp_path) == {"train": "train", "test": "test"}
        assert "what is in cat, dog, emu is left out" in caplog.text

    @pytest.mark.parametrize("flat", [("test",), ("train", "test")])
    def test_of_splits_hold_class_folders(self, tmp_path, touch_images, flat):
        touch_images(tmp_path, 3, classes=flat)
        for split in {"train", "test"} - set(flat):
            touch_images(tmp_path / split, 3)
        with pytest.raises(ValueError, match=f"its {flat[0]} folder holds images itself; in it, one folder a class"):
            parts_of(tmp_path)

    @pytest.mark.parametrize("splits", [("train", "test"), ("Training", "valid", "Testing")])
    def test_a_level_too_high(self, tmp_path, touch_images, splits):
        for split in splits:
            touch_images(tmp_path / "dataset" / split, 2)
        (tmp_path / "__MACOSX").mkdir()
        with pytest.raises(ValueError, match=rf"its folder dataset holds .*; give data\.root={tmp_path}/dataset"):
            parts_of(tmp_path)


class TestClasses:
    @pytest.mark.parametrize("forms", list(product(("NFC", "NFD"), repeat=2)))
    def test_composed_or_not_are_the_same(self, tmp_path, touch_images, forms):
        for split, form in zip(("train", "test"), forms, strict=True):
            touch_images(tmp_path / split, 2, classes=(unicodedata.normalize(form, "é"), "cat"))
        classes = classes_of(tmp_path)
        assert set(classes) == {"cat", unicodedata.normalize(forms[0], "é")}
        assert all(set(places) == {"train", "test"} for places in classes.values())

    def test_that_look_alike_in_one_folder_are_refused(self, tmp_path, touch_images):
        touch_images(tmp_path, 2, classes=(unicodedata.normalize(form, "é") for form in ("NFC", "NFD")))
        with pytest.raises(ValueError, match=r"'\\xe9'.*look alike; rename one") as refused:
            classes_of(tmp_path)
        assert "'e\\u0301'" in str(refused.value)

    def test_that_splits_spell_in_different_cases_are_refused(self, tmp_path, touch_images):
        touch_images(tmp_path / "train", 2, classes=("Cat", "dog"))
        touch_images(tmp_path / "test", 2, classes=("cat", "dog"))
        with pytest.raises(
            ValueError, match="its train folder has the class Cat, its test folder cat; spell them alike"
        ):
            classes_of(tmp_path)

    def test_may_differ_in_case_alone_where_a_split_has_both(self, tmp_path, touch_images):
        touch_images(tmp_path / "train", 2, classes=("A", "a", "b"))
        touch_images(tmp_path / "test", 2, classes=("A", "b"))
        assert list(classes_of(tmp_path)) == ["A", "a", "b"]
