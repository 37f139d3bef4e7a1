"""What a teacher gives a step: its network and its labels, made when they are first asked for; and what that took."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from effbench.plan.chain import Chain
from effbench.plan.spent import Spent
from effbench.run.made import Made
from effbench.run.stopwatch import Stopwatch
from effbench.run.store import Store


@dataclass
class Lessons:
    """The lessons of one step's teacher."""

    teacher: Chain
    store: Store
    make: Callable[[], Made]
    """Makes the teacher's network, or takes it from the store."""
    count_macs: Callable[[nn.Module], int | None]
    """For one image at the teacher's side."""
    watch: Stopwatch
    """Of the step that learns: it stands still while its teacher is made, and labels."""
    spent: Spent
    """Of the step that learns."""
    _labelling: Stopwatch | None = field(default=None, init=False)
    _network: nn.Module | None = field(default=None, init=False)

    def network(self) -> nn.Module:
        """Return the teacher's network."""
        with self.watch.paused(), nullcontext() if self._labelling is None else self._labelling.paused():
            made = self.make()
        self._network = made.model
        self.spent.note_teacher(self.teacher.key, made.findings.spent)
        return made.model

    def keep(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Return labels: those that are kept under a name, with what they took, or those that `make` gives."""

        def make_and_note() -> tuple[Tensor, dict[str, Any] | None]:
            self._labelling = Stopwatch()
            labels = make()
            taught, macs = Spent(), None if self._network is None else self.count_macs(self._network)
            seconds = self._labelling.seconds
            self._labelling = None
            taught.note_teaching(f"labels/{name}", seconds=seconds, macs=None if macs is None else macs * len(labels))
            if self._network is not None:
                taught.take_over(Spent(own={}, teaching=self._of_the_teacher()))
            return labels, taught.to_plain()

        with self.watch.paused():
            labels, note = self.store.keep_tensor_with_note(name, make_and_note)
        self.spent.take_over(Spent(own={}, teaching=Spent.from_plain(note).teaching))
        return labels

    def _of_the_teacher(self) -> dict[str, Any] | None:
        """Return what making the teacher took, as it is known by now."""
        if self.spent.teaching is None:
            return None
        return {name: amounts for name, amounts in self.spent.teaching.items() if name == f"teacher/{self.teacher.key}"}
