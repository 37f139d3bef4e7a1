"""Objects that a program gives: their names in a plan."""

import pytest

from effbench.plan.blueprint import Blueprint
from effbench.plan.given import Given, any_given, given_object, is_given, keep, name_of


def build(*, width=2):
    return width


def test_it_stands_in_a_plan_under_a_name_that_holds_its_digest():
    target = keep(Given(name="Net", content="0123456789abcdef", build=build))
    assert target == "given:Net-0123456789abcdef"
    assert (is_given(target), is_given("my.Net"), is_given(None), any_given()) == (True, False, False, True)
    assert given_object(target).build is build
    blueprint = Blueprint(target, {"width": 3})
    assert (blueprint.callable, blueprint.build(), blueprint.name) == (build, 3, "Net")
    assert blueprint.identity() == {"given": "0123456789abcdef", "classes": [], "options": {"width": 3}}


def test_the_first_one_under_a_name_is_kept():
    first = Given(name="Twice", content="0" * 16, build=lambda: 1)
    assert keep(first) == keep(Given(name="Twice", content="0" * 16, build=lambda: 2))
    assert given_object(first.target) is first


def test_an_object_of_another_program_is_named():
    with pytest.raises(ValueError, match=r"_target_=given:Other-00: stands for an object of another program"):
        Blueprint("given:Other-00").build()


def test_names_with_a_dash_are_read_back():
    assert name_of("given:my-net-0123456789abcdef") == "my-net"
