"""What a decoded image's values mean, in eight bits: one rule a mode, the same for every image of a data set.

No image is stretched to its own darkest and brightest value: images would not be comparable any more.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from PIL.Image import Transpose

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What undoes each orientation of EXIF."""
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}
_WITHOUT_A_MEANING = {"LAB": "colours are in LAB", "HSV": "colours are in HSV"}


class UnknownValuesError(ValueError):
    """An image that can be decoded, but of which nobody can tell what is black and what is white."""


def in_mode(image: Image.Image, mode: str, /) -> Image.Image:
    """Return an image that is loaded as it is meant to be seen, in Pillow's mode `mode` (L or RGB).

    * Grey of 16 bits: the higher eight, which is what Pillow takes of colours of 16 bits. Of a TIFF of 12 bits: the
      highest eight of the twelve.
    * Integers of 32 bits and floats have no white of their own. Integers are taken from 0 to 255, floats from 0 to 1;
      an image with any other value is refused, with its range.
    * Transparency (an alpha channel, a transparent colour of a palette, of grey or RGB): laid over white. An image that
      is transparent everywhere is taken as opaque.
    * What EXIF says of how the camera was held: turned upright.
    * CMYK (inverted ones of Adobe's too), YCbCr, palettes, one bit: as Pillow converts them, without colour profiles.
      LAB is refused.
    * Grey from colour is ITU-R 601-2's luma.
    """
    turn = _TURNS.get(_orientation(image))
    plain = _eight_bits(image)
    if has_alpha(plain):
        plain = _over_white(plain)
    plain = plain.convert(mode)
    return plain if turn is None else plain.transpose(turn)


def treatment(image: Image.Image, /, *, is_loaded: bool) -> str:
    """Say what is done to an image but for Pillow's own conversion: "" for plain ones.

    It is part of a data set's fingerprint. Of an image that is not loaded only the header tells: transparency counts
    where there may be some.
    """
    words = []
    if image.mode.startswith("I") or image.mode == "F":
        words.append("scaled")
    elif image.mode in _WITHOUT_A_MEANING:
        raise UnknownValuesError(_refusal(image))
    elif has_alpha(image) and not (is_loaded and _over_white(image) is image):
        words.append("over white")
    # A PNG may say how it is turned after its pixels: asking would load it.
    if (is_loaded or image.format != "PNG" or "exif" in image.info) and _orientation(image) in _TURNS:
        words.append("turned")
    return ", ".join(words)


def has_alpha(image: Image.Image, /) -> bool:
    """Whether an image may be transparent."""
    return image.mode in _WITH_ALPHA or ("transparency" in image.info and not image.mode.startswith(("I", "F")))


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in _WITHOUT_A_MEANING:
        raise UnknownValuesError(_refusal(image))
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):  # Pillow 10 has "I"
        twelve = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE) == (12,)
        return Image.fromarray((np.asarray(image) >> (4 if twelve else 8)).astype(np.uint8))
    if image.mode in _PREMULTIPLIED:
        return image.convert(_PREMULTIPLIED[image.mode])
    if image.mode not in ("I", "F"):
        return image
    values, highest = np.asarray(image), 255 if image.mode == "I" else 1
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high) and low >= 0 and high <= highest):
        kind = "integers of 32 bits" if image.mode == "I" else "floats"
        raise UnknownValuesError(
            f"holds {kind} from {low:g} to {high:g}, of which white can't be known; "
            f"write them from 0 to {highest}, or as 8 or 16 bits"
        )
    return Image.fromarray(np.rint(values * (255 / highest)).astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    """Return an image laid over white; the image itself where nothing in it is transparent, or everything."""
    colours = image.convert("RGBA")
    lowest, highest = colours.getchannel("A").getextrema()
    if lowest == 255 or highest == 0:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert("RGB")


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow turns it itself when it is loaded; the tag may still be there
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF is often damaged where the picture is not
        return 1


def _refusal(image: Image.Image) -> str:
    return f"{_WITHOUT_A_MEANING[image.mode]}; save it as RGB"
