"""What is imposed on the inputs of layers and of products: a grid, or a floating type. Forward pre-hooks, plain data.

A constraint on a tensor is a parametrization (`stack`); an activation has no tensor to sit on, so what rounds it
stands before the layer that takes it. It goes along with copies, `described.describe` tells of it, and the run's file
keeps it (`codec.layer_inputs`): the network that is read back computes what the encoded one did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from effbench.compression.constraints.activation_products import multiply_otherwise, run_plainly
from effbench.compression.constraints.powers_of_two import power_above
from effbench.compression.constraints.ranges import ScaleKind

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""The floating types that a network can be cast to, by name."""


MOST_OPERANDS = 64
"""Of the products in one module's own forward pass."""
INPUT = "input"
"""The name that torch's layers give their input."""
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Of a call: those by position, those by keyword."""


def input_of(args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Tensor:
    """Return a layer's input among the arguments of its call."""
    values = args[0] if args else kwargs[INPUT]
    assert isinstance(values, Tensor)
    return values


@dataclass(frozen=True, kw_only=True)
class InputGrid:
    """Rounds a layer's input to 2^bits levels, value = (code - zero_point) * scale; zero is one of them.

    Affine, one grid for the whole tensor (Krishnamoorthi 2018, arXiv:1806.08342, section 2.1). Gradients pass straight
    through within the grid's range, and are zero outside of it (section 2.4).
    """

    bits: int
    scale: float
    """A float32 value, above 0."""
    zero_point: int
    """The code of zero, from 0 to 2^bits - 1."""

    @classmethod
    def between(cls, low: float, high: float, /, *, bits: int, scale: ScaleKind = "real") -> InputGrid:
        """Return the grid from `low` (at most 0) to `high` (at least 0), moved so that zero is a level.

        scale: of a power of two it is the next one above.
        """
        n_steps = 2**bits - 1
        step = torch.tensor((high - low) / n_steps, dtype=torch.float32)
        if not torch.finfo(torch.float32).tiny <= float(step) < float("inf"):
            step = torch.tensor(1.0)  # an input that is always zero
        if scale == "power_of_two":
            step = power_above(step)
        return cls(bits=bits, scale=float(step), zero_point=min(max(round(-low / float(step)), 0), n_steps))

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """Round the input of a forward pass, however it is given: this is a forward pre-hook with keywords."""
        if args:
            return (self.round(args[0]), *args[1:]), kwargs
        return args, {**kwargs, INPUT: self.round(kwargs[INPUT])}

    def round(self, values: Tensor) -> Tensor:
        """Return the rounded values, of their own dtype; computed in float32."""
        wide = values.float()
        first, last = -self.zero_point, 2**self.bits - 1 - self.zero_point
        with torch.no_grad():
            rounded = torch.round(wide / self.scale).clamp(first, last) * self.scale
        if torch.is_grad_enabled() and values.requires_grad:
            clipped = wide.clamp(first * self.scale, last * self.scale)
            # Exactly zero is added: training sees the very values that evaluation has.
            rounded = rounded + (clipped - clipped.detach())
        return rounded.to(values.dtype)

    def settings(self) -> dict[str, Any]:
        """Return what `impose_on_input` needs to make it again."""
        return {"kind": "input_grid", "bits": self.bits, "scale": self.scale, "zero_point": self.zero_point}


@dataclass(frozen=True, kw_only=True)
class InputCast:
    """Casts what a network gets to its own floating type: whoever calls it need not know its type."""

    dtype: str
    """A name of `DTYPES`."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """Cast the floating arguments of a forward pass: this is a forward pre-hook with keywords."""
        return tuple(map(self._cast, args)), {name: self._cast(value) for name, value in kwargs.items()}

    def _cast(self, value: Any) -> Any:
        return value.to(DTYPES[self.dtype]) if isinstance(value, Tensor) and value.is_floating_point() else value

    def settings(self) -> dict[str, Any]:
        """Return what `impose_on_input` needs to make it again."""
        return {"kind": "input_cast", "dtype": self.dtype}


@dataclass(frozen=True, kw_only=True)
class ProductGrids:
    """Rounds what a module multiplies with each other: queries and keys, say, and what attention makes of them.

    It stands before the module as the others do, and lets its input pass; what rounds is the forward pass that the
    module has in the meantime, see `activation_products`.
    """

    grids: tuple[InputGrid, ...]
    """Of the operands, in the order in which they are met."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """Let the arguments of a forward pass pass: this is a forward pre-hook with keywords."""
        return args, kwargs

    def operand(self, number: int, values: Tensor, /) -> Tensor:
        """Return what is multiplied in the place of an operand; one that was never seen stays as it is."""
        return self.grids[number].round(values) if number < len(self.grids) else values

    def settings(self) -> dict[str, Any]:
        """Return what `impose_on_input` needs to make it again."""
        return {"kind": "product_grids", "grids": [[one.bits, one.scale, one.zero_point] for one in self.grids]}

    @classmethod
    def of_settings(cls, *, grids: Sequence[Sequence[Any]]) -> ProductGrids:
        """Return what `settings` describes."""
        return cls(grids=tuple(InputGrid(bits=b, scale=scale, zero_point=zero) for b, scale, zero in grids))


InputConstraint = InputGrid | InputCast | ProductGrids
_KINDS: dict[str, Callable[..., InputConstraint]] = {
    "input_grid": InputGrid,
    "input_cast": InputCast,
    "product_grids": ProductGrids.of_settings,
}


def constraints_on_inputs(model: nn.Module, /) -> Iterator[tuple[str, nn.Module, InputConstraint]]:
    """Yield what is imposed on the inputs of modules, and on what they multiply, with the modules and their names."""
    for name, module in model.named_modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, InputConstraint):
                yield name, module, hook


def grid_on(layer: nn.Module, /) -> InputGrid | None:
    """Return the grid on a layer's input, if there is one."""
    return next((hook for hook in layer._forward_pre_hooks.values() if isinstance(hook, InputGrid)), None)


def product_grids_on(module: nn.Module, /) -> ProductGrids | None:
    """Return the grids on what a module multiplies, if there are such."""
    return next((hook for hook in module._forward_pre_hooks.values() if isinstance(hook, ProductGrids)), None)


def set_input(module: nn.Module, constraint: InputConstraint, /) -> None:
    """Impose a constraint on a module's input, in the place of one of its kind.

    A network that is cast has all its floating tensors cast as well; the cast comes before a grid.
    """
    clear_input(module, type(constraint))
    module.register_forward_pre_hook(constraint, prepend=isinstance(constraint, InputCast), with_kwargs=True)
    if isinstance(constraint, ProductGrids):
        multiply_otherwise(module, constraint.operand)
    if isinstance(constraint, InputCast):
        module.to(DTYPES[constraint.dtype])


def clear_input(module: nn.Module, kind: type[InputConstraint], /) -> None:
    """Take away what is imposed on a module's own input, if it is of that kind."""
    for number, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, kind):
            del module._forward_pre_hooks[number]
            module._forward_pre_hooks_with_kwargs.pop(number, None)
            if isinstance(hook, ProductGrids):
                run_plainly(module)


def impose_on_input(module: nn.Module, settings: dict[str, Any], /) -> None:
    """Impose what `settings` describes, if it is of an input. ValueError where its kind is not known."""
    if settings["kind"] not in _KINDS:
        raise ValueError(f"unknown kind of constraint: {settings['kind']!r}")
    set_input(module, _KINDS[settings["kind"]](**{key: value for key, value in settings.items() if key != "kind"}))
