import logging
import multiprocessing
import os
from pathlib import Path

import pytest

from effbench.data.paths import ARCHIVES, data_folder, listed, remark, shown


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a\udcffb", "a\u202eb", "a\x00b", "\r"])
def test_what_can_not_be_printed_is_escaped(name):
    said = shown(Path("folder") / name)
    assert said.isprintable() and said.isascii()
    assert shown("ein Ordner/é 猫.png") == "ein Ordner/é 猫.png"


def test_a_long_one_keeps_its_begin_and_its_end():
    said = shown("a" * 3000 + "/b.png")
    assert len(said) < 500 and said.startswith("aaa") and said.endswith("a/b.png") and "…" in said


def test_many_names_are_a_few_and_dots():
    assert listed(["a", "b\n"]) == r"a, b\n"
    assert listed(map(str, range(9)), most=3) == "0, 1, 2, … (9 in all)"


class TestDataFolder:
    def test_is_absolute_whether_it_is_there_or_not(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert data_folder("some/where") == data_folder("~/some/where") == tmp_path.resolve() / "some" / "where"
        assert data_folder(tmp_path) == data_folder(f"{tmp_path}/") == tmp_path.resolve()

    @pytest.mark.parametrize("root", [None, 5, "", "  ", True])
    def test_must_be_named(self, root):
        with pytest.raises(ValueError, match=r"data\.root=.*: must name a folder"):
            data_folder(root)

    @pytest.mark.parametrize("root", ["a" * 300, "~nobody-of-this-name/data", "a\0b"])
    def test_must_be_possible(self, root):
        with pytest.raises(ValueError, match=r"data\.root=.*: can't be a folder \(.*\)") as refused:
            data_folder(root)
        assert str(refused.value).isprintable()

    def test_links_in_a_circle(self, tmp_path):
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises(ValueError, match="can't be a folder"):
            data_folder(tmp_path / "loop")

    @pytest.mark.parametrize("suffix", [*ARCHIVES, ".tar.xz", ".ZIP"])
    def test_an_archive_is_to_be_unpacked(self, tmp_path, suffix):
        (tmp_path / f"images{suffix}").touch()
        with pytest.raises(ValueError, match="is an archive; unpack it"):
            data_folder(tmp_path / f"images{suffix}")

    @pytest.mark.parametrize("name", ["cat.png", "images"])
    def test_a_file_is_no_folder(self, tmp_path, name):
        (tmp_path / name).touch()
        with pytest.raises(ValueError, match="is a file; give the folder"):
            data_folder(tmp_path / name)

    def test_a_name_that_is_not_utf_8_can_not_be_logged(self, tmp_path):
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
        folder.mkdir()
        with pytest.raises(ValueError, match="its name is not UTF-8") as refused:
            data_folder(folder)
        assert str(refused.value).isprintable()

    @pytest.mark.parametrize("name", ["scandir", "stat"])
    def test_a_folder_that_may_not_be_listed_or_entered(self, tmp_path, monkeypatch, name):
        plain, denied = getattr(os, name), f"{tmp_path}{'' if name == 'scandir' else '/.'}"

        def deny(path, *args, **options):
            if str(path) == denied:
                raise PermissionError(13, "Permission denied", str(path))  # root may read everything
            return plain(path, *args, **options)

        monkeypatch.setattr(os, name, deny)
        with pytest.raises(ValueError, match=r"this folder can't be read \(Permission denied\)"):
            data_folder(tmp_path)


def test_a_remark_is_made_once_and_not_by_workers(caplog, monkeypatch):
    remark("once: cats")
    remark("once: cats")
    assert [record.message for record in caplog.records] == ["once: cats"]
    assert caplog.records[0].levelno == logging.WARNING
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    remark("never: dogs")
    assert len(caplog.records) == 1
