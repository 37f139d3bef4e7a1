"""Runs that began elsewhere, in jobs of a launcher, which tells nobody until all of them are done: said in the store.

A job leaves a file with the time at which its run was begun to be computed; whoever waits for the jobs looks for these.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from effbench.plan.point import Point
from effbench.run.outcomes import Observer
from effbench.run.store import Store

SECONDS_APART = 1.0


def announce(store: Store, key: str, seconds: float, /) -> None:
    """Say that a run was begun to be computed then, in seconds since 1970; a store that takes no file is let pass."""
    path = _path(store, key)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(repr(seconds))
        part.replace(path)


@contextmanager
def telling_of(points: Sequence[Point], store: Store, observer: Observer, /) -> Iterator[None]:
    """Tell an observer, from a thread of its own, of the runs that begin elsewhere, for as long as one waits within."""
    _forget(points, store)
    is_over = threading.Event()
    thread = threading.Thread(target=_watch, args=(list(points), store, observer, is_over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        _forget(points, store)


def _watch(waiting: list[Point], store: Store, observer: Observer, is_over: threading.Event) -> None:
    while waiting and not is_over.wait(SECONDS_APART):
        for point in list(waiting):
            began = _began(store, point.key)
            if began is not None:
                waiting.remove(point)
                observer.run_began(point, began)


def _began(store: Store, key: str) -> float | None:
    try:
        return float(_path(store, key).read_text())
    except (OSError, ValueError):
        return None


def _forget(points: Sequence[Point], store: Store) -> None:
    for point in points:
        with suppress(OSError):
            _path(store, point.key).unlink()


def _path(store: Store, key: str) -> Path:
    return store.root / "launcher" / "began" / f"{key}.txt"
