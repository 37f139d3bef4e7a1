import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effbench.data import folder_fingerprint
from effbench.data.folder_fingerprint import fingerprint_of

SMALL, LARGE = 2**20, 1
"""What is read in all, and what is too large for that."""


@pytest.fixture
def entries(tmp_path):
    """Forty images, which is more than a thread takes at once."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(40):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)).save(path)
        made.append((f"train {path.name} 0", path))
    return made


@pytest.fixture
def opened(monkeypatch):
    """The files whose heads were opened."""
    seen, check_header = [], folder_fingerprint.check_header
    monkeypatch.setattr(folder_fingerprint, "check_header", lambda path: seen.append(path.name) or check_header(path))
    return seen


def fingerprint(entries, *, most_bytes=SMALL):
    return fingerprint_of("about", entries, most_bytes=most_bytes)


@pytest.mark.parametrize("most_bytes", [SMALL, LARGE])
def test_changes_with_what_is_about_names_and_order(entries, most_bytes):
    others = [
        fingerprint_of("else", entries, most_bytes=most_bytes),
        fingerprint(entries[1:], most_bytes=most_bytes),
        fingerprint(entries[::-1], most_bytes=most_bytes),
        fingerprint([("val", path) for _, path in entries], most_bytes=most_bytes),
    ]
    assert len({fingerprint(entries, most_bytes=most_bytes), *others}) == 5


@pytest.mark.parametrize("most_bytes", [SMALL, LARGE])
@pytest.mark.parametrize("content", [b"", b"<html>"])
def test_any_file_that_is_no_image_is_named(entries, most_bytes, content):
    entries[33][1].write_bytes(content)
    with pytest.raises(ValueError, match=r"/33\.png: not a readable image"):
        fingerprint(entries, most_bytes=most_bytes)
    entries[33][1].unlink()
    with pytest.raises(ValueError, match=r"/33\.png: can't be read \(No such file or directory\)"):
        fingerprint(entries, most_bytes=most_bytes)


def test_what_is_read_is_decoded(entries):
    path = entries[33][1]
    path.write_bytes(path.read_bytes()[:120])
    with pytest.raises(ValueError, match=r"/33\.png: not a readable image"):
        fingerprint(entries)


@pytest.mark.parametrize("most_bytes", [SMALL, LARGE])
def test_changes_with_what_is_done_to_images(entries, most_bytes, monkeypatch):
    plain = fingerprint(entries, most_bytes=most_bytes)
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(entries[5][1])
    treated = fingerprint(entries, most_bytes=most_bytes)
    for name in ("check_header", "read_image_file"):
        plainly = (lambda path: "") if name == "check_header" else (lambda path: (path.read_bytes(), ""))
        monkeypatch.setattr(folder_fingerprint, name, plainly)
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["XDG_CACHE_HOME"] + "/another")
    assert len({plain, treated, fingerprint(entries, most_bytes=most_bytes)}) == 3


@pytest.mark.parametrize("is_plain", [True, False])
def test_heads_are_opened_once(entries, opened, is_plain):
    if not is_plain:
        Image.fromarray(np.zeros((9, 9), np.uint16)).save(entries[5][1])
    first = fingerprint(entries, most_bytes=LARGE)
    assert sorted(opened) == sorted(path.name for _, path in entries)
    opened.clear()
    assert fingerprint(entries, most_bytes=LARGE) == first and not opened
    entries[3][1].write_bytes(entries[3][1].read_bytes() + b"\0")
    assert fingerprint(entries, most_bytes=LARGE) != first and len(opened) == 40


def test_a_fault_is_not_remembered(entries, opened):
    entries[33][1].write_bytes(b"<html>")
    for _ in range(2):
        with pytest.raises(ValueError, match="not a readable image"):
            fingerprint(entries, most_bytes=LARGE)
    assert opened.count("33.png") == 2


@pytest.mark.parametrize("place", ["/dev/null/cache", "/proc/cache"])
def test_a_cache_that_can_not_be_written_is_no_matter(entries, opened, monkeypatch, place):
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    assert fingerprint(entries, most_bytes=LARGE) == fingerprint(entries, most_bytes=LARGE)
    assert len(opened) == 80


@pytest.mark.parametrize("most_bytes", [SMALL, LARGE])
def test_names_need_not_be_utf_8(tmp_path, most_bytes):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    Image.new("RGB", (9, 9)).save(path)
    line = f"train {path.name} 0"
    assert fingerprint([(line, path)], most_bytes=most_bytes) != fingerprint([("é", path)], most_bytes=most_bytes)
