import numpy as np
import pytest
from PIL import Image

from effbench.data.file_ends import has_end
from effbench.data.image_files import check_header

KINDS = [("png", {}), ("jpg", {}), ("gif", {}), ("webp", {}), ("bmp", {}), ("ppm", {}), ("pgm", {})]
KINDS += [("tif", {"compression": name}) for name in ("raw", "tiff_lzw", "jpeg")]


def written(path, size=(40, 30), **options):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).convert("L" if path.suffix == ".pgm" else "RGB").save(path, **options)
    return path.read_bytes()


def looks_whole(path):
    with Image.open(path) as image:
        return has_end(image, path)


@pytest.mark.parametrize(("suffix", "options"), KINDS)
@pytest.mark.parametrize("size", [(40, 30), (1, 1), (300, 200)])
def test_whole_files_need_no_decoding(tmp_path, suffix, options, size):
    path = tmp_path / f"a.{suffix}"
    written(path, size, **options)
    assert looks_whole(path)


@pytest.mark.parametrize(("suffix", "options"), [kind for kind in KINDS if kind[0] != "tif" or kind[1] == KINDS[-1][1]])
@pytest.mark.parametrize("n_missing", [100, 300])
def test_cut_off_files_do(tmp_path, suffix, options, n_missing):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(written(path, **options)[:-n_missing])
    if suffix not in ("tif", "webp"):  # these can't be opened when they are cut: Pillow writes a TIFF's head last
        assert not looks_whole(path)
    with pytest.raises(ValueError, match="not a readable image"):
        check_header(path)


def test_a_picture_may_be_well_without_its_end(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(written(path)[:-12])  # the last chunk, which holds nothing
    assert not looks_whole(path)
    assert check_header(path) == ""


def test_other_kinds_are_decoded(tmp_path):
    path = tmp_path / "a.ico"
    written(path)
    assert not looks_whole(path)
    assert check_header(path) in ("", "over white")


def test_a_tiff_with_its_head_first_is_measured_by_its_strips(tmp_path):
    path = tmp_path / "a.tif"
    entries = [(256, 40), (257, 30), (258, 8), (259, 1), (262, 1), (273, 200), (278, 30), (279, 1200)]
    fields = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little") for tag, value in entries
    )
    head = b"II*\0\x08\0\0\0" + len(entries).to_bytes(2, "little") + fields + bytes(4)
    path.write_bytes(head.ljust(200, b"\0") + bytes(1200))
    assert looks_whole(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert not looks_whole(path)
    with pytest.raises(ValueError, match="not a readable image"):
        check_header(path)
