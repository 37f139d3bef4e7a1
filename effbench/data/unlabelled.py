"""Images without labels beside a labelled training split: only a lesson that looks at no true label takes them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from effbench.data.base import Batches, ImageData, Pass
from effbench.data.folder_tree import list_images
from effbench.data.paths import remark, shown

NO_LABEL = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class PartlyLabelled(ImageData):
    """A data set whose training split has labels, with images that have none and come in no pass of it.

    `with_unlabelled` gives the data set of both.
    """

    data: Any = field(repr=False)
    """The `ImageFolder` of those with labels."""
    unlabelled: tuple[Path, ...] = field(repr=False)

    @classmethod
    def of(cls, data: Any, folder: str, /) -> PartlyLabelled:
        """Return the data set with the images below a folder, which lies in its root or elsewhere.

        ValueError for a folder that is not there, holds no images, or is one of the labelled ones.
        """
        inside = data.root / folder
        place = inside if inside.is_dir() else Path(folder).expanduser().resolve()
        if not place.is_dir():
            raise ValueError(f"data.unlabelled={shown(folder)}: there is no such folder, in {shown(data.root)} or here")
        found = tuple(list_images(place, Counter[str]()))
        if not found:
            raise ValueError(f"data.unlabelled={shown(folder)}: holds no images")
        labelled = {path for files in data.files.values() for path, _ in files}
        if labelled.intersection(found):
            raise ValueError(
                f"data.unlabelled={shown(folder)}: its images are labelled ones of the data; move it out of the classes"
            )
        remark(f"{len(found)} images of {shown(folder)} have no labels: they train at distill=1 alone")
        names = [part.name for part in dataclasses.fields(ImageData)]
        return cls(**{name: getattr(data, name) for name in names}, data=data, unlabelled=found)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the labelled data and of the images without labels."""
        return hashlib.sha256(f"{self.whole().fingerprint}/partly labelled".encode()).hexdigest()[:16]

    def _batches(self, wanted: Pass, /) -> Batches:
        batches: Batches = self.data._batches(wanted)
        return batches

    def whole(self) -> ImageData:
        """Return the data set in whose training split those without labels come last, their labels `NO_LABEL`."""
        files = {**self.data.files, "train": [*self.data.files["train"], *((p, NO_LABEL) for p in self.unlabelled)]}
        more = torch.full((len(self.unlabelled),), NO_LABEL)
        labels = {**self.labels, "train": torch.cat([self.labels["train"], more])}
        whole: ImageData = dataclasses.replace(self.data, files=files, labels=labels)
        return whole


def with_unlabelled(data: ImageData, /) -> ImageData:
    """Return a data set with all its training images, those without labels too; one that has none, as it is."""
    return data.whole() if isinstance(data, PartlyLabelled) else data
