"""What every stage gets from its base class: checked fields, values for single layers, an identity."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, ClassVar

import pytest
from pydantic import Field
from torch import nn

from effbench.models import lenet_5
from effbench.plan.stage import Stage
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.rewind import Rewind
from effbench.stages.train import Train


@dataclass(frozen=True, kw_only=True)
class Shrink(Stage):
    """A stage from outside effbench: multiplies weights."""

    VERSION: ClassVar[int] = 3
    LAYER_FIELD: ClassVar[str | None] = "factor"

    factor: Annotated[float, Field(ge=0, lt=1)]
    steps: Sequence[int] = field(default_factory=list)
    where: str = "here"

    def apply(self, model, context, /):
        return model


@dataclass(frozen=True, kw_only=True)
class Whole(Stage):
    """A stage that acts on no layer alone."""

    VERSION: ClassVar[int] = 1

    def apply(self, model, context, /):
        return model


class TestFields:
    def test_are_checked_by_their_annotations(self):
        with pytest.raises(ValueError, match=r"^factor=1\.0: must be a number in \[0, 1\)$"):
            Shrink(factor=1.0)
        with pytest.raises(ValueError, match=r"^where=3: must be text$"):
            Shrink(factor=0.5, where=3)
        assert type(Shrink(factor=0).factor) is float

    def test_a_stage_says_how_it_is_applied(self):
        @dataclass(frozen=True, kw_only=True)
        class Nothing(Stage):
            VERSION: ClassVar[int] = 1

        with pytest.raises(TypeError, match="apply"):
            Nothing()

    def test_defaults_ask_for_nothing_and_change_nothing(self):
        stage = Whole()
        assert not stage.is_neutral
        assert stage.asks_for == ()
        assert stage.teacher_request is None
        assert stage.n_rounds is None
        assert stage.at_round(2, 3) is stage
        assert stage.with_training(epochs=3) is stage
        assert Train(epochs=1, lr=0.1).with_training(epochs=3, fraction=0.5) == Train(epochs=3, lr=0.1, fraction=0.5)


class TestLayers:
    @pytest.fixture
    def network(self):
        return nn.Sequential(nn.Linear(10, 3), nn.ReLU(), nn.Linear(3, 10), nn.Linear(10, 4))

    def test_each_layer_has_its_value_and_the_share_acted_on_is_noted(self, network, make_context, toy_data):
        context = make_context(toy_data, step="shrink/1")
        assert Shrink(factor=0.5).values_by_layer(network, context) == {"0": 0.5, "2": 0.5, "3": 0.5}
        everywhere = Shrink(factor=0.5, layers={"0": 0.25, "[02]": 0.75})
        assert everywhere.values_by_layer(network, context) == {"0": 0.25, "2": 0.75, "3": 0.5}
        assert context.findings.is_empty  # all of the weights
        partly = Shrink(factor=0.5, layers={"0": "skip", "3": 0})
        assert partly.values_by_layer(network, context) == {"2": 0.5, "3": 0}
        assert context.findings.metrics == {"acted_share/shrink/1": 70 / 100}

    def test_a_pattern_that_meets_no_layer_is_named(self, network, make_context, toy_data):
        with pytest.raises(ValueError, match=r"layers: the pattern 1 meets no layer of the network; there are 0, 2, 3"):
            Shrink(factor=0.5, layers={"1": 0.25}).values_by_layer(network, make_context(toy_data))

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ({"a": 1.0}, r"layers={a: 1\.0}: must be skip or a factor: factor=1\.0: must be a number in \[0, 1\)"),
            ({"a": "skp"}, r"layers={a: skp}: must be skip or a factor: factor=skp: must be a number"),
            ({"a": "skip", "b": True}, r"layers={b: True}: must be skip or a factor"),
            ({"": 0.5}, r"layers={: …}: a pattern must be the name of layers"),
            ([0.5], r"layers=\[0\.5\]: must be a mapping"),
        ],
    )
    def test_what_is_no_value_is_refused_as_it_would_be_for_all(self, layers, message):
        with pytest.raises(ValueError, match=f"^{message}"):
            Shrink(factor=0.5, layers=layers)

    def test_a_stage_that_acts_on_no_layer_alone_has_none(self):
        with pytest.raises(ValueError, match=r"^layers={'a': 1}: must be empty, as Whole acts on no layer alone$"):
            Whole(layers={"a": 1})

    def test_a_value_of_a_layer_is_of_the_type_of_the_stages_own(self):
        stage = Shrink(factor=0.5, layers={"a": 0, "b": "skip"})
        assert type(stage.layers["a"]) is float
        assert stage.identity() == Shrink(factor=0.5, layers={"a": 0.0, "b": "skip"}).identity()

    def test_all_values_are_changed_together(self):
        stage = Shrink(factor=0.5, layers={"a": 0.25, "b": "skip"})
        halved = stage.with_layer_values(lambda factor: factor / 2)
        assert halved == replace(stage, factor=0.25, layers={"a": 0.125, "b": "skip"})


class TestIdentity:
    def test_of_effbenchs_own_is_name_version_and_what_is_not_at_its_default(self):
        assert Quantize(bits=4).identity() == {"stage": "Quantize", "version": Quantize.VERSION, "fields": {"bits": 4}}
        assert Rewind().identity()["fields"] == {}
        assert Rewind(to="init").identity() == Rewind().identity()
        assert Prune(ratio=0.5, ladder=[]).identity() == Prune(ratio=0.5).identity()

    def test_a_class_from_outside_holds_its_source(self):
        identity = Shrink(factor=0.5).identity()
        assert identity["source"]["name"] == "Shrink"
        assert identity["source"]["module"] == __name__
        assert identity["fields"] == {"factor": 0.5}
        assert "source" not in Prune(ratio=0.5).identity()

    def test_the_order_of_patterns_decides_as_the_first_counts(self):
        one, other = Shrink(factor=0.5, layers={"a": 0.1, "*": 0.2}), Shrink(factor=0.5, layers={"*": 0.2, "a": 0.1})
        assert one.identity()["fields"]["layers"] == [["a", 0.1], ["*", 0.2]]
        assert one.identity() != other.identity()

    def test_a_whole_number_and_the_floating_one_are_one_value(self):
        assert Shrink(factor=0).identity() == Shrink(factor=0.0).identity()

    def test_lists_and_tuples_are_alike(self):
        assert Shrink(factor=0.5, steps=(1, 2)).identity() == Shrink(factor=0.5, steps=[1, 2]).identity()
        assert Shrink(factor=0.5, steps=()).identity() == Shrink(factor=0.5).identity()


@dataclass(frozen=True, kw_only=True)
class Calling(Stage):
    """A stage with a function of a user's in a field."""

    VERSION: ClassVar[int] = 1
    score: Callable[..., float] = max

    def apply(self, model, context, /):
        return model


def test_a_function_in_a_field_is_told_by_its_code():
    def own():
        return 1.0

    identities = [
        Calling(score=score).identity()["fields"].get("score")
        for score in (max, min, own, partial(own), partial(own, 1), lenet_5)
    ]
    assert identities[0] is None
    assert len({json.dumps(identity) for identity in identities}) == 6
    assert identities[-1] == "effbench:lenet_5"
