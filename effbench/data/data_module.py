"""What Lightning calls a DataModule, and torch's DataLoaders, taken for the Datasets in them.

Neither is imported: a DataModule is what has a `train_dataloader`. Batches, their order and their collation are
effbench's own matter: every example counts once a pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch.utils.data import RandomSampler, SequentialSampler, Subset, SubsetRandomSampler, default_collate

from effbench.checks.errors import kind_and_line
from effbench.data.base import Split
from effbench.data.paths import remark, shown
from effbench.data.random_states import lent_generators

_LOADERS: dict[Split, str] = {"train": "train_dataloader", "val": "val_dataloader", "test": "test_dataloader"}
_NOT_WRITTEN = ("MisconfigurationException", "NotImplementedError")
"""What Lightning's own methods raise in the place of one that is not written."""


def is_data_module(given: object, /) -> bool:
    """Whether something is a DataModule, or a class of them."""
    return callable(getattr(given, "train_dataloader", None))


def parts_of_module(module: Any, /, *, seed: int) -> dict[Split, Any]:
    """Return the Datasets of a DataModule, or of a class of such, by split; without val where it has none.

    It is prepared and set up as Lightning does it for training and test, with Python's, NumPy's and torch's generators
    seeded: what it splits at random is the same in every process. ValueError where that fails, and without train or
    test.
    """
    with lent_generators(seed):
        if isinstance(module, type):
            module = _made(module)
        name = type(module).__name__
        _call(module, "prepare_data")
        for stage in ("fit", "test"):
            _call(module, "setup", stage)
        loaders = {split: _call(module, method) for split, method in _LOADERS.items()}
    for split in ("train", "test"):
        if loaders[split] is None:
            raise ValueError(f"data: {name} has no {_LOADERS[split]}; a sweep needs train and test, and val if you can")
    return {split: dataset_of(loader, split) for split, loader in loaders.items() if loader is not None}


def _made(kind: type) -> Any:
    try:
        return kind()
    except (Exception, SystemExit) as error:
        raise ValueError(f"data: {kind.__name__}() fails: {shown(kind_and_line(error))}") from None


def _call(module: Any, method: str, *stage: str) -> Any:
    """Return what a method gives; None where there is none. ValueError for what it raises."""
    function: Callable[..., Any] | None = getattr(module, method, None)
    if function is None:
        return None
    try:
        return function(*stage) if not stage or inspect.signature(function).parameters else function()
    except (Exception, SystemExit) as error:
        if type(error).__name__ in _NOT_WRITTEN:
            return None
        raise ValueError(f"data: {type(module).__name__}.{method} fails: {shown(kind_and_line(error))}") from None


def dataset_of(part: Any, split: Split, /) -> Any:
    """Return the Dataset behind a DataLoader, less what its sampler leaves out; anything else as it is."""
    if isinstance(part, Mapping | list | tuple) and part and all(map(_is_loader, _members(part))):
        if len(part) > 1:
            raise ValueError(f"data: {split} has {len(part)} DataLoaders; must be one: join them by ConcatDataset")
        part = _members(part)[0]
    if not _is_loader(part):
        return part
    sampler = getattr(part, "sampler", None)
    n_examples = len(part.dataset) if hasattr(part.dataset, "__len__") else None
    if getattr(part, "collate_fn", default_collate) is not default_collate:
        remark(f"data: the {split} DataLoader's collate_fn is not called: examples come from its Dataset one by one")
    if isinstance(sampler, SubsetRandomSampler):
        return Subset(part.dataset, sorted(int(number) for number in sampler.indices))
    is_plain = isinstance(sampler, SequentialSampler | RandomSampler) and len(sampler) == n_examples
    if sampler is not None and n_examples is not None and not (is_plain and not getattr(sampler, "replacement", False)):
        remark(f"data: the {split} DataLoader's {type(sampler).__name__} is not asked: every example comes once a pass")
    return part.dataset


def _members(part: Any) -> list[Any]:
    return list(part.values() if isinstance(part, Mapping) else part)


def _is_loader(part: Any) -> bool:
    return hasattr(part, "dataset") and (hasattr(part, "batch_sampler") or hasattr(part, "batch_size"))
