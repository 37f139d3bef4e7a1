"""Random numbers of single examples: what is done to one depends on no other, nor on the order in which they come."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
import torch


def seed_for(base: int, *place: int) -> int:
    """Return a seed for one place, such as (epoch, example), unrelated to those of others: 0 to 2**63 - 1."""
    text = "/".join(map(str, (base, *place))).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little") >> 1


def seed_all(seed: int, /) -> None:
    """Seed the global generators of torch (on the CPU), Python and numpy: transforms draw from one of these."""
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Leave the global generators as they were, whatever is drawn and seeded meanwhile."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
