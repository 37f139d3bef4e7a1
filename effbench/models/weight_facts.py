"""What is known of weights that come by a name: the images that they were trained on, and their classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from effbench.checks.extras import import_extra
from effbench.models.class_names import Names
from effbench.models.imagenet import wordnet_ids
from effbench.models.timm_networks import settings_of
from effbench.models.torchvision_weights import weights_of_torchvision


@dataclass(frozen=True, kw_only=True)
class WeightFacts:
    """How images are prepared for weights; None: not known."""

    side: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop_share: float | None = None
    """The side of the centre crop ÷ the short side of the resized image."""
    interpolation: str | None = None
    classes: Names = ()
    """The names of each class."""

    def data_options(self) -> dict[str, Any]:
        """Return what is known, by the names of the options of data sets."""
        known = {
            "side": self.side,
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
            "crop_share": self.crop_share,
            "interpolation": self.interpolation,
        }
        return {name: value for name, value in known.items() if value is not None}


def torchvision_facts(name: str, weights: str, /) -> WeightFacts:
    """Return what torchvision says of weights of a network; nothing is downloaded. ValueError for an unknown name."""
    entry = weights_of_torchvision(name, weights)
    transforms = entry.transforms()
    names = [[category] for category in entry.meta.get("categories", ())]
    (side,), (resized,) = transforms.crop_size, transforms.resize_size
    return WeightFacts(
        side=side,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        crop_share=round(side / resized, 6),
        interpolation=transforms.interpolation.value,
        classes=_with_ids(names) if len(names) == len(wordnet_ids()) else names,
    )


def timm_facts(name: str, /) -> WeightFacts:
    """Return what timm says of a network's weights. ValueError where it has no such network."""
    settings = settings_of(name)
    if not settings:
        return WeightFacts()
    return WeightFacts(
        side=settings["input_size"][-1],
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        crop_share=settings.get("crop_pct"),
        interpolation=settings.get("interpolation"),
        classes=_timm_classes(name, settings),
    )


def hf_facts(folder: Path, /) -> WeightFacts:
    """Return what a folder's config.json and preprocessor_config.json say; None of what they don't."""
    labels = _read_json(folder / "config.json").get("id2label") or {}
    names: Names = [
        [part.strip() for part in (label, *str(label).split(","))] for _, label in sorted(_numbered(labels))
    ]
    if len(names) == len(wordnet_ids()) and names[0][-1].casefold() in ("tench", "tinca tinca"):
        names = _with_ids(names)
    settings = _read_json(folder / "preprocessor_config.json")
    side, share = _hf_sizes(settings)
    mean, std = (settings.get(key) if settings.get("do_normalize", True) else None for key in _HF_NORMS)
    if settings and not settings.get("do_normalize", True):
        mean, std = [0.0] * 3, [1.0] * 3
    return WeightFacts(
        side=side,
        mean=None if mean is None else tuple(map(float, mean)),
        std=None if std is None else tuple(map(float, std)),
        crop_share=share,
        interpolation=_RESAMPLING.get(settings.get("resample", -1)),
        classes=names,
    )


_HF_NORMS = ("image_mean", "image_std")
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""


def _hf_sizes(settings: Mapping[str, Any]) -> tuple[int | None, float | None]:
    """Return the side at which images are seen, and the share of the resized image that the centre crop keeps."""
    resized = _side_of(settings.get("size")) if settings.get("do_resize", True) else None
    cropped = _side_of(settings.get("crop_size")) if settings.get("do_center_crop", "crop_size" in settings) else None
    if settings.get("crop_pct") and resized and cropped is None:  # ConvNeXt's: under 384 it resizes to size ÷ crop_pct
        return resized, float(settings["crop_pct"]) if resized < 384 else 1.0
    if resized and cropped and cropped <= resized:
        return cropped, round(cropped / resized, 6)
    return cropped or resized, 1.0 if resized and not cropped else None


def _side_of(size: Any) -> int | None:
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    if isinstance(size, Mapping):
        values = [size[key] for key in ("shortest_edge", "height") if isinstance(size.get(key), int)]
        return values[0] if values else None
    return None


def _numbered(labels: Mapping[str, Any]) -> list[tuple[int, str]]:
    try:
        return [(int(number), str(label)) for number, label in labels.items()]
    except (ValueError, AttributeError):
        return []


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _timm_classes(name: str, settings: Mapping[str, Any]) -> Names:
    if settings.get("label_names"):
        return [[str(label)] for label in settings["label_names"]]
    data = import_extra("timm.data", needed_by=f"timm:{name}")
    subset = data.infer_imagenet_subset(dict(settings))
    if subset is None:
        return ()
    info = data.ImageNetInfo(subset)
    descriptions = info.label_descriptions(detailed=False)
    return [
        [identifier, *(part.strip() for part in str(text).split(","))]
        for identifier, text in zip(info.label_names(), descriptions, strict=True)
    ]


def _with_ids(names: Names) -> Sequence[Sequence[str]]:
    return [[identifier, *own] for identifier, own in zip(wordnet_ids(), names, strict=True)]
