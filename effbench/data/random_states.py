"""The global state that a user's code may draw from or change: afterwards it is as it was before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def lent_generators(seed: int, /) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's global generators while entered; what was drawn inside is not missed outside.

    Gradients and inference mode are as a user's code expects them; torch has one thread, as a DataLoader's processes
    have: the number of threads changes the last bits of what it computes.
    """
    before, n_threads = global_states(), torch.get_num_threads()
    torch.set_num_threads(1)
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed a GPU that nobody has asked for yet
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(n_threads)
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)


def global_states() -> tuple[Any, Any, torch.Tensor]:
    """Return the states of Python's, NumPy's and torch's global generators."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def are_equal(states: tuple[Any, Any, torch.Tensor], others: tuple[Any, Any, torch.Tensor], /) -> bool:
    """Whether two results of `global_states` are the same: nothing was drawn between them, nothing seeded."""
    same_numpy = all(np.array_equal(one, other) for one, other in zip(states[1], others[1], strict=True))
    return bool(states[0] == others[0]) and same_numpy and torch.equal(states[2], others[2])
