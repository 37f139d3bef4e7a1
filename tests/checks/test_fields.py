"""Fields checked by their annotations: what is taken as it is, and what is refused in which words."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from effbench.checks.fields import allowed, check_arguments, check_fields, shown

Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Knobs:
    share: Share = 0.0
    width: Annotated[int, Field(ge=1, le=16)] = 1
    above: Annotated[float, Field(gt=0, description="a factor")] = 1.0
    limit: Annotated[float, Field(ge=0)] | None = None
    kind: Literal["max", "mse", "none"] = "max"
    jobs: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    name: Annotated[str, Field(pattern=r"\S", description="a name, such as a")] = "a"
    folded: bool = False
    ladder: Sequence[Annotated[float, Field(gt=0, lt=1)]] = field(default_factory=list)
    batch: tuple[Annotated[int, Field(ge=1)], ...] = (1,)
    layers: Mapping[str, Any] = field(default_factory=dict)
    anything: Any = None

    def __post_init__(self):
        check_fields(self)


TEXT = "(a text; ${oc.decode:${oc.env:X}} makes a number of what the environment has)"
WRONG = [
    ("share", 1, "share=1: must be a number in [0, 1)"),
    ("share", -0.1, "share=-0.1: must be a number in [0, 1)"),
    ("share", math.nan, "share=nan: must be a number in [0, 1)"),
    ("share", math.inf, "share=inf: must be a number in [0, 1)"),
    ("share", "0.5", f"share='0.5' {TEXT}: must be a number in [0, 1)"),
    ("share", True, "share=true: must be a number in [0, 1)"),
    ("share", None, "share=null: must be a number in [0, 1)"),
    ("width", 0, "width=0: must be a whole number, 1 to 16"),
    ("width", 17, "width=17: must be a whole number, 1 to 16"),
    ("width", 2.0, "width=2.0: must be a whole number, 1 to 16"),
    ("width", False, "width=false: must be a whole number, 1 to 16"),
    ("above", 0, "above=0: must be a number above 0; a factor"),
    ("above", math.inf, "above=inf: must be a number above 0; a factor"),
    ("limit", -1, "limit=-1: must be a number, 0 or more, or null"),
    ("limit", "none", "limit=none: must be a number, 0 or more, or null"),
    ("limit", math.inf, "limit=inf: must be a number, 0 or more, or null"),
    ("kind", "min", "kind=min: must be max, mse or none"),
    ("kind", None, "kind=null: must be max, mse or none"),
    ("jobs", 0, "jobs=0: must be auto or a whole number, 1 or more"),
    ("jobs", "two", "jobs=two: must be auto or a whole number, 1 or more"),
    ("name", " ", "name= : must be text; a name, such as a"),
    ("name", 3, "name=3: must be text; a name, such as a"),
    ("folded", "true", "folded=true: must be true or false"),
    ("folded", 1, "folded=1: must be true or false"),
    ("ladder", [0.5, 1.5], "ladder=1.5: must be a number in (0, 1)"),
    ("ladder", ["a"], "ladder=a: must be a number in (0, 1)"),
    ("ladder", 0.5, "ladder=0.5: must be a list, each element a number in (0, 1)"),
    ("ladder", [0.5, math.nan], "ladder=nan: must be a number in (0, 1)"),
    ("ladder", ["0.5"], f"ladder='0.5' {TEXT}: must be a number in (0, 1)"),
    ("batch", (1, 0), "batch=0: must be a whole number, 1 or more"),
    ("batch", 1, "batch=1: must be a list, each element a whole number, 1 or more"),
    ("layers", [1, 2], "layers=[1, 2]: must be a mapping"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_what_does_not_fit_is_named_with_what_does(name, value, message):
    with pytest.raises(ValueError) as refusal:
        Knobs(**{name: value})
    assert str(refusal.value) == message
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", 0.999),
        ("limit", None),
        ("limit", 0.0),
        ("kind", "none"),
        ("jobs", "auto"),
        ("jobs", 3),
        ("folded", True),
        ("ladder", []),
        ("ladder", [0.1, 0.2]),
        ("batch", (1, 8)),
        ("layers", {"a": [1, "skip"], "b": None}),
        ("anything", object),
    ],
)
def test_what_fits_is_taken_as_it_is(name, value):
    assert getattr(Knobs(**{name: value}), name) is value or getattr(Knobs(**{name: value}), name) == value


@given(st.integers(0, 0) | st.floats(0, 1, exclude_max=True))
def test_a_share_is_always_a_float_of_the_same_value(value):
    checked = Knobs(share=value).share
    assert type(checked) is float
    assert checked == value


def test_numpys_floats_become_pythons_and_nothing_else_is_converted():
    assert type(Knobs(share=np.float64(0.5)).share) is float
    for name, value in (("width", "wide"), ("width", np.int64(3)), ("folded", np.bool_(True))):
        with pytest.raises(ValueError, match=f"^{name}={value}: must be"):
            Knobs(**{name: value})


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (float, "a number"),
        (str, "text"),
        (bool, "true or false"),
        (float | None, "a number, or null"),
        (Annotated[int, Field(ge=1)], "a whole number, 1 or more"),
        (Annotated[int, Field(gt=0, lt=10)], "a whole number, 1 to 9"),
        (Annotated[float, Field(ge=50, le=100)], "a number in [50, 100]"),
        (Annotated[float, Field(gt=0, le=1)], "a number in (0, 1]"),
        (Annotated[float, Field(le=1)], "a number, at most 1"),
        (Annotated[float, Field(lt=1)], "a number below 1"),
        (Annotated[str, Field(min_length=1)], "text that is not empty"),
        (Literal["a"], "a"),
        (Literal["a", "b"], "a or b"),
        (Sequence[str], "a list, each element text"),
        (Mapping[str, int], "a mapping"),
        (Annotated[Share, Field(description="half is 0.5")], "a number in [0, 1); half is 0.5"),
    ],
)
def test_an_annotation_in_words(hint, words):
    assert allowed(hint) == words


def test_values_as_users_write_them():
    assert [shown(value) for value in (None, True, False, 0.5, "a", [1, None], ("a", [True]))] == [
        *("null", "true", "false", "0.5", "a", "[1, null]", "[a, [true]]")
    ]


def build(*, width: int, sizes: Iterable[int] = (), kind: Literal["a", "b"] = "a", share: float | None = None, free=1):
    """Take arguments of several kinds."""


@dataclass(frozen=True)
class Built:
    name: ClassVar[str] = "built"
    device: str = "cpu"


@pytest.mark.parametrize(
    ("target", "values", "message"),
    [
        (build, {"width": 2.5}, "width=2.5: must be a whole number"),
        (build, {"width": True}, "width=true: must be a whole number"),
        (build, {"sizes": 3}, "sizes=3: must be a list, each element a whole number"),
        (build, {"sizes": [3, "x"]}, "sizes=x: must be a whole number"),
        (build, {"kind": "c"}, "kind=c: must be a or b"),
        (build, {"share": float("nan")}, "share=nan: must be a number, or null"),
        (Built, {"device": 3}, "device=3: must be text"),
    ],
)
def test_arguments_are_checked_by_annotations(target, values, message):
    with pytest.raises(ValueError) as error:
        check_arguments(target, values)
    assert str(error.value) == message


def test_arguments_that_fit_or_are_not_known_pass():
    check_arguments(build, {"width": 2, "sizes": [1, 2], "kind": "b", "share": 1, "free": object(), "unknown": 3})
    check_arguments(Built, {"device": "cuda"})
