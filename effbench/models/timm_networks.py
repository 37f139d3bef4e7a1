"""Any network of timm by name, with its classifier fitted to the data's classes. timm is an extra: effbench[timm]."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from torch import nn

from effbench.checks.errors import first_line, kind_and_line
from effbench.checks.extras import import_extra
from effbench.data.paths import shown
from effbench.models.arguments import require_positive_integers
from effbench.models.weights import load_fitting

VERSION = 1  # bumped when equal options build another network


def timm_model(
    *,
    name: str,
    pretrained: bool = False,
    class_rows: Sequence[int] = (),
    num_classes: int = 1000,
    in_channels: int = 3,
    input_side: int = 224,
) -> nn.Module:
    """Build a network of timm for images (N, in_channels, input_side, input_side).

    Parameters
    ----------
    name
        As in `timm.list_models`, with or without the tag of its weights: "resnet10t", "resnet10t.c3_in1k".
    pretrained
        Whether it has timm's weights, downloaded on first use. A classifier for another number of classes keeps fresh
        values.
    class_rows
        The rows of the weights' classifier that are kept, one for each class of the data: the classes of the weights.
    input_side
        Read by the networks whose tensors depend on it; the others take any side that leaves something to pool.

    Raises
    ------
    ValueError
        Where timm is not installed, knows no such network, has no weights of it, or can't get them; for a side that the
        network refuses.

    Examples
    --------
    >>> timm_model(name="no such network")
    Traceback (most recent call last):
    ValueError: ...
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels, input_side=input_side)
    if not isinstance(pretrained, bool):
        raise ValueError(f"pretrained must be true or false, got {pretrained!r}")
    settings = settings_of(name)
    network = _create(name, settings, input_side, num_classes=num_classes, in_chans=in_channels)
    if pretrained:
        whole = _pretrained(name, settings, input_side, in_channels)
        load_fitting(network, whole.state_dict(), origin=f"timm's weights of {name}", rows=class_rows)
    return network


def settings_of(name: str, /) -> dict[str, Any]:
    """Return what timm says of a network and its weights, such as `input_size`, `mean`, `std` and `crop_pct`.

    ValueError where timm is not there, or has no such network.
    """
    timm = import_extra("timm", needed_by=f"timm:{name}")
    if timm.is_model(name):
        found = timm.get_pretrained_cfg(name)
        if found is not None:
            settings: dict[str, Any] = found.to_dict()
            return settings
        if "." in name:
            base = name.partition(".")[0]
            tags = [known for known in timm.list_pretrained(f"{base}.*") if known.partition(".")[0] == base]
            near = sorted(difflib.get_close_matches(name, tags, n=3)) or tags[:3]
            raise ValueError(f"timm has no weights {shown(name)}; of {base} it has {', '.join(near) or 'none'}")
        return {}
    near = difflib.get_close_matches(str(name).partition(".")[0], timm.list_models(), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists them"
    raise ValueError(f"timm has no network {shown(name)}; {hint}")


def _create(name: str, settings: dict[str, Any], side: int, **options: Any) -> nn.Module:
    """Build a network, telling it the side where it asks for it. ValueError where it can't be built so."""
    timm = import_extra("timm", needed_by=f"timm:{name}")
    usual = (settings.get("input_size") or (3, 224, 224))[-1]
    attempts: list[dict[str, Any]] = [{}]
    if side != usual or settings.get("fixed_input_size"):
        attempts.insert(0, {"img_size": side})
    for sizes in attempts:
        try:
            network: nn.Module = timm.create_model(name, **options, **sizes)
            return network
        except TypeError as error:
            if sizes and "img_size" in str(error):  # its tensors have the same sizes whatever the side
                continue
            raise ValueError(f"{name} can't be built: {first_line(error)}") from error
        except (AssertionError, ValueError, RuntimeError, ZeroDivisionError, IndexError) as error:
            raise ValueError(f"{name} can't be built for input_side {side}: {kind_and_line(error)}") from error
    raise AssertionError("the last attempt returns or raises")


def _pretrained(name: str, settings: dict[str, Any], side: int, in_channels: int) -> nn.Module:
    """Return timm's own network with its weights and its classes."""
    if not any(settings.get(source) for source in ("url", "hf_hub_id", "file")):
        raise ValueError(f"timm has no weights of {name}; give a file: model.weights=…")
    try:
        return _create(name, settings, side, pretrained=True, in_chans=in_channels)
    except ValueError:
        raise
    except Exception as error:  # whatever a download raises
        where = settings.get("url") or f"https://huggingface.co/{settings.get('hf_hub_id')}"
        raise ValueError(
            f"timm's weights of {name} can't be had from {where} ({kind_and_line(error)}); download them where there "
            "is a network, and give the file: model.weights=…"
        ) from None
