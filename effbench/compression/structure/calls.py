"""One operation that runs, and the channels in its inputs: what the rules of `movements` and `operations` are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten

from effbench.compression.structure.channel_labels import Labels

Flow = Mapping[int, Tensor]
"""Of one tensor: for each dimension that is channels, the label of each place along it, (size,) int64."""
Follow = Callable[["Call"], list[dict[int, Tensor]]]
"""Returns the flows of the results of an operation."""


class Call:
    """One operation that runs: its inputs, its results and the channels in its inputs."""

    def __init__(
        self,
        function: Any,
        inputs: tuple[Sequence[Any], Mapping[str, Any]],
        output: Any,
        flow_of: Callable[[Tensor], Flow],
        labels: Labels,
        place: str,
    ) -> None:
        self.function, (self.args, self.kwargs), self.labels = function, inputs, labels
        self.tensors = [value for value in tree_flatten(inputs)[0] if isinstance(value, Tensor)]
        self.outputs = [value for value in tree_flatten(output)[0] if isinstance(value, Tensor)]
        self.flows = [flow_of(tensor) for tensor in self.tensors]
        self.name = function.name().partition("::")[2].partition(".")[0].rstrip("_")
        self.place = place

    @property
    def first(self) -> tuple[Tensor, Flow]:
        """The first input and its flow."""
        return self.tensors[0], self.flows[0]

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument of the operation by its place or name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def keep(self, labels: Tensor, what: str) -> None:
        """Let channels stay as the operation does something with them."""
        self.labels.keep(labels, f"{self.name}{self.place} {what}")

    def keep_all(self, what: str) -> None:
        """Let all channels that go in stay."""
        for flow in self.flows:
            for labels in flow.values():
                self.keep(labels, what)
