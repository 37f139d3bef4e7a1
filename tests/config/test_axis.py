"""Declarations of axes: what a value may be, how it is refused, which values do nothing."""

import pytest

from effbench.config.axis import Axis

NUMBER = Axis(
    name="knob", help="", type="float", neutral=1, above=0, maximum=2, reads="network", target="knob", example="0.5"
)
WIDTH = Axis(
    name="bits", help="", type="int", neutral=32, minimum=1, maximum=16, reads="stage", target="q.bits", example="8"
)
PLACE = Axis(
    name="place",
    help="",
    type="str",
    neutral="even",
    choices=("even", "late"),
    pattern=r"\d+(-\d+)*",
    reads="network",
    target="place",
    example="late",
)
SWITCH = Axis(name="switch", help="", type="bool", neutral=True, reads="network", target="switch", example="true,false")


@pytest.mark.parametrize(
    ("axis", "value", "checked"),
    [
        (NUMBER, 0.5, 0.5),
        (NUMBER, 2, 2.0),
        (NUMBER, 0.1 + 0.2, 0.3),
        (WIDTH, 8, 8),
        (WIDTH, 8.0, 8),
        (WIDTH, 32, 32),
        (PLACE, "late", "late"),
        (PLACE, "1-3", "1-3"),
        (PLACE, [1, 3], "1-3"),
        (PLACE, 2, "2"),
        (SWITCH, True, "true"),
        (SWITCH, "False", "false"),
    ],
)
def test_an_axis_takes_what_it_declares(axis, value, checked):
    found = axis.check(value)
    assert found == checked
    assert type(found) is type(checked)


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        *((NUMBER, value) for value in (0, -1, 2.1, float("nan"), float("inf"), "x", True, None, [0.5])),
        *((WIDTH, value) for value in (0, 17, 31, 3.5, float("nan"), "8", False)),
        *((PLACE, value) for value in ("early", "1-", "-1", "a-b", [], "")),
        *((SWITCH, value) for value in (1, 0, "on", "", None, [True])),
    ],
)
def test_an_axis_refuses_the_rest_and_says_what_it_takes(axis, value):
    with pytest.raises(ValueError, match="must be") as caught:
        axis.check(value)
    assert axis.allowed() in str(caught.value)
    assert f"for example {axis.name}={axis.example}" in str(caught.value)


def test_the_neutral_value_is_said_where_the_range_leaves_it_out():
    assert WIDTH.allowed() == "a whole number, at least 1, at most 16; or 32 for none"
    assert NUMBER.allowed() == "a number, above 0, at most 2"
    assert WIDTH.is_neutral(32)
    assert not WIDTH.is_neutral(16)


def test_true_and_false_are_texts_until_they_are_read():
    assert SWITCH.neutral == "true"
    assert SWITCH.allowed() == "true or false"
    assert [SWITCH.option(SWITCH.check(value)) for value in (True, False, "false")] == [True, False, False]
    assert PLACE.option("true") == "true"


def test_several_readers_are_asked_in_their_order():
    assert NUMBER.readers == ("network",)
    both = Axis(name="k", help="", type="int", neutral=1, reads=["network", "stage"], target="s.k", example="2")
    assert both.readers == ("network", "stage")


def test_both_sides_of_the_neutral_value_are_values():
    """Where a range leads across the neutral value, more is not more compression: there is no order."""
    assert [NUMBER.check(value) for value in (0.25, 1, 1.5)] == [0.25, 1.0, 1.5]
    assert [NUMBER.is_neutral(value) for value in (0.25, 1.0, 1.5)] == [False, True, False]
    assert NUMBER.compresses == "no order"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "boolean"}, "type=boolean: must be float, int, str or bool"),
        ({"reads": "model"}, "reads=model: must be stage, network or data"),
        ({"compresses": "both"}, "compresses=both: must be up, down or no order"),
        ({"minimum": "low"}, "minimum=low: must be a number, or null"),
        ({"moves": "latency"}, "moves=latency: must be a list"),
        ({"choices": [1]}, "choices=1: must be text"),
    ],
)
def test_what_is_no_declaration_is_refused(changes, message):
    declaration = {"name": "knob", "help": "", "type": "float", "neutral": 1, "reads": "network", "target": "knob"}
    Axis(**declaration)
    with pytest.raises(ValueError) as refusal:
        Axis(**{**declaration, **changes})
    assert str(refusal.value).startswith(message)
