"""The classes of weights, and which of them the classes of a data set are: by their names, or ImageNet's ids."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from effbench.data.paths import listed

_WORDNET_ID = re.compile(r"n\d{8}(?=$|[ _.-])")
_LEAST_SHARE = 0.5
"""Of the data's classes that have to be among the weights' own before a word is said of those that are not."""

Names = Sequence[Sequence[str]]
"""The names of each class of weights, by its row in the classifier: an id, a name, synonyms."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """What came of looking for a data set's classes among those of weights."""

    rows: tuple[int, ...] = ()
    """The row of each class of the data, in their order; empty where they are not all found."""
    problem: str = ""
    """Why not, where some are found; empty where none are, or all."""


def match(classes: Sequence[str], names: Names, /) -> Match:
    """Return the rows of the classes of a data set in the classifier of weights.

    Names are compared without regard to case, with spaces for _ and -; "n02085620-Chihuahua" is known by its id.

    >>> match(["Siamese_cat", "tench"], [["n01440764", "tench"], ["n02123597", "Siamese cat"]]).rows
    (1, 0)
    """
    by_name: dict[str, set[int]] = defaultdict(set)
    for row, own in enumerate(names):
        for name in own:
            by_name[_plain(name)].add(row)
    rows = [by_name.get(_plain(name), set()) for name in classes]
    missing = [name for name, found in zip(classes, rows, strict=True) if not found]
    unclear = [name for name, found in zip(classes, rows, strict=True) if len(found) > 1]
    if len(missing) > (1 - _LEAST_SHARE) * len(classes):
        return Match()
    if missing:
        return Match(problem=f"they have no {listed(missing)}")
    if unclear:
        return Match(problem=f"several of them are called {listed(unclear)}")
    chosen = tuple(found.pop() for found in rows)
    if len(set(chosen)) < len(chosen):
        twice = [name for name, row in zip(classes, chosen, strict=True) if chosen.count(row) > 1]
        return Match(problem=f"{listed(twice)} are one class of theirs")
    return Match(rows=chosen)


def _plain(name: str) -> str:
    found = _WORDNET_ID.match(name)
    return found[0] if found else " ".join(re.split(r"[\s_-]+", name.casefold())).strip()
