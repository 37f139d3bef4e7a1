"""A user's Datasets read once a process: what is known of each is kept, as long as it gives what it gave."""

from __future__ import annotations

import hashlib
import math
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from effbench.data.base import Split
from effbench.data.held_images import Images, InMemory, OnDisk, Streamed, read_each
from effbench.data.memory_needed import Cache, suited_cache, take_memory
from effbench.data.user_parts import Pairs
from effbench.data.user_reading import Scan, Source, chunk_size, first_example, scan

_MOST_KNOWN = 6
_N_LOOKED_AT = 16
"""Examples that are read again before what is known is used: arrays may have been written to since."""


@dataclass
class _Known:
    objects: tuple[Any, ...]
    """What it is known of: as long as these are held, nothing else has their ids."""
    found: Scan
    kept: weakref.ref[InMemory] | None = None


_known: OrderedDict[tuple[int, ...], _Known] = OrderedDict()


def scans_of(
    parts: Mapping[Split, Any], /, *, cache: Cache | None, root: str | None, workers: int
) -> dict[Split, tuple[Scan, Images]]:
    """Return what is known of each part, and its images, held as `cache` says (None: as suits their size)."""
    first = next(iter(parts))
    like = first_example(parts[first], first).like
    assert like is not None
    n_images, (shape, dtype, _) = sum(map(len, parts.values())), like
    n_bytes = n_images * math.prod(shape) * dtype.itemsize
    how = suited_cache(n_bytes) if cache is None else cache
    if how == "memory" and not all(_kept(part) for part in parts.values()):
        take_memory(f"{n_images:,} images of {' x '.join(map(str, shape))}", n_bytes)
    found: dict[Split, tuple[Scan, Images]] = {}
    for split, part in parts.items():
        scanned, kept = _scanned(Source(part, split, like), workers, in_memory=how == "memory")
        streamed = Streamed(read=scanned.images, shape=scanned.shape, workers=workers)
        found[split] = (scanned, streamed if kept is None else kept)
    return _on_disk(found, root) if how == "disk" else found


def _scanned(source: Source, workers: int, *, in_memory: bool) -> tuple[Scan, InMemory | None]:
    """Read a Dataset, or take what is known of it."""
    assert source.like is not None
    known = _still_known(source)
    kept = None if known is None or known.kept is None else known.kept()
    if in_memory and kept is None:
        kept = InMemory(torch.empty((len(source), *source.like[0]), dtype=source.like[1]))
        if known is not None:
            for numbers, images in _again(source, known.found, workers):
                kept.images[numbers] = images
    if known is None:
        found = scan(source, workers=workers, keep=kept.images.__setitem__ if in_memory and kept is not None else None)
    else:
        found = known.found
    _known[_key(source.dataset)] = _Known(_objects(source.dataset), found, None if kept is None else weakref.ref(kept))
    while len(_known) > _MOST_KNOWN:
        _known.popitem(last=False)
    return Scan(source, found.labels, found.digests), kept if in_memory else None


def _still_known(source: Source) -> _Known | None:
    """Return what is known of a Dataset, if its examples are what they were: some, or all where that is quick."""
    known = _known.get(_key(source.dataset))
    if known is None or len(known.found.labels) != len(source) or known.found.source.like != source.like:
        return None
    n_examples = len(source)
    is_quick = isinstance(source.dataset, Pairs | list | tuple | TensorDataset)
    looked_at = n_examples if is_quick else min(_N_LOOKED_AT, n_examples)
    numbers = torch.linspace(0, n_examples - 1, looked_at, dtype=torch.float64).round().long()
    try:
        for _ in _again(source, known.found, 0, numbers):
            pass
    except ValueError:
        return None
    return known


def _again(source: Source, found: Scan, workers: int, numbers: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield numbers (None: all) and images of a Dataset that was read before. ValueError names one that changed."""
    chunks = torch.split(torch.arange(len(source)) if numbers is None else numbers, chunk_size(source))
    read = Scan(source, found.labels, found.digests).images
    return zip(chunks, read_each(read, chunks, workers=workers), strict=True)


def _kept(part: Any) -> bool:
    known = _known.get(_key(part))
    return known is not None and known.kept is not None and known.kept() is not None


def _objects(part: Any) -> tuple[Any, ...]:
    return (part.images, part.labels) if isinstance(part, Pairs) else (part,)


def _key(part: Any) -> tuple[int, ...]:
    return tuple(map(id, _objects(part)))


def _on_disk(found: Mapping[Split, tuple[Scan, Images]], root: str | None) -> dict[Split, tuple[Scan, Images]]:
    """Return the same images in files, which are written from them where they are not there."""
    digest = hashlib.sha256()
    for split, (scanned, _) in found.items():
        digest.update(f"{split} {scanned.shape} {scanned.dtype}".encode())
        digest.update(scanned.digests.numpy().data)
    dtype = str(next(iter(found.values()))[0].dtype).removeprefix("torch.")
    sources = {split: images for split, (_, images) in found.items()}
    stored = OnDisk.planned(root, digest.hexdigest()[:32], sources, dtype)
    return {split: (scanned, stored[split]) for split, (scanned, _) in found.items()}
