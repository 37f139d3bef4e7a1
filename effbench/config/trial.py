"""Try a configuration's data and network out, before anything starts: what fails is the user's, and told in a line."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from effbench.data import ImageData
from effbench.measure.size import float32_bytes
from effbench.plan.blueprint import Blueprint
from effbench.plan.point import build_network, load_data


def read_data(data: Blueprint) -> ImageData:
    """Return the data set. ValueError for what is no data set, and for options of the wrong kind."""
    for name in ("side", "split_seed"):
        value = data.options.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < (name == "side"):
            raise ValueError(f"data.{name}={value}: must be a whole number, {int(name == 'side')} or more")
    try:
        return load_data(data)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(("data", "_target_")) else f"data: {message}") from None
    except Exception as error:
        raise ValueError(f"data: {data.target} can't be loaded: {_what_and_where(error)}") from None


@dataclass(frozen=True)
class Trial:
    """What is known of a network that was built, and run on one image of each side."""

    float32_bytes: int
    is_grouped: bool
    """Whether it has grouped or depthwise convolutions."""


def check_shapes(network: Blueprint, data: Blueprint, side: int, eval_side: int, *, where: str) -> Trial:
    """Try a network out. ValueError where it can't be built, or run at both sides."""
    found = _try_out(network, data, side, eval_side)
    if isinstance(found, str):
        raise ValueError(found if where == "reference" else f"{where}: {found}")
    return found


@lru_cache(maxsize=1024)
def _try_out(network: Blueprint, data: Blueprint, side: int, eval_side: int) -> Trial | str:
    """Return what a trial shows of a network, or why it can't be run."""
    loaded = load_data(data)
    try:
        with torch.random.fork_rng(devices=[]):
            model = build_network(network, loaded, side)
    except ValueError as error:
        return str(error)
    except Exception as error:  # whatever a user's network raises
        return f"{network.target} can't be built: {_what_and_where(error)}"
    for pixels in sorted({side, eval_side}):
        try:
            with torch.random.fork_rng(devices=[]), torch.inference_mode():
                scores = model.eval()(torch.zeros(1, loaded.channels, pixels, pixels))
        except Exception as error:
            return f"{network.target} can't take images of {pixels} x {pixels}: {_what_and_where(error)}"
        if getattr(scores, "shape", None) != (1, loaded.n_classes):
            got = f"shape {tuple(scores.shape)}" if isinstance(scores, torch.Tensor) else f"a {type(scores).__name__}"
            return f"{network.target} must give (1, {loaded.n_classes}) scores for one image, but gives {got}"
    return Trial(float32_bytes(model), any(getattr(module, "groups", 1) != 1 for module in model.modules()))


def _what_and_where(error: Exception) -> str:
    """Return an exception in one line, with the line of the user's own file that raised it, if one did."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_NOT_THE_USERS)]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{first if isinstance(error, ValueError) else f'{type(error).__name__}: {first}'}{place}"


_NOT_THE_USERS = (str(Path(__file__).parents[1]), str(Path(torch.__file__).parent), "<")
