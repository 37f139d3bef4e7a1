"""How the folders of a data set are laid out: which of them are splits, which are classes.

Splits are told by their names in any case (`Train`, `TRAINING`, `training_set`; `val`, `valid`, `validation`, `dev`,
`eval`; `test`, `testing`) and by holding class folders: one that holds images itself, beside other folders of images,
is a class that happens to be called so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from effbench.data.base import SPLITS, Split
from effbench.data.folder_tree import count_images, folders_in
from effbench.data.paths import listed, remark, shown

_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
}
_AFTER_A_NAME = re.compile(r"[ _-]*(set|data|split|images)$")
_FEW_FOLDERS = 20


def split_of(name: str, /) -> Split | None:
    """Return the split that a folder's name says, if it says one.

    >>> [split_of(name) for name in ("TRAIN", "valid", "Test_Set", "cat")]
    ['train', 'val', 'test', None]
    """
    folded = name.strip().casefold()
    return _NAMES.get(folded) or _NAMES.get(_AFTER_A_NAME.sub("", folded))


def find_parts(root: Path, /) -> dict[Split, Path]:
    """Return the folders of class folders, by split; class folders alone count as `train`.

    ValueError, with names, where that can't be told, and where folders of splits lie a level deeper.
    """
    named = {name: split for name in folders_in(root) if (split := split_of(name)) is not None}
    beside = [name for name in folders_in(root) if name not in named and _looks_like_images(root / name)]
    if not named or (beside and _are_classes(root, named, beside)):
        _check_depth(root)
        return {"train": root}
    parts = _one_each(root, named)
    if "train" not in parts and set(parts) != {"val"}:
        raise ValueError(f"data.root={shown(root)}: has {_and(parts[s].name for s in parts)} but no train folder")
    for part in parts.values():
        if count_images(part) and not folders_in(part):
            raise ValueError(
                f"data.root={shown(root)}: its {shown(part.name)} folder holds images itself; "
                "in it, one folder a class is expected"
            )
    if beside:
        remark(f"data.root={shown(root)}: beside {_and(named)}, what is in {listed(beside)} is left out")
    return parts


def class_folders(parts: Mapping[Split, Path], root: Path, /) -> dict[str, dict[Split, Path]]:
    """Return where the images of each class are, by class and split, the classes sorted by name.

    A name that is composed in one split (é as one character, as Linux has it) and not in another (e and an accent, as
    macOS may) is one class. ValueError where one split has both, or where splits spell a class in different cases.
    """
    classes: dict[str, dict[Split, Path]] = {}
    spelt: dict[str, str] = {}
    for split in (split for split in SPLITS if split in parts):
        for name in folders_in(parts[split]):
            first = spelt.setdefault(unicodedata.normalize("NFC", name), name)
            folders = classes.setdefault(first, {})
            if split in folders:
                raise ValueError(f"data.root={shown(root)}: the folders {first!a} and {name!a} look alike; rename one")
            folders[split] = parts[split] / name
    _check_cases(classes, root)
    return dict(sorted(classes.items()))


def _check_cases(classes: Mapping[str, Mapping[Split, Path]], root: Path) -> None:
    """Refuse classes that differ in case alone, unless one split has both: letters may be classes, A and a."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(unicodedata.normalize("NFC", name).casefold(), []).append(name)
    for names in alike.values():
        for one, other in pairwise(names):
            if not set(classes[one]) & set(classes[other]):
                raise ValueError(
                    f"data.root={shown(root)}: its {_and(classes[one])} folder has the class {shown(one)}, its "
                    f"{_and(classes[other])} folder {shown(other)}; spell them alike"
                )


def _are_classes(root: Path, named: Mapping[str, Split], beside: list[str]) -> bool:
    """Whether folders with the names of splits are classes, as those beside them are. ValueError where both may be."""
    splits, has_images = set(named.values()), all(count_images(root / name) for name in named)
    if len(splits) > 1 and "train" in splits and not has_images:
        return False
    within = {name for folder in named for name in folders_in(root / folder)}
    if not within & set(beside) and (has_images or not set(named) & {"train", "val"}):
        return True
    raise ValueError(
        f"data.root={shown(root)}: {_and(named)} may be a split, or a class beside {listed(beside)}; "
        "move what is no split, or rename what is no class"
    )


def _one_each(root: Path, named: Mapping[str, Split]) -> dict[Split, Path]:
    """Return one folder for each split that is named, in the order of the splits."""
    parts: dict[Split, Path] = {}
    for split in SPLITS:
        names = [name for name in named if named[name] == split]
        if len(names) > 1:
            raise ValueError(
                f"data.root={shown(root)}: both {_and(names)} name the {split} split; keep or rename one of them"
            )
        if names:
            parts[split] = root / names[0]
    return parts


def _looks_like_images(folder: Path) -> bool:
    """Whether images lie in a folder or in its first folder: other folders (of labels, of notes) are neither."""
    return count_images(folder) > 0 or any(count_images(folder / name) for name in folders_in(folder)[:1])


def _check_depth(root: Path) -> None:
    """Refuse folders of which one holds the folders of several splits: the root is a level too high."""
    names = folders_in(root)
    for name in names if len(names) <= _FEW_FOLDERS else ():
        inner = [folder for folder in folders_in(root / name) if split_of(folder)]
        if len({split_of(folder) for folder in inner}) > 1:
            raise ValueError(
                f"data.root={shown(root)}: its folder {shown(name)} holds {_and(inner)}; "
                f"give data.root={shown(root / name)}"
            )


def _and(names: Iterable[str]) -> str:
    return " and ".join(map(shown, names))
