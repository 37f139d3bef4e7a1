"""torchvision's own weights by their names: which there are, what they are for, and getting them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

from torch import Tensor, nn

from effbench.checks.errors import first_line, kind_and_line
from effbench.data.paths import shown

if TYPE_CHECKING:
    from torchvision.models import Weights


def weights_of_torchvision(name: str, weights: str, /) -> Weights:
    """Return torchvision's entry for weights of a network: its address, its transforms, its classes.

    ValueError for a name that the network has none of; the nearest is suggested, all are listed.
    """
    import torchvision  # here, because it takes longer to import than a small sweep takes to plan

    entries = torchvision.models.get_model_weights(name)
    known = [entry.name for entry in entries]
    wanted = "DEFAULT" if weights == "default" else without_prefix(weights)
    if wanted in entries.__members__:
        entry: Weights = entries[wanted]
        return entry
    near = difflib.get_close_matches(wanted.upper(), ["DEFAULT", *known], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ValueError(
        f"weights={shown(weights)}: {name} has no weights of that name, and there is no file so called; {hint}"
        f"known: none, DEFAULT, {', '.join(known)}, or the path of a file"
    )


def usual_entry(name: str, /) -> Weights | None:
    """Return the weights that torchvision has had longest for a network; None for a name that it does not know."""
    import torchvision

    if name not in torchvision.models.list_models(module=torchvision.models):
        return None
    entries = torchvision.models.get_model_weights(name)
    first: Weights | None = next(iter(entries), None)
    return getattr(entries, "IMAGENET1K_V1", first)


def names_weights(name: str, weights: str | None, /) -> bool:
    """Whether a text is a name of torchvision's weights, or can be nothing else. ValueError where it is none of them.

    >>> names_weights("resnet18", "IMAGENET1K_V1"), names_weights("resnet18", "best.pth"), names_weights("vgg11", None)
    (True, False, False)
    """
    if weights in (None, "none"):
        return False
    text = str(weights)
    is_name = re.fullmatch(r"([A-Za-z0-9_]+_Weights\.)?[A-Za-z0-9_]+", text) is not None
    if not is_name or Path(text).exists():
        return False
    weights_of_torchvision(name, text)
    return True


def without_prefix(weights: str, /) -> str:
    """Return the name that torchvision's builders take: without the name of its enumeration, and default in capitals.

    >>> without_prefix("ResNet18_Weights.IMAGENET1K_V1"), without_prefix("default")
    ('IMAGENET1K_V1', 'DEFAULT')
    """
    name = weights.rpartition(".")[2]
    return "DEFAULT" if name == "default" else name


def download(name: str, weights: str, build: Callable[[], nn.Module], /) -> nn.Module:
    """Return what `build` makes, which has torchvision fetch weights. ValueError, in one line, where they can't be had.

    What was fetched before lies in the cache of torch.hub, and no network is needed.
    """
    try:
        return build()
    except (URLError, OSError, RuntimeError) as error:
        address = getattr(weights_of_torchvision(name, weights), "url", "")
        reason = getattr(error, "reason", None)
        raise ValueError(
            f"weights={weights}: of {name} can't be had from {address} "
            f"({first_line(str(reason)) if reason else kind_and_line(error)}); download that file where there is a "
            "network, and give its path: model.weights=…"
        ) from None


def is_torchvisions(name: str, path: str, /) -> bool:
    """Whether a file is called as torchvision's own of a network, whose hash is part of the name.

    >>> is_torchvisions("googlenet", "nets/googlenet-1378be20.pth"), is_torchvisions("googlenet", "best.pth")
    (True, False)
    """
    import torchvision

    urls = (getattr(entry, "url", "") for entry in torchvision.models.get_model_weights(name))
    return Path(path).name in {url.rpartition("/")[2] for url in urls}


_OLD_LAYER = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


def renamed(name: str, state: Mapping[str, Tensor], /) -> dict[str, Tensor]:
    """Return tensors by the names that torchvision's networks have today: files of DenseNets are older than these."""
    if not name.startswith("densenet"):
        return dict(state)
    return {_OLD_LAYER.sub(r"\1\2.", key): tensor for key, tensor in state.items()}
