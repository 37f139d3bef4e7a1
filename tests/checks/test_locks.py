"""Locks are made with the rights that the user's umask gives, and lock."""

import os

import filelock
import pytest

from effbench.checks.locks import file_lock


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_who_may_write_the_folder_may_lock(tmp_path, umask):
    before = os.umask(umask)
    try:
        with file_lock(tmp_path / "x.lock"):
            assert (tmp_path / "x.lock").stat().st_mode & 0o777 == 0o666 & ~umask
            with pytest.raises(filelock.Timeout):
                file_lock(tmp_path / "x.lock").acquire(blocking=False)
    finally:
        os.umask(before)
    with file_lock(tmp_path / "x.lock"):
        assert (tmp_path / "x.lock").stat().st_mode & 0o777 == 0o666 & ~umask
