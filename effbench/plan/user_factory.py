"""What a user's factory of data gives, taken as a data set: an `ImageData` of their own, or what `user_data` takes."""

from __future__ import annotations

import inspect
from typing import Any

from effbench.data import ImageData
from effbench.data.random_states import lent_generators
from effbench.data.user_datasets import user_data
from effbench.plan.blueprint import Blueprint
from effbench.plan.source_code import is_own

HOLDING = frozenset({"cache", "cache_root", "workers"})
"""Options that say how images are held: they decide no result."""
OPTIONS = frozenset(inspect.signature(user_data).parameters) - {"given"}
"""Options of a user's data, whatever gives them: what the factory takes itself goes to it alone."""


def load_users_data(blueprint: Blueprint, /) -> ImageData:
    """Return what a user's factory gives, as a data set. ValueError for options that nothing takes, or no data.

    Python's, NumPy's and torch's global generators are seeded by `split_seed` while the factory is called: what it
    draws is the same in every process.
    """
    ours = {name: value for name, value in blueprint.options.items() if name in OPTIONS - blueprint.parameters}
    theirs = {name: value for name, value in blueprint.options.items() if name not in ours}
    unknown = sorted(set(theirs) - blueprint.parameters)
    if unknown and not blueprint.takes_anything:
        allowed = ", ".join(sorted(options_of(blueprint)))
        raise ValueError(f"{blueprint.target} takes no option {unknown[0]!r}; its options: {allowed}")
    seed = blueprint.options.get("split_seed", 0)
    with lent_generators(seed):
        # One that takes any keyword may be anything: it gets all, as it may read them.
        given: Any = (blueprint if blueprint.takes_anything else Blueprint(blueprint.target, theirs)).build()
    if isinstance(given, ImageData):
        if ours and not blueprint.takes_anything:
            return blueprint.build()  # type: ignore[no-any-return]  # which refuses them
        return given
    defaults = {"name": blueprint.target.rpartition(".")[2], "split_seed": seed}
    return user_data(given, **{**defaults, **ours})


def options_of(blueprint: Blueprint, /) -> frozenset[str]:
    """Return the options that a data set takes, effbench's own for a user's data among them."""
    return blueprint.parameters | (frozenset() if is_own(blueprint.callable) else OPTIONS)
