"""Image files opened and checked: each that can't be used is named in one line, in bounded memory.

`check_header` reads a file's head and its last bytes: that it is a file that can be read, an image of a known kind, not
too large, not cut off. `read_image_file` reads all of it. What only the decoding of every pixel shows (damage in the
middle of a file) is an error that names the file whenever it is decoded.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from effbench.checks.errors import kind_and_line
from effbench.data.file_ends import has_end
from effbench.data.paths import shown
from effbench.data.pixel_values import UnknownValuesError, in_mode, treatment

MAX_PIXELS = 89_478_485
"""Images of more pixels are refused before they are decoded: 256 MiB of RGB, where Pillow begins to warn of them."""
MAX_RATIO = 200
"""Images that are longer than so many times their width are refused: resized by their short side they would be huge."""
_LARGE_PIXELS = 2**24
_N_BYTES_SHOWN = 12

Result = TypeVar("Result")

# Threads that decode at once would each hold an image of up to 340 MB.
_one_large_image = threading.Lock()


class _RefusedError(ValueError):
    """What is wrong with a file, without its name."""


def open_image(path: Path, mode: str, /) -> Image.Image:
    """Return an image as it is meant to be seen, in Pillow's `mode` (L or RGB): see `pixel_values.in_mode`.

    Of an animation (GIF, WebP, APNG) or a file of several pages (TIFF) it is the first picture. ValueError names a file
    that can't be decoded, has more than `MAX_PIXELS` pixels, or holds values of which white can't be known.
    """

    def decode(image: Image.Image) -> Image.Image:
        image.load()
        return in_mode(image, mode)

    return _with_image(path, path, decode)


def check_header(path: Path, /) -> str:
    """Return what will be done to an image (`pixel_values.treatment`), by its head. ValueError names one that is none.

    It is decoded only where its values may have no meaning (32 bits), or its end is not there.
    """
    done, is_enough = _with_image(
        path,
        path,
        lambda image: (treatment(image, is_loaded=False), image.mode not in ("I", "F") and has_end(image, path)),
    )
    if not is_enough:
        read_image_file(path)
    return done


def read_image_file(path: Path, /) -> tuple[bytes, str]:
    """Return what is in an image file, and what will be done to the image; ValueError names one that can't be decoded.

    Of a JPEG a small version is decoded: all of the file is read, little is computed.
    """

    def decode(image: Image.Image) -> str:
        image.draft("L", (1, 1))
        image.load()
        done = treatment(image, is_loaded=True)
        if "scaled" in done:
            in_mode(image, "L")
        return done

    content = _with_path(path, lambda: _content(path))
    return content, _with_image(path, io.BytesIO(content), decode)


def picture_size(path: Path, /) -> tuple[int, int]:
    """Return two sides of an image by its head; which is the width, how it is turned decides. ValueError as above."""
    return _with_image(path, path, lambda image: image.size)


def size_and_time(path: Path, /) -> tuple[int, int]:
    """Return the bytes of a file and when it was changed, in nanoseconds. ValueError where it can't be told."""
    about = _with_path(path, path.stat)
    return about.st_size, about.st_mtime_ns


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """While entered, Pillow does not warn (of odd metadata, of large images): what matters is refused with a name.

    To be entered by one thread only, around those that decode.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        yield


def _with_image(path: Path, source: Path | io.BytesIO, use: Callable[[Image.Image], Result]) -> Result:
    """Return what `use` makes of an opened image of an allowed size. ValueError names a file with any fault."""

    def open_and_use() -> Result:
        if isinstance(source, Path):
            _check_file(source)
        with Image.open(source) as image:
            if image.format == "EPS":  # Pillow would have another program run it
                raise _RefusedError("is PostScript, not an image file; remove or convert it")
            _check_size(image.size)
            n_pixels = image.width * image.height
            with _one_large_image if n_pixels > _LARGE_PIXELS else nullcontext():
                return use(image)

    return _with_path(path, open_and_use)


def _with_path(path: Path, use: Callable[[], Result]) -> Result:
    try:
        return use()
    except (_RefusedError, UnknownValuesError) as error:
        reason = str(error)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = _too_large("too many pixels")
    except UnidentifiedImageError:
        begin = _with_path(path, lambda: _begin(path))
        reason = f"not a readable image (of no kind that Pillow knows; it begins with {begin!r}); mend or remove it"
    except OSError as error:
        if error.errno is not None:
            reason = f"can't be read ({error.strerror})"
        else:  # what Pillow calls damaged
            reason = f"not a readable image ({shown(kind_and_line(error))}); mend or remove it"
    except Exception as error:  # on damaged bytes Pillow's decoders raise nearly anything
        reason = f"not a readable image ({shown(kind_and_line(error))}); mend or remove it"
    raise ValueError(f"{shown(path)}: {reason}")


def _check_file(path: Path) -> None:
    """Refuse what is no file before it is opened: opening a pipe waits for somebody who writes into it."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise _RefusedError("is no file any more; remove it")
    if about.st_size == 0:
        raise _RefusedError("not a readable image (it is empty); mend or remove it")


def _check_size(size: tuple[int, int]) -> None:
    pixels = f"{size[0]} x {size[1]} pixels"
    if size[0] * size[1] > MAX_PIXELS:
        raise _RefusedError(_too_large(pixels))
    if max(size) > MAX_RATIO * min(size):
        raise _RefusedError(f"has {pixels}, one side more than {MAX_RATIO} times the other; crop it, or remove it")


def _content(path: Path) -> bytes:
    _check_file(path)
    return path.read_bytes()


def _begin(path: Path) -> bytes:
    with open(os.fspath(path), "rb") as file:
        return file.read(_N_BYTES_SHOWN)


def _too_large(what: str) -> str:
    return f"has {what}, more than the {MAX_PIXELS:,} that are decoded; make it smaller, or remove it"
