import os
import shutil
import socket
from collections import Counter
from pathlib import Path

import pytest

from effbench.data.folder_tree import count_images, folders_in, is_hidden, list_images

LEFT_BEHIND = [
    ".ipynb_checkpoints",
    ".git",
    ".DS_Store",
    "._cat.png",
    "__MACOSX",
    "@eaDir",
    "$RECYCLE.BIN",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
]


def names(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


@pytest.mark.parametrize("name", LEFT_BEHIND)
@pytest.mark.parametrize("inside", [".", "more", "more/and more"])
def test_what_programs_leave_behind_is_no_image_and_no_class_at_any_depth(tmp_path, name, inside):
    (tmp_path / inside / name).mkdir(parents=True)
    (tmp_path / inside / name / "a.png").touch()
    (tmp_path / "b.png").touch()
    others = Counter()
    assert names(list_images(tmp_path, others), tmp_path) == ["b.png"]
    assert name not in folders_in(tmp_path / inside)
    shutil.rmtree(tmp_path / inside / name)
    (tmp_path / inside / name).touch()
    assert names(list_images(tmp_path, others), tmp_path) == ["b.png"]
    assert not others
    assert is_hidden(name) and not is_hidden(f"a{name}")


def test_suffixes_count_in_any_case_and_others_are_counted(tmp_path):
    images = ["a.JPG", "b.jpeg", "c.jpe", "d.jfif", "e.Gif", "f.TIFF", "g.webp", "h.bmp", "i.pnm"]
    for name in [*images, "x.heic", "y.HEIC", "z.txt", "README", "png"]:
        (tmp_path / name).touch()
    others = Counter()
    assert names(list_images(tmp_path, others), tmp_path) == images
    assert others == {".heic": 2, ".txt": 1, "": 2}
    assert count_images(tmp_path) == len(images)


def test_images_come_in_the_order_of_their_paths(tmp_path):
    for name in ("b/a.png", "a/z.png", "a.png", "a b/c.png", "B.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path, Counter()) == sorted(tmp_path.rglob("*.png"))


class TestLinks:
    def test_are_followed(self, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "a.png").touch()
        (tmp_path / "cat").mkdir()
        (tmp_path / "cat" / "b.png").symlink_to(tmp_path / "elsewhere" / "a.png")
        (tmp_path / "cat" / "more").symlink_to(tmp_path / "elsewhere")
        assert names(list_images(tmp_path / "cat", Counter()), tmp_path) == ["cat/b.png", "cat/more/a.png"]

    @pytest.mark.parametrize("name", ["a.png", "more"])
    @pytest.mark.parametrize("target", ["nowhere", "a.png", "more"])
    def test_that_lead_nowhere_or_to_themselves_are_named(self, tmp_path, name, target):
        (tmp_path / name).symlink_to(tmp_path / target)
        with pytest.raises(ValueError, match=f"{name}: is a link to .*{target}, which can't be followed"):
            list_images(tmp_path, Counter())
        if name == "more":
            with pytest.raises(ValueError, match="more: is a link to"):
                folders_in(tmp_path)

    @pytest.mark.parametrize("target", [".", "cat", "cat/deep"])
    def test_that_lead_back_up_are_named(self, tmp_path, target):
        (tmp_path / "cat" / "deep").mkdir(parents=True)
        (tmp_path / "cat" / "deep" / "loop").symlink_to(tmp_path / target)
        with pytest.raises(ValueError, match=r"is a link to a folder that it lies in; remove it"):
            list_images(tmp_path / "cat", Counter())

    def test_a_broken_one_that_is_no_image_and_no_folder_is_no_matter(self, tmp_path):
        (tmp_path / "notes.txt").symlink_to(tmp_path / "nowhere")
        assert folders_in(tmp_path) == [] == list_images(tmp_path, Counter())


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))  # a socket's path is short


def make_link_to_device(path):
    path.symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_pipe, "a pipe"),
        (make_socket, "a socket"),
        (make_link_to_device, "a device"),
        (Path.mkdir, "a folder"),
    ],
)
def test_what_is_called_as_an_image_but_is_no_file_is_named(tmp_path, monkeypatch, make, kind):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"a\.png: is {kind}, not an image file; remove or rename it"):
        list_images(tmp_path, Counter())


def test_a_folder_that_can_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "cat").mkdir()

    def scandir(folder):
        raise PermissionError(13, "Permission denied", str(folder))  # root may read everything

    monkeypatch.setattr(os, "scandir", scandir)
    for read in (folders_in, lambda folder: list_images(folder, Counter())):
        with pytest.raises(ValueError, match=r"cat: this folder can't be read \(Permission denied\)"):
            read(tmp_path / "cat")


def test_names_that_are_not_utf_8_are_images_as_well(tmp_path):
    raw = os.fsencode(tmp_path) + b"/\xff\n.png"
    Path(os.fsdecode(raw)).touch()
    assert [os.fsencode(path) for path in list_images(tmp_path, Counter())] == [raw]
