"""Whether an image file has its end, as far as a look at its head and its last bytes tells: most damage is a cut."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

_N_TAIL = 16
_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of a TIFF's strips, of its tiles


def has_end(image: Image.Image, path: Path, /) -> bool:
    """Whether a file seems to be whole. False is only a reason to decode it: many a picture is well without its end.

    image: opened from the file at `path`, not loaded.
    """
    with path.open("rb") as file:
        n_bytes = file.seek(0, 2)
        file.seek(max(0, n_bytes - _N_TAIL))
        tail = file.read()
        file.seek(0)
        head = file.read(_N_TAIL)
    n_values = image.width * image.height * len(image.getbands())
    match image.format:
        case "JPEG" | "MPO":
            return b"\xff\xd9" in tail
        case "PNG":
            return b"IEND" in tail
        case "GIF":
            return tail.endswith(b";")
        case "WEBP":
            return True  # Pillow reads all of it to open it
        case "BMP":
            said, start = int.from_bytes(head[2:6], "little"), int.from_bytes(head[10:14], "little")
            return max(said, start + n_values) <= n_bytes
        case "PPM":
            return head[:2] in (b"P5", b"P6") and n_values < n_bytes
        case "TIFF":
            return _last_byte(image) <= n_bytes
    return False


def _last_byte(image: Image.Image) -> float:
    """Return where the data of a TIFF's pixels ends; infinity where it does not say."""
    tags = getattr(image, "tag_v2", {})
    offsets, counts = (next((tags[tag] for tag in wanted if tag in tags), ()) for wanted in (_OFFSETS, _COUNTS))
    ends = [offset + count for offset, count in zip(offsets, counts, strict=False)]
    return max(ends, default=float("inf"))
