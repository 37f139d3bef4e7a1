"""Image classifiers of transformers, from a folder of `save_pretrained` or a repository of the Hugging Face hub.

transformers is an extra: effbench[transformers]. No code of a repository is run (`trust_remote_code` is never given).
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from effbench.checks.errors import kind_and_line
from effbench.checks.extras import import_extra
from effbench.data.paths import shown
from effbench.models.arguments import require_positive_integers
from effbench.models.weights import load_fitting, read_state_dict

VERSION = 1  # bumped when equal options build another network

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_REPOSITORY = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def hf_model(
    *,
    name: str,
    config: str | None = None,
    weights: str | None = None,
    weights_entry: str | None = None,
    class_rows: Sequence[int] = (),
    num_classes: int = 1000,
    in_channels: int = 3,
    input_side: int = 224,
) -> nn.Module:
    """Build an image classifier of transformers that returns its logits: (N, in_channels, H, W) → (N, num_classes).

    Parameters
    ----------
    name
        A folder of `save_pretrained`, or a repository such as "google/vit-base-patch16-224", which is downloaded.
    config
        The path of its config.json; None: that of `name`.
    weights
        The path of its weights; None or "none": fresh ones.
    class_rows
        The rows of the weights' classifier that are kept, one for each class of the data: the classes of the weights.
    input_side
        Read by the networks whose configuration has an `image_size`.

    Grey images are repeated to three channels where the configuration has three.

    Raises
    ------
    ValueError
        Where transformers is not installed, the folder or repository can't be had, is no image classifier or comes with
        code of its own; for weights that do not fit.

    Examples
    --------
    >>> hf_model(name="no such folder")
    Traceback (most recent call last):
    ValueError: ...
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels, input_side=input_side)
    path = folder_of(name) / CONFIG if config is None else Path(config)
    settings = _configuration(path, name)
    settings.num_labels = num_classes
    channels = _fit_channels(settings, in_channels, name)
    if hasattr(settings, "image_size"):
        settings.image_size = [input_side] * 2 if isinstance(settings.image_size, list | tuple) else input_side
    network = _Logits(_build(settings, name), channels)
    if weights not in (None, "none"):
        file = Path(str(weights)).expanduser()
        state = (
            _state_of(file, path, name) if file.parent == path.parent else read_state_dict(file, entry=weights_entry)
        )
        load_fitting(network, state, origin=str(weights), rows=class_rows)
    return network


class _Logits(nn.Module):
    """A classifier of transformers, of whose outputs the logits are given."""

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network = network
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (n, num_classes) of images (n, channels, height, width)."""
        if images.shape[1] == 1 < self.channels:
            images = images.expand(-1, self.channels, *images.shape[2:])
        logits: Tensor = self.network(pixel_values=images).logits
        return logits


def folder_of(name: str, /) -> Path:
    """Return the folder with a network's configuration and weights; a repository's is downloaded to the hub's cache.

    ValueError, in one line, where there is none.
    """
    try:
        folder = Path(name).expanduser()
        is_folder = folder.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"hf:{shown(name)}: can't be a folder ({shown(error)})") from None
    if is_folder:
        if not (folder / CONFIG).is_file():
            raise ValueError(f"hf:{shown(name)}: has no {CONFIG}; give a folder that save_pretrained wrote")
        return folder
    if not _REPOSITORY.fullmatch(name) or folder.exists():
        what = "is a file; give the folder it lies in" if folder.exists() else "there is no such folder"
        raise ValueError(f"hf:{shown(name)}: {what}")
    hub = import_extra("huggingface_hub", needed_by=f"hf:{name}", extra="transformers")
    wanted = [CONFIG, "preprocessor_config.json", *WEIGHTS[:1]]
    try:
        with _quietly():
            return Path(hub.snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # whatever a download raises
        raise ValueError(
            f"hf:{shown(name)}: there is no such folder, and no such repository can be had ({kind_and_line(error)}); "
            "give a folder that save_pretrained wrote"
        ) from None


def weights_in(folder: Path, /) -> Path | None:
    """Return the file of weights in a folder, None where there is none. ValueError where they lie in several files."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
        if (folder / f"{name}.index.json").is_file():
            raise ValueError(
                f"hf:{shown(folder)}: its weights lie in several files; save them as one: "
                "save_pretrained(…, max_shard_size='100GB')"
            )
    return None


def _configuration(path: Path, name: str) -> Any:
    transformers = import_extra("transformers", needed_by=f"hf:{name}")
    try:
        return transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # whatever transformers raises of a configuration that it can't read
        raise ValueError(f"hf:{shown(name)}: {shown(path)} can't be read ({kind_and_line(error)})") from None


def _fit_channels(settings: Any, in_channels: int, name: str) -> int:
    """Return the channels that the network will take; its configuration is told where it may have others."""
    channels = getattr(settings, "num_channels", 3)
    if in_channels in (channels, 1 if channels == 3 else channels):
        return int(channels)
    if not hasattr(settings, "num_channels"):
        raise ValueError(f"hf:{name} takes images of 3 channels, or 1 (grey, repeated to three), got {in_channels}")
    settings.num_channels = in_channels
    return in_channels


def _build(settings: Any, name: str) -> nn.Module:
    transformers = import_extra("transformers", needed_by=f"hf:{name}")
    try:
        with _quietly():
            network: nn.Module = transformers.AutoModelForImageClassification.from_config(
                settings, trust_remote_code=False, dtype=torch.float32
            )
    except Exception as error:  # a configuration of another kind of network, sizes that don't go together
        reason = str(error).partition("Model type should be")[0]
        raise ValueError(
            f"hf:{shown(name)}: can't be built as an image classifier ({type(error).__name__}: {shown(reason.strip())})"
        ) from None
    return network.float()


def _state_of(file: Path, config: Path, name: str) -> dict[str, Tensor]:
    """Return a folder's tensors as transformers reads them: names in files are not always those of networks."""
    read_state_dict(file)  # what is no such file is refused in one line
    transformers = import_extra("transformers", needed_by=f"hf:{name}")
    with _quietly():
        network = transformers.AutoModelForImageClassification.from_pretrained(
            config.parent, trust_remote_code=False, dtype=torch.float32, local_files_only=True
        )
    state: dict[str, Tensor] = network.state_dict()
    return state


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what transformers and its hub log of networks that they build and fetch, and their progress bars."""
    bars = [sys.modules.get("transformers.utils.logging"), sys.modules.get("huggingface_hub.utils")]
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        for module in filter(None, bars):
            getattr(module, "disable_progress_bar", getattr(module, "disable_progress_bars", _nothing))()
        yield
    finally:
        for module in filter(None, bars):
            getattr(module, "enable_progress_bar", getattr(module, "enable_progress_bars", _nothing))()
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _nothing() -> None: ...
