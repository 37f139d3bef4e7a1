import io

import numpy as np
import pytest
from PIL import Image

from effbench.data.image_files import open_image, quiet_pillow
from effbench.data.pixel_values import UnknownValuesError, in_mode, treatment

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.fixture(autouse=True)
def quiet():
    with quiet_pillow():
        yield


def written(image, kind, **options):
    """Return an image as it comes back from a file's bytes, and the bytes."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def read(content, mode="L"):
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return np.asarray(in_mode(image, mode))


def treated(content, *, is_loaded=True):
    with Image.open(io.BytesIO(content)) as image:
        if is_loaded:
            image.load()
        return treatment(image, is_loaded=is_loaded)


class TestSixteenBits:
    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
    def test_the_full_range_becomes_the_full_range(self, kind):
        values = RAMP.astype(np.uint16) * 257
        in_ppm = b"P5 16 16 65535\n" + values.astype(">u2").tobytes()
        content = in_ppm if kind == "PPM" else written(Image.fromarray(values), kind)
        assert np.array_equal(read(content), RAMP)
        assert np.array_equal(read(content, "RGB"), np.stack([RAMP] * 3, -1))
        assert treated(content) == treated(content, is_loaded=False) == "scaled"

    def test_a_dark_image_stays_dark(self):
        dark = written(Image.fromarray(RAMP.astype(np.uint16)), "PNG")
        assert read(dark).max() == 0

    def test_of_either_byte_order(self):
        values = RAMP.astype(np.uint16) * 257 + (RAMP < 255).astype(np.uint16)
        for order, head in (("little", b"II*\0"), ("big", b"MM\0*")):
            assert np.array_equal(read(tiff(values, head, order)), RAMP)

    def test_grey_and_colour_of_the_same_values_are_the_same(self):
        values = np.random.default_rng(0).integers(0, 2**16, (16, 16)).astype(np.uint16)
        grey = read(written(Image.fromarray(values), "PNG"), "RGB")
        colour = read(tiff(np.stack([values] * 3, -1), b"II*\0", "little"), "RGB")
        assert np.array_equal(grey, colour)

    def test_twelve_bits_of_a_tiff_are_twelve(self):
        pairs = (RAMP.astype(np.uint32) * 4095 // 255).reshape(-1, 2)
        packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], -1)
        content = tiff(packed.astype(np.uint8), b"II*\0", "little", bits=12, shape=(16, 16, 1))
        assert np.array_equal(read(content), RAMP)


class TestValuesWithoutAWhiteOfTheirOwn:
    @pytest.mark.parametrize("dtype", [np.int32, np.float32])
    def test_are_taken_in_the_range_that_can_only_mean_one_thing(self, dtype):
        values = RAMP.astype(dtype) if dtype == np.int32 else RAMP / dtype(255)
        content = written(Image.fromarray(values), "TIFF")
        assert np.array_equal(read(content), RAMP)
        assert np.array_equal(read(content, "RGB")[..., 1], RAMP)
        assert treated(content) == "scaled"

    @pytest.mark.parametrize(
        ("values", "named"),
        [
            (np.array([[0, 70_000]], np.int32), "integers of 32 bits from 0 to 70000,.* write them from 0 to 255, or"),
            (np.array([[-1, 9]], np.int32), "integers of 32 bits from -1 to 9"),
            (np.array([[0, 255]], np.float32), "floats from 0 to 255,.* write them from 0 to 1, or as 8 or 16 bits"),
            (np.array([[-0.5, 0.5]], np.float32), r"floats from -0\.5 to 0\.5"),
            (np.array([[0, np.nan]], np.float32), "floats from nan to nan"),
            (np.array([[0, np.inf]], np.float32), "floats from 0 to inf"),
        ],
    )
    def test_are_refused_beyond_it(self, values, named):
        with pytest.raises(UnknownValuesError, match=named):
            read(written(Image.fromarray(values), "TIFF"))

    def test_signed_integers_of_sixteen_bits_are_integers(self):
        content = tiff(RAMP.astype(np.int16), b"II*\0", "little", sample_format=2)
        assert np.array_equal(read(content), RAMP)
        with pytest.raises(UnknownValuesError, match="from -128 to"):
            read(tiff(RAMP.astype(np.int16) - 128, b"II*\0", "little", sample_format=2))

    def test_lab_is_refused(self):
        content = written(Image.new("LAB", (4, 4)), "TIFF")
        for act in (read, treated, lambda content: treated(content, is_loaded=False)):
            with pytest.raises(UnknownValuesError, match="colours are in LAB; save it as RGB"):
                act(content)


class TestTransparency:
    """A red square, of which the left half is transparent (over hidden black, where a format can hide it)."""

    def half(self, mode):
        image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
        image.paste((200, 0, 0, 255), (4, 0, 8, 8))
        return image if mode == "RGBA" else image.convert(mode)

    @pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "RGB", "L", "GIF", "WEBP"])
    def test_is_laid_over_white(self, kind):
        if kind == "GIF":
            content = written(self.half("RGBA"), "GIF")
        elif kind == "WEBP":
            content = written(self.half("RGBA"), "WEBP", lossless=True)
        elif kind == "P":
            image = Image.new("P", (8, 8))
            image.putpalette([0, 0, 0, 200, 0, 0])
            image.paste(1, (4, 0, 8, 8))
            content = written(image, "PNG", transparency=bytes([0, 255]))
        elif kind in ("RGB", "L"):
            content = written(self.half(kind), "PNG", transparency=0 if kind == "L" else (0, 0, 0))
        else:
            content = written(self.half(kind), "PNG")
        pixels = read(content, "RGB")
        assert (pixels[:, :4] == 255).all()
        assert (pixels[:, 4:] == ((60, 60, 60) if kind in ("L", "LA") else (200, 0, 0))).all()
        assert treated(content) == treated(content, is_loaded=False) == "over white"

    def test_half_of_it_is_half_white(self):
        image = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
        assert read(written(image, "PNG")).tolist() == [[127, 127], [127, 127]]

    @pytest.mark.parametrize("alpha", [0, 255])
    def test_of_all_or_nothing_is_none(self, alpha):
        image = Image.merge("RGBA", [Image.fromarray(RAMP)] * 3 + [Image.new("L", (16, 16), alpha)])
        content = written(image, "PNG")
        assert np.array_equal(read(content), RAMP)
        assert treated(content) == ""
        assert treated(content, is_loaded=False) == "over white", "a header does not tell"


class TestTurned:
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_images_stand_upright(self, kind, orientation):
        upright = np.zeros((16, 32), np.uint8)
        upright[:8, :16] = 255  # the upper left is white
        turns = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose}
        turns |= {6: np.rot90, 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1)}
        stored = turns.get(orientation, lambda a: a)(upright)
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if kind == "WEBP" else {}
        content = written(Image.fromarray(np.ascontiguousarray(stored)).convert("RGB"), kind, exif=exif, **options)
        assert np.abs(read(content).astype(int) - upright).max() <= 2
        # Pillow turns a TIFF itself: what was right before has the fingerprint that it had.
        expected = "" if orientation == 1 or kind == "TIFF" else "turned"
        assert treated(content) == treated(content, is_loaded=False) == expected

    @pytest.mark.parametrize("exif", [b"Exif\0\0damaged", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + b"MM\0*" * 9])
    def test_damaged_exif_is_no_matter(self, exif):
        content = written(Image.fromarray(RAMP).convert("RGB"), "PNG", exif=exif)
        assert np.array_equal(read(content), RAMP)
        assert treated(content) == ""


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
@pytest.mark.parametrize("wanted", ["L", "RGB"])
def test_others_are_as_pillow_converts_them(mode, wanted):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    content = written(Image.fromarray(pixels).convert(mode), "TIFF")
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == mode
        assert np.array_equal(read(content, wanted), np.asarray(image.convert(wanted)))
    assert treated(content) == treated(content, is_loaded=False) == ""


@pytest.mark.parametrize("says_so", [True, False])
def test_cmyk_of_a_jpeg_is_inverted_as_adobe_has_it(says_so):
    content = written(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")  # red
    if not says_so:
        at = content.index(b"Adobe") - 4
        content = content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4]) :]
    assert np.abs(read(content, "RGB")[8, 8].astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_picture_counts(tmp_path, kind):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "a", kind, save_all=True, append_images=[second])
    assert np.abs(np.asarray(open_image(tmp_path / "a", "RGB"))[4, 4].astype(int) - [255, 0, 0]).max() <= 3


def tiff(values, magic, order, *, bits=None, shape=None, sample_format=1):
    """Return an uncompressed TIFF of one strip: what Pillow does not write itself."""
    height, width, samples = (*(shape or values.shape), 1)[:3]
    depth = bits or 8 * values.itemsize
    data = values.astype(values.dtype.newbyteorder({"little": "<", "big": ">"}[order])).tobytes()
    entries = [(256, 4, width), (257, 4, height), (258, 3, depth), (259, 3, 1), (262, 3, 2 if samples == 3 else 1)]
    entries += [(273, 4, 0), (277, 3, samples), (278, 4, height), (279, 4, len(data)), (339, 3, sample_format)]
    n_head = 8 + 2 + 12 * len(entries) + 4
    out = magic + (8).to_bytes(4, order) + len(entries).to_bytes(2, order)
    extra = b""
    for tag, kind, value in entries:
        if tag == 273:
            value = n_head + 6 * (samples == 3) * 2
        n = samples if tag in (258, 339) else 1
        field = value.to_bytes(2, order) + b"\0\0" if kind == 3 else value.to_bytes(4, order)
        if n == 3:
            field = (n_head + len(extra)).to_bytes(4, order)
            extra += value.to_bytes(2, order) * 3
        out += tag.to_bytes(2, order) + kind.to_bytes(2, order) + n.to_bytes(4, order) + field
    return out + bytes(4) + extra + data
