"""A stage is one technique: what every technique is, and what it may be asked."""

from __future__ import annotations

import copy
import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from effbench.checks.fields import check_fields
from effbench.checks.patterns import matches
from effbench.checks.text import few_names
from effbench.compression.layers import Weight, other_matrices, tables_of, weight_layers, weights_of
from effbench.plan.components import TargetComponent
from effbench.plan.context import Context
from effbench.plan.layer_values import SKIP, assign, beside, check_patterns
from effbench.plan.source_code import is_own, source_identity
from effbench.plan.teacher import TeacherRequest


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """One technique: a frozen dataclass whose fields are all that decides its result.

    A subclass annotates its fields with types, ranges and choices (`effbench.checks.fields` checks them), has a
    `VERSION`, and `apply`. Everything else that a stage is asked has a default here. A stage that acts layer by layer
    names in `LAYER_FIELD` the field that its axis drives: `layers` then gives layers values of their own.
    """

    VERSION: ClassVar[int]
    """Bumped when the results of equal fields, or the default of a field, change."""
    LAYER_FIELD: ClassVar[str | None] = None
    """The field of which a layer may have a value of its own; None: the stage acts on no layer by itself."""
    ACTS_ON_MODULES: ClassVar[bool] = False
    """Whether `layers` may name modules that are no layers with weights, such as attention."""
    ACTS_ON_TABLES: ClassVar[bool] = False
    """Whether it acts on embeddings and position tables, too (`layers.tables_of`), which `layers` may then name."""
    TRAINS: ClassVar[bool] = False
    """Whether it trains the network on the training split, as `with_training` then says how."""
    FORMS_THE_NETWORK: ClassVar[bool] = False
    """Whether every network of a sweep has to have gone through it, references too, however little they are trained."""
    RENAMES_LAYERS: ClassVar[bool] = False
    """Whether layers have other names after it: those of later stages are then not known before anything runs."""
    DRAWS_WEIGHTS: ClassVar[bool] = False
    """Whether layers begin anew after it, at random: weights that the network came with are lost in them."""

    layers: Mapping[str, Any] = field(default_factory=dict)
    """Patterns of layer names to a value of `LAYER_FIELD` or "skip", as in {"conv1": 8, "classifier.*": "skip"}: see
    `effbench.plan.layer_values`. The first pattern that matches counts; a layer that none matches has the stage's own
    value. A skipped layer is left out: shares apply to the others."""

    def __post_init__(self) -> None:
        """Check the fields by their annotations, and the values of single layers as if they were the stage's own."""
        check_fields(self)
        if not self.layers:
            return
        if self.LAYER_FIELD is None:
            raise ValueError(
                f"layers={dict(self.layers)}: must be empty, as {type(self).__name__} acts on no layer alone"
            )
        check_patterns(self.layers)
        checked = {pattern: self._checked(pattern, value) for pattern, value in self.layers.items()}
        object.__setattr__(self, "layers", checked)

    def _checked(self, pattern: str, value: Any) -> Any:
        """Return the value of a layer as the stage's own would be: 1 becomes 1.0 where that is a floating number."""
        assert self.LAYER_FIELD is not None
        if value == SKIP:
            return value
        try:
            alone = dataclasses.replace(self, **{self.LAYER_FIELD: value}, layers={})
        except ValueError as error:
            raise ValueError(f"layers={{{pattern}: {value}}}: must be skip or a {self.LAYER_FIELD}: {error}") from None
        return getattr(alone, self.LAYER_FIELD)

    @abstractmethod
    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return the network that the stage makes of `model`, which it leaves alone."""

    def for_network(self, network: nn.Module, images: Tensor, /) -> Self:
        """Return the stage as it is for a fresh network, by default as it is; asked before anything runs.

        What holds for some networks alone can so be a field that is in their keys, and in no others. ValueError, in one
        line, for a network that the stage can't act on. images: (2, C, H, W), an input in form, of no values that say
        anything.
        """
        return self

    @property
    def is_neutral(self) -> bool:
        """Whether the stage does nothing: it is then left out of the recipe, and of the key."""
        return False

    @property
    def ends_training(self) -> str | None:
        """Why what trains afterwards would train another network; None: it may."""
        return None

    @property
    def asks_for_training(self) -> str | None:
        """Why a training has to follow; None: none has to."""
        return None

    @property
    def asks_for(self) -> tuple[str, ...]:
        """The earlier steps whose networks it asks its context for."""
        return ()

    @property
    def teacher_request(self) -> TeacherRequest | None:
        """Which teacher it learns from; None: it learns from none."""
        return None

    @property
    def n_rounds(self) -> int | None:
        """How many rounds its group of the recipe has, where the stage decides that; None: `recipe.rounds`."""
        return None

    @property
    def most_rounds(self) -> int | None:
        """How many rounds a run with this configuration may have at most, whatever the value of its axis.

        None: `recipe.rounds`. References are finetuned so often.
        """
        return None

    def value_after(self, position: int, n_rounds: int) -> float | None:
        """Return what the axis comes to after `position` of `n_rounds` rounds; None: to its value after the first."""
        return None

    def at_round(self, position: int, n_rounds: int) -> Self:
        """Return the stage for round `position` of `n_rounds`, counted from 1; by default the same in every round."""
        return self

    def with_training(self, **changes: Any) -> Self:
        """Return the stage with other training options, such as `epochs`; one that trains not, as it is."""
        return dataclasses.replace(self, **changes) if self.TRAINS else self

    def values_by_layer(self, model: nn.Module, context: Context, /) -> dict[str, Any]:
        """Return the value for each weight layer of `model` that is not skipped, by name, and note the share acted on.

        The run's metric acted_share/<step> is the share of the weights of all convolutions, linear layers, attention
        and recurrent layers that lie in these, where that is not all. ValueError, with the layers' names, for a pattern
        that meets none.
        """
        assert self.LAYER_FIELD is not None
        names = [name for name, _ in weight_layers(model)]
        further = [name for name, _ in model.named_modules()] if self.ACTS_ON_MODULES else []
        values = assign(beside(self.layers, names, further), names, default=getattr(self, self.LAYER_FIELD))
        self.say_share(values, model, context)
        return values

    def values_by_weight(self, model: nn.Module, context: Context, /) -> dict[Weight, Any]:
        """Return the value for each weight of `model` that is not skipped, and note the share acted on.

        As `values_by_layer`, for stages that act on the weights of attention and recurrent layers as well. A tied
        weight has the value of the first of its names that a pattern meets.
        """
        assert self.LAYER_FIELD is not None
        weights = list(weights_of(model))
        named = [*weights, *(tables_of(model) if self.ACTS_ON_TABLES else ())]
        assign(self.layers, [name for weight in named for name in weight.names], default=None)
        own = getattr(self, self.LAYER_FIELD)
        values = {weight: next(self._own_values(weight), own) for weight in weights}
        values = {weight: value for weight, value in values.items() if value != SKIP}
        self.say_share({name for weight in values for name in weight.names}, model, context)
        return values

    def has_own_value(self, weight: Weight, /) -> bool:
        """Whether a weight has a value of its own, by `layers`."""
        return next(self._own_values(weight), None) is not None

    def _own_values(self, weight: Weight) -> Iterator[Any]:
        return (self.layers[pattern] for name in weight.names for pattern in self.layers if matches(pattern, name))

    def say_share(self, acted: Container[str], model: nn.Module, context: Context, /) -> None:
        """Note on which share of the weights the stage acts, and say what it leaves, where that is not all.

        acted: the names of the weights on which it does; of a tied one, any.
        """
        sizes = {weight: weight.value().numel() for weight in weights_of(model)}
        n_acted = sum(size for weight, size in sizes.items() if any(name in acted for name in weight.names))
        left = {weight.name: size for weight, size in sizes.items() if not any(name in acted for name in weight.names)}
        others = other_matrices(model)
        n_acted += sum(size for name, size in others.items() if name in acted)
        left |= {name: size for name, size in others.items() if name not in acted}
        context.findings.metrics.pop(f"acted_share/{context.step}", None)  # of what was known before
        context.findings.words.pop(f"left/{context.step}", None)
        if left:
            context.findings.note(f"acted_share/{context.step}", n_acted / (n_acted + sum(left.values())))
            context.findings.say(f"left/{context.step}", few_names(list(left)))

    def with_layer_values(self, change: Callable[[Any], Any], /) -> Self:
        """Return the stage with its value, and that of every layer of its own, changed by a function."""
        assert self.LAYER_FIELD is not None
        layers = {pattern: value if value == SKIP else change(value) for pattern, value in self.layers.items()}
        own = change(getattr(self, self.LAYER_FIELD))
        return dataclasses.replace(self, **{self.LAYER_FIELD: own}, layers=layers)

    def identity(self) -> dict[str, Any]:
        """Return what decides the stage's result, as JSON-able data: its class, VERSION, and the fields not at default.

        A class of effbench is known by its name, which is unique within it; one from outside by its sources as well.
        """
        kind = type(self)
        changed = {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if _plain(getattr(self, field.name)) != _plain(_default(field))
        }
        outside = {} if is_own(kind) else {"source": source_identity(kind)}
        return {"stage": kind.__name__, "version": kind.VERSION, "fields": changed, **outside}


def note_share(name: str, done: Container[str], weights: Iterable[Weight], context: Context, /) -> None:
    """Note the metric <name>/<step>, the share of `weights` that lies in those whose names are in `done`, if not 1."""
    sizes = {weight.name: weight.value().numel() for weight in weights}
    if not all(weight in done for weight in sizes):
        share = sum(size for weight, size in sizes.items() if weight in done) / sum(sizes.values())
        context.findings.note(f"{name}/{context.step}", share)


_REQUIRED = object()


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return the default of a field; something that equals no value where it has none."""
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else _REQUIRED


def _plain(value: Any) -> Any:
    """Return a field's value as JSON-able data. The order of patterns decides which counts: a mapping is its pairs."""
    if isinstance(value, TargetComponent):
        return value.identity()
    if isinstance(value, Mapping):
        return [[key, _plain(entry)] for key, entry in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if callable(value):
        return _plain_callable(value)
    return copy.copy(value)


def _plain_callable(value: Callable[..., Any]) -> Any:
    """Return what tells a function, a class or a partial of one; effbench's by its name."""
    if isinstance(value, functools.partial):
        return {"partial": _plain_callable(value.func), "of": [_plain(value.args), _plain(value.keywords)]}
    return f"effbench:{value.__qualname__}" if is_own(value) else source_identity(value)
