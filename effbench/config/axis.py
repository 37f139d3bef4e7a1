"""The declaration of an axis: it drives validation, the recipe, the reference, the help page and the docs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from effbench.checks.fields import check_fields, shown

Value = float | int | str

CONFIGURED = "configured"
"""As an axis's neutral value: what the network is configured with, its own option or else its factory's default."""
_TRUTHS = {"true": True, "false": False}
Reader = Literal["stage", "network", "data"]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A swept top-level key. Read from conf/axis/<name>.yaml."""

    name: str
    help: str
    type: Literal["float", "int", "str", "bool"]
    """`bool`: the values are the texts "true" and "false", as the command line has them."""
    neutral: Value | bool
    """The value at which the axis does nothing: the reference's. `configured`: see `CONFIGURED`."""
    reads: Reader | Sequence[Reader]
    """Who takes the value. Of several the first that can: [network, stage] is for a network whose factory has an
    argument of the axis's name, and for all others the stage that `target` names."""
    target: str
    """What the value becomes: "<stage>.<field>", an argument of the network, or of the data: "side" and "eval_side",
    of which the value is a multiplier, or one of the data set's options."""
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    choices: Sequence[str] = ()
    pattern: str | None = None
    """Of values beside the choices (a regular expression, matched whole)."""
    pattern_words: str | None = None
    """What the pattern allows, as in "layer numbers such as 1-3"."""
    compresses: Literal["up", "down", "no order"] = "no order"
    """Which way values compress more; "no order" also where both sides of the neutral value are swept."""
    scale: Literal["linear", "geometric"] = "linear"
    """What the middle of two values is when a sweep is refined; geometric: a step is a ratio, as of widths in bits."""
    phase: str | None = None
    """Where a stage's axis stands in a recipe."""
    replaces: Mapping[str, str] = field(default_factory=dict)
    """Steps of a recipe that become other stages while the axis isn't neutral: {train: distill} has the stage `distill`
    do what `train` does otherwise. For example +distill=0.9 turns train → prune → finetune into distill → prune →
    distill_finetune, each with the target's field at 0.9. A recipe's `taught` names the steps that are turned; without
    it, all are."""
    also: Sequence[str] = ()
    """Fields of further stages, <stage>.<field>, that take the value where a recipe names the stage."""
    order: int = 0
    """Where the stage stands among those of its phase: the lower, the earlier; equal ones by their names."""
    modifies: str | None = None
    """Another axis, without which this one means nothing: it sets one more field of that axis's stage. For example
    +prune_granularity=kernel says what `prune` removes together, and is refused where no +prune=… is given."""
    excludes: Sequence[str] = ()
    """Other axes that can't do anything to the same network: a point with both is refused."""
    moves: Sequence[str] = ()
    """The costs that the axis changes."""
    realised: Mapping[str, str] = field(default_factory=dict)
    """How real a saving is, by cost: simulated, masked, removed or executed."""
    example: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no declaration."""
        check_fields(self)
        if isinstance(self.neutral, bool) and self.type == "bool":
            object.__setattr__(self, "neutral", str(self.neutral).lower())

    @property
    def readers(self) -> tuple[str, ...]:
        """Who can take the value, in the order in which they are asked."""
        return (self.reads,) if isinstance(self.reads, str) else tuple(self.reads)

    def check(self, value: object) -> Value:
        """Return `value` as the axis's type. ValueError names the value, what is allowed and an example."""
        checked = self.typed(value)
        if checked is None or not (checked == self.neutral or self._allows(checked)):
            given = "null" if value is None else value
            raise ValueError(f"{self.name}={given}: must be {self.allowed()}; for example {self.name}={self.example}")
        return checked

    def is_neutral(self, value: Value) -> bool:
        """Whether the axis does nothing at `value`."""
        return value == self.neutral

    def option(self, value: Value) -> Value:
        """Return a value as what reads it takes it: true and false are texts in a sweep alone."""
        return _TRUTHS[str(value)] if self.type == "bool" else value

    def allowed(self) -> str:
        """Say what values are allowed, as in "an integer, 1 to 16, or 32"."""
        if self.type == "bool":
            return " or ".join(_TRUTHS)
        if self.type == "str":
            known = ", ".join(self.choices)
            return known if self.pattern is None else f"{known}, or {self.pattern_words}"
        parts = [{"int": "a whole number", "float": "a number"}[self.type]]
        for bound, word in (
            (self.minimum, "at least"),
            (self.above, "above"),
            (self.maximum, "at most"),
            (self.below, "below"),
        ):
            if bound is not None:
                parts.append(f"{word} {bound:g}")
        text = ", ".join(parts)
        is_named = self.neutral == CONFIGURED or self._allows(self.neutral)
        return text if is_named else f"{text}; or {shown(self.neutral)} for none"

    def typed(self, value: object) -> Value | None:
        """Return a value as the axis's type, in its range or not; None where it can't be that."""
        if self.type == "bool":
            text = str(value).lower()
            return text if text in _TRUTHS else None
        if self.type == "str":
            # [1, 3] is another way to write 1-3.
            return "-".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        if self.type == "int":
            return int(value) if value == int(value) else None
        return float(f"{value:.12g}")  # the third step of range(0.1, 0.5, 0.1) is 0.3, as if it had been written

    def _allows(self, value: Value) -> bool:
        if self.type == "bool":
            return value in _TRUTHS
        if isinstance(value, str):
            return value in self.choices or (self.pattern is not None and bool(re.fullmatch(self.pattern, value)))
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and (self.maximum is None or value <= self.maximum)
            and (self.below is None or value < self.below)
        )
