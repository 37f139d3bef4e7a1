"""What the store's door prints."""

import os

import pytest

from effbench.run.clearing import Cleared, choose
from effbench.run.inventory import ENTRY_KINDS, OTHER_KINDS, take_inventory
from effbench.run.recording import keep_record
from effbench.run.store import Store
from effbench.run.sweep_records import SweepRecord
from effbench.sweep.store_listing import WORDS, cleared_lines, clearing_lines, listing


@pytest.fixture
def store(tmp_path):
    """Return a store of two sweeps that share their reference and teacher."""
    store = Store(tmp_path)
    for sweep, command in {"one": "python -m effbench.sweep +prune=0.5", "two": "x\x1b[31m\n[/bold]"}.items():
        keep_record(
            SweepRecord(
                id=sweep,
                command=command,
                points={f"run-{sweep}": ("reference", "teacher", sweep), "open": ("reference",)},
                lasting=frozenset({"reference", "teacher", sweep}),
                references=frozenset({"reference"}),
                teachers=frozenset({"teacher"}),
            ),
            store,
        )
        store.put(f"models/{sweep}", bytes(1_000_000))
        store.put_json(f"runs/run-{sweep}.json", {})
        os.utime(tmp_path / "entries" / "sweeps" / f"{sweep}.json", (0, 0))
    for network in ("reference", "teacher", "lost"):
        store.put(f"models/{network}", bytes(2_000_000))
    return store


def test_sweeps_what_they_share_and_what_nobody_knows(store):
    (store.root / "entries" / "notes.txt").write_text("mine")
    lines = list(listing(take_inventory(store.root)))
    assert lines[0] == f"{store.root}: 10 files, 8.00 MB"
    headings, one, two = (line for line in lines if line.startswith(("sweep ", "one ", "two ")))
    assert headings.split() == ["sweep", "points", "bytes", "last", "used", "command"]
    assert one.split()[:4] == ["one", "1/2", "1.00", "MB"]
    assert one.endswith("python -m effbench.sweep +prune=0.5")
    assert two.endswith(r"x\x1b[31m\n[/bold]")
    text = "\n".join(lines)
    assert "used by several sweeps\n  references: 1 file, 2.00 MB\n  teachers: 1 file, 2.00 MB\n" in text
    assert "the same command makes it known)\n  networks: 1 file, 2.00 MB\n" in text
    assert lines[-1] == f"not the store's: {store.root}/entries/notes.txt"


def test_nothing_but_plain_text_comes_out(store):
    (store.root / "entries" / "a\x1b]0;b\n.txt").write_text("mine")
    for line in listing(take_inventory(store.root)):
        assert line.isprintable()


def test_what_would_go_and_what_went(store):
    inventory = take_inventory(store.root)
    first, *kinds = clearing_lines(choose(inventory, "one"))
    assert first == "would clear 1 sweep (one), 3 files, 1.00 MB"
    assert kinds[1] == "  networks: 1 file, 1.00 MB"
    assert next(clearing_lines(choose(inventory, "unused"))) == "would clear 1 file, 2.00 MB"
    done = Cleared(n_files=3, n_bytes=2000, running=["two"], errors=["a: Permission denied"])
    assert list(cleared_lines(done)) == [
        "cleared 3 files, 2.00 KB",
        "sweep two is under way: it stays",
        "could not be deleted: a: Permission denied",
    ]


def test_every_kind_of_file_has_a_word(store):
    assert set(WORDS) == {*ENTRY_KINDS, *OTHER_KINDS}
    for kind in ENTRY_KINDS:
        store.put(f"{kind}/some.json", b"")
    assert len(list(listing(take_inventory(store.root)))) > len(ENTRY_KINDS)
