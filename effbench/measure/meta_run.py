"""One forward pass of a meta double, in which every torch operation is watched, with the layer it runs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from effbench.compression.constraints.copies import plain_network
from effbench.measure.input_size import input_dtype
from effbench.measure.meta import meta_double
from effbench.measure.tensors import parameter_places


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """See the operations of a model on the meta device while the mode is entered; what is made of them, `note` says.

    model: the meta double, which gets hooks that follow the running layer.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._running = [""]
        for name, module in model.named_modules():
            self._follow(name, module)

    def begin(self, example: Tensor, /) -> None:
        """Forget what was noted: a forward pass on `example` begins."""
        self._running = [""]

    def note(
        self, operation: Any, operands: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], outcome: object
    ) -> None:
        """Take note of one operation that has run (an OpOverload or a HigherOrderOperator); nothing by default.

        operands: the tensors it was called with. args and kwargs: what it ran on: constants are on the meta device.
        """

    @property
    def layer(self) -> str:
        """The name of the innermost running module, "" for the model itself."""
        return self._running[-1]

    def _follow(self, name: str, module: nn.Module) -> None:
        """Let `module` say when it runs."""

        def enter(*_: object) -> None:
            self._running.append(name)

        def leave(*_: object) -> None:
            self._running.pop()

        module.register_forward_pre_hook(enter, prepend=True)
        module.register_forward_hook(leave, always_call=True)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; shielding it from the compiler would import that, which takes seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operands = tensors_in((args, kwargs))
        if not isinstance(func, torch._ops.HigherOrderOperator):
            if any(tensor.is_meta for tensor in operands) and not all(tensor.is_meta for tensor in operands):
                # A constant that the forward pass makes, or holds outside of its buffers, follows the input.
                args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
            with self:
                decomposed = func.decompose(*args, **kwargs)
            if decomposed is not NotImplemented:
                return decomposed
        try:
            outcome = func(*args, **kwargs)
        except NotImplementedError as error:
            name = getattr(func, "_overloadpacket", func)
            raise ValueError(f"{name} has no implementation without values (meta)") from error
        self.note(func, operands, args, kwargs, outcome)
        return outcome


def tensors_in(tree: object, /) -> list[Tensor]:
    """Return the tensors in nested lists, tuples and dicts, in their order."""
    return [value for value in tree_flatten(tree)[0] if isinstance(value, Tensor)]


def countable(model: nn.Module, /) -> nn.Module:
    """Return what is counted of a network: see `plain_network`. ValueError for a scripted one, which has no double."""
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise ValueError(
            f"{type(model).__name__} can't be counted: it is scripted; give the network as it was before "
            "torch.jit.script"
        )
    return plain_network(model)


def double_of(model: nn.Module, /) -> nn.Module:
    """Return the meta double of a countable network, with plain tensors in the place of constrained ones."""
    stand_ins = {
        (place.layer, place.tensor): torch.empty_like(place.value(), device="meta", requires_grad=False)
        for place in parameter_places(model)
        if parametrize.is_parametrized(place.module, place.tensor)
    }
    return meta_double(model, stand_ins)


def run_once(double: nn.Module, watch: Watch, size: tuple[int, ...], /) -> object:
    """Run the double once, without gradients, on one input while `watch` sees it; return what it returns.

    size: of the input without the batch, which is 1. Attention runs as the matrix products it is made of. ValueError
    where the double can't run on such an input, or can't without values.
    """
    example = torch.empty(1, *size, dtype=input_dtype(double), device="meta")
    failures = (RuntimeError, AssertionError, IndexError, TypeError, ValueError)
    with _plain_attention(), torch.no_grad():
        try:
            watch.begin(example)
            with watch:
                return double(example)
        except failures as error:
            first = error
        try:
            # Tensors that the forward pass makes may have to be where the weights are: a recurrent layer's first state.
            watch.begin(example)
            with torch.device("meta"), watch:
                return double(example)
        except failures:
            reason = " ".join(str(first).split())[:300]
            raise ValueError(
                f"{type(double).__name__} can't be counted on one input of size {size} (without the batch): {reason}"
            ) from first


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Let attention run as the matrix products it is made of: its fused paths count as nothing."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
