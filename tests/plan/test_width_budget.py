"""Widths under a budget: allotted by what each part alone was measured to cost, with a stage that rounds nothing."""

import dataclasses
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.plan.findings import Findings
from effbench.plan.width_budget import WidthBudget, _bisect

SIZES = {"conv": 100, "fc": 900, "head": 10}
PRICES = {"conv": 0.2, "fc": 0.001, "head": 0.0}


@dataclass(frozen=True, kw_only=True)
class Widths(WidthBudget):
    """A stage whose network is a record of the widths that its parts have."""

    VERSION: ClassVar[int] = 1
    TABLE: ClassVar[str] = "widths"
    COUNTED: ClassVar[str] = "activations"

    def apply(self, model, context, /):
        return model


class Rounded(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.widths = dict(widths)


def loss_of(network, together=1.0):
    """Return what rounding costs: more for fewer bits, `together` times the sum where several parts are rounded."""
    costs = [PRICES[name] * (8 - bits) ** 2 for name, bits in network.widths.items()]
    return 1 + sum(costs) * (together if len(costs) > 1 and len(set(network.widths.values())) > 1 else 1)


@pytest.fixture
def context(toy_data, make_context):
    shown = []

    def validate(network, together=1.0):
        shown.append(network.widths)
        loss = loss_of(network, together)
        return SimpleNamespace(loss=loss, quality=2 - loss, score=2 - loss)

    made = make_context(toy_data)
    made = dataclasses.replace(
        made, validate=validate, evaluate=lambda network: 2 - loss_of(network), findings=Findings()
    )
    return made, shown


def test_what_is_dear_to_round_keeps_its_bits_and_the_table_says_why(context):
    context, shown = context
    widths = Widths(budget=4).allot(SIZES, Rounded, context)
    assert widths["conv"] == 8 and widths["fc"] < 4 and widths["head"] <= widths["conv"]
    spent = sum(SIZES[name] * bits for name, bits in widths.items()) / sum(SIZES.values())
    assert 3.3 < spent <= 4
    table = pd.DataFrame(context.findings.tables["widths"])
    assert table.columns.tolist() == ["layer", "activations", "bits", "loss_increase", "accuracy_val", "chosen"]
    assert dict(zip(table.layer[table.chosen], table.bits[table.chosen], strict=True)) == widths
    assert table.loss_increase[(table.layer == "conv") & (table.bits == 2)].item() == pytest.approx(0.2 * 36)
    assert shown[0] == {} and all(len(one) == 1 for one in shown[1:16])


def test_where_the_sum_is_wrong_the_equal_width_is_taken(context):
    context, _ = context
    badly = dataclasses.replace(context, validate=lambda network: context.validate(network, 1e3))
    assert set(Widths(budget=4).allot(SIZES, Rounded, badly).values()) == {4}


def test_a_budget_of_accuracy_is_kept_and_one_that_no_width_keeps_is_an_error(context):
    context, _ = context
    bits = []
    for budget in (0.01, 0.05, 0.5):
        widths = Widths(budget=budget, by="accuracy").allot(SIZES, Rounded, context)
        assert loss_of(Rounded(widths)) - 1 <= budget + 1e-9
        bits.append(sum(SIZES[name] * width for name, width in widths.items()))
    assert bits == sorted(bits, reverse=True) and bits[-1] < bits[0]
    with pytest.raises(ValueError, match=r"budget=0.01: must be larger here, as 4 bits in every layer"):
        Widths(budget=0.01, by="accuracy", widths="4-2").allot(SIZES, Rounded, context)


def test_what_was_measured_serves_every_budget_with_the_same_widths(context):
    context, shown = context
    kept = {}
    context = dataclasses.replace(
        context, keep=lambda name, make: kept[name] if name in kept else kept.setdefault(name, make())
    )
    for budget in (3, 5, 0.1):
        Widths(budget=budget, by="bits" if budget > 1 else "accuracy").allot(SIZES, Rounded, context)
    assert list(kept) == [f"widths-{Widths(budget=3)._how()}"]
    assert sum(len(one) == 1 for one in shown) == 3 * 5
    assert Widths(budget=4, widths="8-4")._how() != Widths(budget=4)._how()


def test_of_later_rounds_nothing_is_asked():
    stage = Widths(budget=4)
    assert stage.at_round(1, 3) is stage and stage.at_round(2, 3).budget == 32
    assert Widths(budget=0.01, by="accuracy").at_round(3, 3).by == "bits"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budget": 1.5}, "budget=1.5: must be 2 .* bits an activation"),
        ({"budget": 33}, "budget=33: must be 2 "),
        ({"budget": float("nan")}, "budget=nan: must be"),
        ({"budget": 1, "by": "accuracy"}, r"budget=1: must be in \[0, 1\)"),
        ({"budget": 0.1, "by": "accuracy", "layers": {"fc": 0.2}}, "must be skip; with by=accuracy a loss is"),
        ({"budget": 4, "by": "bytes"}, "by=bytes: must be bits or accuracy"),
        ({"budget": 4, "widths": "8,4"}, "widths=8,4: must be"),
        ({"budget": 4, "widths": "4-4"}, "widths=4-4: must be different"),
        ({"budget": 4, "widths": "17-2"}, "widths=17-2: must be 1 to 16"),
    ],
)
def test_what_is_no_budget_is_named(options, says):
    with pytest.raises(ValueError, match=says):
        Widths(**options)


@given(st.integers(0, 50), st.integers(0, 50))
def test_a_bisection_finds_the_least_that_holds(least, more):
    assert _bisect(lambda number: number >= least, least + more) == least
