"""What a user's Dataset gives for one example, as an image and a label: each that is none is named in a line.

Images are PIL images, tensors (channels, height, width), arrays (height, width, channels) or (channels, height, width);
grey ones may lack the channels. Whole numbers of 8 bits (and PIL images) will be seen as torchvision's `ToTensor` gives
them, 0 to 1; floats exactly as they are. A label is the number of a class, or one for each pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

IMAGE_KEYS = ("image", "img", "images", "pixel_values", "x", "input")
LABEL_KEYS = ("label", "labels", "target", "y", "class", "mask", "annotation")
"""What items that are mappings call their image and their label."""
_MOST_CHANNELS_LAST = 4
_LARGEST_LABEL = 2**31


class ItemError(ValueError):
    """What is wrong with an item, without the number that it has."""


def image_and_label(item: Any, /) -> tuple[Tensor, Tensor]:
    """Return an example as (channels, height, width) uint8 or float32, and int64 () or (height, width). ItemError."""
    given, said = _pair_of(item)
    image, label = image_of(given), label_of(said)
    if label.ndim and label.shape != image.shape[1:]:
        raise ItemError(f"has {_size(label)} classes for an image of {_size(image)}; one is needed for each pixel")
    return image, label


def _pair_of(item: Any) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        return _value_of(item, IMAGE_KEYS, "image"), _value_of(item, LABEL_KEYS, "label")
    if isinstance(item, tuple | list):
        if len(item) != 2:
            raise ItemError(f"is a {type(item).__name__} of {len(item)}; must be a pair, (image, label)")
        return item[0], item[1]
    raise ItemError(f"is {_kind(item)} without a label; must be a pair, (image, label)")


def _value_of(item: Mapping[Any, Any], names: tuple[str, ...], what: str) -> Any:
    found = [name for name in names if name in item]
    if len(found) != 1:
        there = ", ".join(map(str, item)) or "nothing"
        which = f"both {found[0]} and {found[1]}" if found else f"no {what}"
        raise ItemError(f"has {which} (its keys: {there}); must have one of {', '.join(names)}, or be (image, label)")
    return item[found[0]]


def image_of(value: Any, /) -> Tensor:
    """Return an image as a tensor (channels, height, width), uint8 or float32. ItemError for what is none.

    Whether floats are finite is not looked at: that is quicker for many at once.
    """
    image = _checked_values(_channels_first(value))
    if image.shape[1] != image.shape[2]:
        hint = "; if its channels are last, permute(2, 0, 1)" if image.shape[2] <= _MOST_CHANNELS_LAST else ""
        raise ItemError(f"is an image of {_size(image)}; must be square: crop or resize it in the Dataset{hint}")
    if not image.numel():
        raise ItemError(f"is an image of {tuple(image.shape)}: there is nothing in it")
    return image


def _channels_first(value: Any) -> Tensor:
    if isinstance(value, Image.Image):
        # Of a palette the numbers mean nothing, and white of one bit is 1.
        plain = {"P": "RGB", "PA": "RGBA", "1": "L"}.get(value.mode)
        pixels: Tensor = pil_to_tensor(value if plain is None else value.convert(plain))
        return pixels
    if isinstance(value, Tensor):
        image, channels_last = value, False
    elif isinstance(value, np.ndarray | list):
        image = _tensor_of(value)
        channels_last = image.ndim == 3 and (image.shape[0] == image.shape[1] or image.shape[1] != image.shape[2])
    else:
        raise ItemError(f"has {_kind(value)} for an image; must be a PIL image, a tensor or an array")
    if image.ndim == 2:
        return image[None]
    if image.ndim != 3:
        hint = "; reshape it to (height, width)" if image.ndim == 1 else ""
        raise ItemError(f"has an image of shape {tuple(image.shape)}; must be (channels, height, width){hint}")
    return image.permute(2, 0, 1) if channels_last else image


def _checked_values(image: Tensor) -> Tensor:
    """Return an image of its own memory, uint8 or float32."""
    if image.layout != torch.strided or image.is_quantized or image.is_meta:
        raise ItemError("has an image that is no dense tensor; must be uint8 or floats")
    image = image.detach().as_subclass(Tensor)
    if image.dtype == torch.bool:
        image = image.to(torch.uint8) * 255
    elif image.dtype != torch.uint8 and not image.is_floating_point():
        raise ItemError(_unknown_range(str(image.dtype).removeprefix("torch.")))
    dtype = torch.uint8 if image.dtype == torch.uint8 else torch.float32
    return image.to("cpu", dtype, memory_format=torch.contiguous_format, copy=True).contiguous()


def label_of(value: Any, /) -> Tensor:
    """Return a label as int64, () or (height, width). ItemError for what is none."""
    if type(value) is int and 0 <= value < _LARGEST_LABEL:
        return torch.tensor(value)
    if isinstance(value, str | bytes):
        raise ItemError(f"has the label {value!r:.60}; must be the number of its class, from 0 on")
    if isinstance(value, Image.Image):
        value = np.asarray(value)
    elif isinstance(value, Tensor):
        value = value.detach().as_subclass(Tensor).cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    elif not isinstance(value, bool | int | float | np.ndarray | np.generic | list | tuple):
        raise ItemError(f"has {_kind(value)} for a label; must be the number of its class, from 0 on")
    label = np.asarray(_array_of(value))
    if label.size == 1 and label.ndim < 2:
        label = label.reshape(())
    elif label.ndim == 3 and label.shape[0] == 1:
        label = label[0]
    if label.ndim not in (0, 2):
        hint = "; of one-hot labels take argmax()" if label.ndim == 1 else ""
        raise ItemError(
            f"has a label of shape {label.shape}; must be the number of its class, or one for each pixel{hint}"
        )
    return torch.from_numpy(_whole(label))


def _whole(label: np.ndarray) -> np.ndarray:
    """Return numbers of classes as int64. ItemError for what is none."""
    if label.dtype.kind not in "biuf":
        raise ItemError(f"has a label of {label.dtype}; must be the number of its class, from 0 on")
    if label.dtype.kind == "f":
        label = label.astype(np.float64)
    wrong = label[~((label >= 0) & (label < _LARGEST_LABEL) & (label == np.floor(label)))]
    if wrong.size:
        raise ItemError(f"has the label {wrong.flat[0]}; must be the number of its class: a whole one, from 0 on")
    return np.array(label, dtype=np.int64, order="C")


def _tensor_of(value: Any) -> Tensor:
    array = _array_of(value)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
            array = array.astype(np.float32)
    elif array.dtype not in (np.bool_, np.uint8):
        raise ItemError(_unknown_range(str(array.dtype)))
    return torch.from_numpy(np.array(array, order="C"))


def _unknown_range(dtype: str) -> str:
    return (
        f"has an image of {dtype}, of which white can't be known; must be uint8 (0 to 255), or floats as the network "
        "is to see them"
    )


def _array_of(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:  # lists of different lengths
        raise ItemError("has a list of lists of different lengths; must be an array") from None


def _size(image: Tensor) -> str:
    return " x ".join(map(str, image.shape[-2:]))


def _kind(value: Any) -> str:
    return "nothing (None)" if value is None else f"a {type(value).__name__}"
