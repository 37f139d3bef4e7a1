import io
import os
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from effbench.data import image_files
from effbench.data.image_files import MAX_PIXELS, check_header, open_image, quiet_pillow, read_image_file, size_and_time

CHECKS = [read_image_file, check_header, lambda path: open_image(path, "RGB")]


def noise(size=(9, 9)):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8))


def png_header(width, height):
    """The beginning of a PNG of that size: it needs no pixels to be opened."""
    about = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [len(part[4:]).to_bytes(4) + part + zlib.crc32(part).to_bytes(4) for part in (about, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def refusal(check, path):
    with pytest.raises(ValueError, match=r"a\.|b\.|large\.") as refused:
        check(path)
    message = str(refused.value)
    assert message.startswith(str(path)) and message.isprintable(), "one line that names the file"
    assert refused.value.__cause__ is None
    return message.removeprefix(f"{path}: ")


def test_images_are_decoded_in_the_mode_asked_for(tmp_path):
    image = noise((5, 7))
    image.save(tmp_path / "a.png")
    assert np.array_equal(open_image(tmp_path / "a.png", "RGB"), image)
    assert np.asarray(open_image(tmp_path / "a.png", "L")).shape == (5, 7)
    assert check_header(tmp_path / "a.png") == ""


def test_content_comes_as_it_is_on_disk(tmp_path):
    stream = io.BytesIO()
    noise().save(stream, "JPEG")
    (tmp_path / "a.jpg").write_bytes(stream.getvalue())
    assert read_image_file(tmp_path / "a.jpg") == (stream.getvalue(), "")
    assert size_and_time(tmp_path / "a.jpg") == (len(stream.getvalue()), (tmp_path / "a.jpg").stat().st_mtime_ns)


class TestRefusals:
    @pytest.mark.parametrize("check", CHECKS)
    @pytest.mark.parametrize(
        ("content", "named"),
        [
            (b"", r"not a readable image \(it is empty\); mend or remove it"),
            (b"<!DOCTYPE html>\n<html>", r"it begins with b'<!DOCTYPE ht'\); mend"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", r"it begins with b'\\x00\\x00\\x00\\x18ftypheic'"),
            (b"version https://git-lfs", "it begins with b'version http'"),
            (b"\x1b[2J\n\xff", r"it begins with b'\\x1b\[2J\\n\\xff'"),
        ],
    )
    def test_what_is_no_image(self, tmp_path, check, content, named):
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(ValueError, match=named):
            check(tmp_path / "a.jpg")
        refusal(check, tmp_path / "a.jpg")

    @pytest.mark.parametrize("check", CHECKS)
    def test_what_is_no_file_and_never_waits(self, tmp_path, check):
        os.mkfifo(tmp_path / "a.png")
        assert refusal(check, tmp_path / "a.png").startswith("is no file any more")
        (tmp_path / "b.png").mkdir()
        assert refusal(check, tmp_path / "b.png").startswith("is no file any more")

    @pytest.mark.parametrize("check", [*CHECKS, size_and_time])
    def test_what_has_gone(self, tmp_path, check):
        assert refusal(check, tmp_path / "a.png") == "can't be read (No such file or directory)"

    @pytest.mark.parametrize("check", [lambda path: open_image(path, "L"), check_header])
    def test_what_may_not_be_read(self, tmp_path, monkeypatch, check):
        noise().save(tmp_path / "a.png")

        def deny(path, *args):
            raise PermissionError(13, "Permission denied", str(path))  # root may read everything

        monkeypatch.setattr(Image, "open", deny)
        assert refusal(check, tmp_path / "a.png") == "can't be read (Permission denied)"

    @pytest.mark.parametrize("kind", ["png", "jpg", "gif", "tif", "webp", "bmp", "ppm"])
    @pytest.mark.parametrize("check", [read_image_file, lambda path: open_image(path, "RGB")])
    def test_what_is_cut_off(self, tmp_path, kind, check):
        path = tmp_path / f"a.{kind}"
        noise((64, 64)).save(path)
        whole = path.read_bytes()
        check(path)
        for n_bytes in (1, 20, len(whole) // 2):
            path.write_bytes(whole[:n_bytes])
            assert "not a readable image (" in refusal(check, path)

    @pytest.mark.parametrize("size", [(13_000, 13_000), (MAX_PIXELS + 1, 1), (2**31 - 1, 2**31 - 1)])
    @pytest.mark.parametrize("check", CHECKS)
    def test_what_is_too_large(self, tmp_path, size, check):
        (tmp_path / "a.png").write_bytes(png_header(*size))
        with quiet_pillow():
            message = refusal(check, tmp_path / "a.png")
        assert message.endswith("more than the 89,478,485 that are decoded; make it smaller, or remove it")
        assert (f"{size[0]} x {size[1]} pixels" if size[0] < 2**31 - 1 else "too many pixels") in message

    def test_a_limit_of_the_user_s_own_is_kept(self, tmp_path, monkeypatch):
        noise((20, 20)).save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        assert "too many pixels" in refusal(check_header, tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        (tmp_path / "b.png").write_bytes(png_header(2**20, 2**20))
        assert "has 1048576 x 1048576 pixels" in refusal(check_header, tmp_path / "b.png")

    def test_names_are_escaped(self, tmp_path):
        path = tmp_path / os.fsdecode(b"\xff\n\x1b[2J.png")
        path.write_bytes(b"")
        with pytest.raises(ValueError, match="it is empty") as refused:
            check_header(path)
        assert str(refused.value).isprintable() and r"\udcff\n\x1b[2J.png" in str(refused.value)


@pytest.mark.filterwarnings("error")
def test_pillow_neither_warns_nor_fails_under_warnings_as_errors(tmp_path):
    (tmp_path / "large.png").write_bytes(png_header(10_000, 9_000))  # Pillow warns of it
    palette = Image.new("P", (8, 8))
    palette.save(tmp_path / "palette.png", transparency=bytes([0, 9]))  # and of this, when it is converted
    exif = noise()
    exif.save(tmp_path / "exif.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    with quiet_pillow():
        assert "10000 x 9000 pixels" in refusal(check_header, tmp_path / "large.png")
        for name in ("palette.png", "exif.jpg"):
            read_image_file(tmp_path / name)
            open_image(tmp_path / name, "RGB")
        with pytest.raises(UserWarning, match="of others"):
            warnings.warn("of others", UserWarning, stacklevel=1)


def test_large_images_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    noise((20, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(image_files, "_LARGE_PIXELS", 399)
    entered = []
    monkeypatch.setattr(
        image_files, "treatment", lambda image, **_: entered.append(image_files._one_large_image.locked())
    )
    check_header(tmp_path / "a.png")
    monkeypatch.setattr(image_files, "_LARGE_PIXELS", 400)
    check_header(tmp_path / "a.png")
    assert entered == [True, False]
