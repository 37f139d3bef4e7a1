"""A file that was written has another stamp, whatever its date says."""

import os
import shutil

import pytest

from effbench.checks.stamps import stamp_of

TIME = 1_700_000_000


def with_its_old_date(path):
    path.write_text("changed")
    os.utime(path, (TIME, TIME))


CHANGES = {
    "longer": lambda path: path.write_text("longer than before"),
    "as long, its date kept": with_its_old_date,
    "another one in its place": lambda path: (
        shutil.copy2(path, path.with_name("other")),
        os.replace(path.with_name("other"), path),
    ),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_text("content")
    os.utime(path, (TIME, TIME))
    return path


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_noticed(path, change):
    before = stamp_of(path)
    assert stamp_of(str(path)) == before
    CHANGES[change](path)
    assert stamp_of(path) != before


def test_what_is_not_there_has_none(tmp_path):
    with pytest.raises(OSError):
        stamp_of(tmp_path / "none")
