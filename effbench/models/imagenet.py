"""The 1,000 classes of ImageNet (ILSVRC 2012, Russakovsky et al. 2014, arXiv:1409.0575) by their WordNet ids."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def wordnet_ids() -> tuple[str, ...]:
    """Return the ids in the order of the classes that networks are trained with: sorted.

    >>> len(wordnet_ids()), wordnet_ids()[0], wordnet_ids()[281]
    (1000, 'n01440764', 'n02123045')
    """
    return tuple(Path(__file__).with_name("imagenet_wnids.txt").read_text(encoding="ascii").split())
