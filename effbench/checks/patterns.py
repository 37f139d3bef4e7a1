"""Patterns of the names of layers."""

from __future__ import annotations

from fnmatch import fnmatchcase


def matches(pattern: str, name: str, /) -> bool:
    """Whether a pattern meets a layer's name.

    >>> [matches("classifier.*", name) for name in ("classifier", "classifier.1", "features.0")]
    [True, True, False]
    """
    return fnmatchcase(name, pattern) or (pattern.endswith(".*") and fnmatchcase(name, pattern[:-2]))
