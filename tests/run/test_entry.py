"""An entry as a file."""

import filelock
import pytest

from effbench.run.entry import checksum, entry_lock, entry_path, read_entry, read_json_entry


@pytest.fixture
def write(tmp_path):
    def write(name, content, *, as_name=None):
        path = entry_path(tmp_path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(checksum(as_name or name, content) + content)
        return path

    return write


def test_what_was_written_is_read(write, tmp_path):
    write("a/b", b"content")
    write("a/c", b'{"n": 1}')
    assert read_entry(tmp_path, "a/b") == b"content"
    assert read_json_entry(tmp_path, "a/c") == {"n": 1}
    assert read_entry(tmp_path, "a/absent") is None
    assert read_json_entry(tmp_path, "a/absent") is None


def test_a_damaged_one_is_named(write, tmp_path):
    path = write("a/b", b"content", as_name="a/c")
    with pytest.raises(ValueError, match=rf"^{path} is damaged or not an entry of that name"):
        read_entry(tmp_path, "a/b")
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match=f"^{path} is damaged"):
        read_json_entry(tmp_path, "a/b")


@pytest.mark.parametrize("content", [b"[1]", b"null", b"{", b"\xff"])
def test_one_that_is_no_json_object_is_damaged(write, tmp_path, content):
    write("a/b", content)
    with pytest.raises(ValueError, match="no JSON object"):
        read_json_entry(tmp_path, "a/b")


def test_one_that_is_somebody_elses_is_named(write, tmp_path, monkeypatch):
    path = write("a/b", b"content")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(ValueError, match=rf"^{path} can't be read \(Permission denied\)$"):
        read_entry(tmp_path, "a/b")


def test_a_lock_that_does_not_wait_says_that_it_is_taken(tmp_path):
    (tmp_path / "locks").mkdir()
    with entry_lock(tmp_path, "key"), pytest.raises(filelock.Timeout), entry_lock(tmp_path, "key", waits=False):
        pass
    with entry_lock(tmp_path, "key", waits=False):
        pass
