"""How much memory training needs: the bytes of all tensors that are alive at once.

The process knows its own high-water mark only (`ru_maxrss`): it holds the interpreter, torch and the data set, what ran
before in the same worker, and the allocator's spare pages. Tensors can be counted exactly, and, for one number of
threads, alike on every machine.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

N_WATCHED = 2
"""The steps that are watched: from the second on, the optimiser's moments and the last gradients are there as well."""


class TensorMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations read or write while it is entered, each until it is freed.

    `peak_bytes` is the most that was alive at once: of a training step, its parameters, buffers, gradients, the
    optimiser's moments, the batch, and what the forward pass keeps for the backward one. Not counted is what no tensor
    holds: scratch space within a kernel, and Python's own objects. The computation is the same with it and without.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._n_bytes = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for value in (*args, *(kwargs or {}).values(), results):
            for tensor in value if isinstance(value, tuple | list) else (value,):
                if isinstance(tensor, Tensor) and tensor.layout == torch.strided:
                    self._count(tensor.untyped_storage())
        return results

    def _count(self, storage: torch.UntypedStorage) -> None:
        number, n_bytes = id(storage), storage.nbytes()
        if number in self._alive:
            return

        def forget(_: object) -> None:
            del self._alive[number]
            self._n_bytes -= n_bytes

        self._alive[number] = weakref.ref(storage, forget)
        self._n_bytes += n_bytes
        self.peak_bytes = max(self.peak_bytes, self._n_bytes)
