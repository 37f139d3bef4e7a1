"""The keys of training that name a class, and those of that class's options.

This module imports nothing heavy: shells complete keys by it.
"""

from __future__ import annotations

import re

HOMES = {
    "optimizer": "torch.optim",
    "scheduler": "torch.optim.lr_scheduler",
    "loss": "torch.nn",
    "augment": "torchvision.transforms.v2",
}
"""The options that name a class: each has a configuration group of short names, and a module of torch's classes."""
STATED = ("train", "finetune")
"""The stages whose options have a node of their own, from which others take values over."""
FIELDS = {**{name: name for name in HOMES}, "augmentation": "augment"}
"""The group of each option, by its name in a stage: there `augment` is called `augmentation`."""
KEY = re.compile(
    rf"((?P<stated>{'|'.join(STATED)})\.(?P<option>{'|'.join(HOMES)})"
    r"|stage\.\w+\.(optimizer|scheduler|loss|augmentation))(?P<rest>\..+)?"
)
"""What such a key looks like: which option it is, and which of that class's own (`rest`)."""


def is_component_key(key: str, /) -> bool:
    """Whether a key is an option that names a class, or one of that class's own options."""
    return KEY.fullmatch(key) is not None


def as_key(key: str, /) -> str:
    """Return a key of these options as it is written with dots: train/optimizer, as Hydra has groups, is one too."""
    dotted = key.replace("/", ".")
    return dotted if "/" in key and is_component_key(dotted) else key
