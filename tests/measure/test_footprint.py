"""What a library takes: its files, the time to load it in an interpreter of its own."""

import sys
from importlib.metadata import files

import pytest

from effbench.measure.footprint import Footprint, Library, footprint_of


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Have a distribution of 5,000 bytes, which takes a tenth of a second to load."""
    (tmp_path / "slow_library.py").write_text("import time\ntime.sleep(0.1)\n" + "#" * 4968 + "\n")
    about = tmp_path / "slow_library-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-library\nVersion: 1\n")
    (about / "RECORD").write_text("slow_library.py,,\ngone.py,,\nslow_library.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_its_files_are_counted_once_and_loading_is_timed(installed):
    found = footprint_of(Library(distribution="slow-library", load="import slow_library"))
    assert found.library_bytes == len("import time\ntime.sleep(0.1)\n") + 4969
    assert 0.1 <= found.load_seconds < 5
    assert "slow_library" not in sys.modules


def test_of_a_real_one_it_is_what_pip_lists():
    found = footprint_of(Library(distribution="numpy", load="pass"))
    assert found.library_bytes == sum(
        path.locate().stat().st_size for path in files("numpy") if path.locate().is_file()
    )
    assert isinstance(found, Footprint) and found.load_seconds < 1


@pytest.mark.parametrize(
    ("library", "said"),
    [
        (
            Library(distribution="no-such-library", load="pass"),
            "no-such-library can't be loaded: .*No package metadata",
        ),
        (Library(distribution="numpy", load="import no_such_module"), "numpy can't be loaded: .*no_such_module"),
        (
            Library(distribution="numpy", load="pass", python="/nowhere/python"),
            "numpy can't be loaded: .*/nowhere/python",
        ),
        (Library(distribution="numpy", load="import os; os._exit(3)"), "numpy can't be loaded: 3"),
    ],
)
def test_what_can_not_be_loaded_is_told_in_a_line(library, said):
    with pytest.raises(ValueError, match=f"^{said}[^\n]*$"):
        footprint_of(library)
