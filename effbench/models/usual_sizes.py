"""What networks that come from elsewhere are usually given: the side of their images, the number of their classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from effbench.models.timm_networks import settings_of
from effbench.models.torchvision_weights import usual_entry


def usual_sizes(target: str, options: Mapping[str, Any], /) -> dict[str, int]:
    """Return `input_side` and `num_classes` as a network's makers have them, as far as they say; nothing is downloaded.

    target and options: of the network, as its configuration names it. Of a network of torchvision the side is that of
    its first weights for ImageNet, of which torchvision publishes the multiply-adds.

    >>> usual_sizes("effbench.models.torchvision_model", {"name": "inception_v3"})
    {'input_side': 299}
    >>> usual_sizes("effbench.models.small_cnn", {})
    {}
    """
    name = str(options.get("name"))
    if target == "effbench.models.torchvision_model":
        entry = usual_entry(name)
        return {} if entry is None else {"input_side": int(entry.transforms().crop_size[0])}
    if target == "effbench.models.timm_model":
        size = settings_of(name).get("input_size")
        return {} if size is None else {"input_side": int(size[-1])}
    if target == "effbench.models.hf_model" and options.get("config"):
        return _of_configuration(Path(str(options["config"])))
    return {}


def _of_configuration(path: Path) -> dict[str, int]:
    """Return what a config.json of transformers says; nothing where it can't be read: what builds it tells of that."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    side, classes = content.get("image_size"), content.get("id2label")
    side = side[0] if isinstance(side, list) and side else side
    found = {"input_side": side} if isinstance(side, int) else {}
    return {**found, **({"num_classes": len(classes)} if isinstance(classes, dict) and classes else {})}
