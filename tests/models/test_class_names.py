"""Which classes of weights the classes of a data set are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.models.class_names import match

NAMES = [
    ["n01440764", "tench"],
    ["n02012849", "crane"],
    ["n02123597", "Siamese cat", "Siamese"],
    ["n03126707", "crane"],
]


@pytest.mark.parametrize(
    ("classes", "rows"),
    [
        (["tench", "siamese_cat"], (0, 2)),
        (["Siamese-Cat", "TENCH"], (2, 0)),
        (["n02123597", "n01440764"], (2, 0)),
        (["n02123597-Siamese_cat", "n03126707 crane"], (2, 3)),
        (["Siamese", "tench"], (2, 0)),
    ],
)
def test_names_and_ids_in_any_writing(classes, rows):
    found = match(classes, NAMES)
    assert (found.rows, found.problem) == (rows, "")


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        (["dog", "bird"], ""),
        (["tench", "dog", "bird"], ""),
        (["tench", "Siamese", "dog"], "they have no dog"),
        (["tench", "crane"], "several of them are called crane"),
        (["Siamese", "siamese cat"], "Siamese, siamese cat are one class of theirs"),
        (["n0212359", "n99999999"], ""),
    ],
)
def test_what_does_not_match_has_no_rows(classes, problem):
    found = match(classes, NAMES)
    assert (found.rows, found.problem) == ((), problem)


@given(st.permutations(range(12)), st.integers(1, 12))
def test_any_choice_in_any_order_is_found(order, n):
    names = [[f"kind {row}", f"other name {row}"] for row in range(12)]
    chosen = order[:n]
    assert match([f"Kind_{row}" for row in chosen], names).rows == tuple(chosen)
