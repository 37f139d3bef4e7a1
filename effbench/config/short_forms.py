"""Short forms of a command line: model=resnet18, model=timm:resnet10t, model=my_nets:small, data=./photos.

Each stands for keys that there are anyway, into which it is written out. Several values, as in
model=resnet18,timm:resnet10t, are written out one by one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from effbench.checks.fields import shown
from effbench.config.keys import check_choice, options_of
from effbench.config.overrides import parse, quoted, values_of
from effbench.models.timm_networks import settings_of
from effbench.plan.given import is_given, short_name

SOURCES = {
    "torchvision": {"model": "torchvision"},
    "timm": {"model._target_": "effbench.models.timm_model"},
    "hf": {"model._target_": "effbench.models.hf_model"},
}
"""What stands before a network's name, and the key that says who builds those."""


def check_choice_or_short_form(group: str, value: object, /) -> None:
    """Refuse what is neither a member of a configuration group nor a short form: ValueError with what is near."""
    if value in options_of(group) or is_given(value):
        return
    if group == "data" and isinstance(value, str) and is_folder_form(value):
        return
    if group == "model" and isinstance(value, str) and model_keys(value) is not None:
        return
    if group == "model":
        _refuse_model(value)
    try:
        check_choice(group, value)
    except ValueError as error:
        raise ValueError(
            f"{error}, or the path of a folder: data=./photos" if group == "data" else str(error)
        ) from None


def expanded(lines: Mapping[str, str], /) -> dict[str, str]:
    """Return overrides of one value each, by key, with their short forms written out.

    lines: as in {"model": "model=resnet18"}, of which {"model": "model=torchvision", "model.name": "++model.name=…"}
    comes. ValueError where such a key is given as well.
    """
    written: dict[str, str] = {}
    for key, line in lines.items():
        keys = _keys_of(key, line)
        for other, value in ({} if keys is None else keys).items():
            if other in lines and other != key:
                raise ValueError(f"{line}: stands for {other}={value}, and {lines[other].lstrip('+')} is given as well")
            written[other] = f"{other}={value}" if other == key else f"++{other}={quoted(value)}"
        if keys is None:
            written[key] = line
    return written


def _keys_of(key: str, line: str) -> dict[str, str] | None:
    if key not in ("model", "data"):
        return None
    (override,) = parse([line])
    (value,) = values_of(override)
    if not isinstance(value, str) or value in options_of(key):
        return None
    if is_given(value):
        return {f"{key}._target_": value}
    if key == "data":
        return {"data": "image_folder", "data.root": value} if is_folder_form(value) else None
    return model_keys(value)


def as_typed(line: str, /) -> str:
    r"""Return the value of an override of one value as the user wrote it: Hydra has put a \\ before some characters.

    Of an object that a program gives it is a short name.
    """
    if not line.startswith(("model=", "data=")):
        return line.split("=", 1)[1]
    (value,) = values_of(parse([line])[0])
    return short_name(str(value)) if is_given(value) else str(value)


def function_form(value: str, /) -> str | None:
    """Return a value of `model` that names a function in a module; None of any other.

    >>> function_form("my_nets:small"), function_form("timm:resnet10t")
    ('my_nets:small', None)
    """
    source, colon, name = value.partition(":")
    return value if colon and source not in SOURCES and _is_dotted(source) and _is_dotted(name) else None


def as_short_form(target: str, /) -> str:
    """Return the value of `model` that stands for a target.

    >>> as_short_form("my_nets.small"), as_short_form("given:Net-0123456789abcdef")
    ('my_nets:small', 'given:Net-0123456789abcdef')
    """
    return target if is_given(target) else ":".join(target.rsplit(".", 1))


def is_folder_form(value: str, /) -> bool:
    """Whether a value of `data` is a folder: written as a path, or one that is there.

    >>> is_folder_form("./photos"), is_folder_form("~/photos"), is_folder_form("mnist")
    (True, True, False)
    """
    return value in (".", "..") or value.startswith("~") or "/" in value or "\\" in value or Path(value).is_dir()


def model_keys(value: str, /) -> dict[str, str] | None:
    """Return the keys that a network's short form stands for, None where it is none.

    ValueError for one of timm's that timm does not know.

    >>> model_keys("my_package.nets:small")
    {'model._target_': 'my_package.nets.small'}
    """
    source, colon, name = value.partition(":")
    if colon and source in SOURCES:
        if not name.strip():
            raise ValueError(f"model={value}: name a network after the colon, as in {_EXAMPLES[source]}")
        if source == "timm":
            _check_timm(name)
        if source == "torchvision" and name not in torchvision_names():
            raise ValueError(f"model={value}: torchvision has no such classification network{_near_torchvision(name)}")
        return {**SOURCES[source], "model.name": name}
    if function_form(value):
        return {"model._target_": f"{source}.{name}"}
    return {"model": "torchvision", "model.name": value} if not colon and value in torchvision_names() else None


_EXAMPLES = {"timm": "timm:resnet10t", "hf": "hf:google/vit-base-patch16-224", "torchvision": "torchvision:resnet18"}


def torchvision_names() -> list[str]:
    """Return the names of torchvision's classification networks."""
    import torchvision  # here, because it takes longer to import than a small sweep takes to plan

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _check_timm(name: str) -> None:
    try:
        settings_of(name)
    except ValueError as error:
        raise ValueError(f"model=timm:{shown(name)}: {error}") from None


def _refuse_model(value: object) -> None:
    """Raise a ValueError that names the nearest network, among effbench's and torchvision's."""
    known = sorted(options_of("model"))
    text = str(value)
    near = difflib.get_close_matches(text, [*known, *torchvision_names()], n=1)
    hint = f"did you mean model={near[0]}? " if near else ""
    if not near and "." in text and _is_dotted(text):
        hint = f"of a module of your own: model={':'.join(text.rsplit('.', 1))}; "
    raise ValueError(
        f"model={shown(value)}: there is no such choice; {hint}known: {', '.join(known)}, the name of a network of "
        "torchvision, timm:<name>, hf:<folder or repository>, <module>:<function>"
    )


def _near_torchvision(name: str) -> str:
    near = difflib.get_close_matches(name, torchvision_names(), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _is_dotted(text: str) -> bool:
    return all(map(str.isidentifier, text.split(".")))
