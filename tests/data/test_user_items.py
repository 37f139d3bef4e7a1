"""What may be an example, and what is said of what is none."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms.functional import to_tensor

from effbench.data.user_items import ItemError, image_and_label, image_of, label_of

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
COLOUR = np.stack([GREY, GREY.T, 255 - GREY], axis=2)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "LA", "1", "F"])
def test_pil_images_and_arrays_are_seen_as_to_tensor_gives_them(mode):
    image = (
        Image.fromarray(COLOUR).convert("L").convert(mode) if mode in "F1LA" else Image.fromarray(COLOUR).convert(mode)
    )
    found = image_of(image)
    assert torch.equal(found / 255 if found.dtype == torch.uint8 else found, to_tensor(image).float())


def test_a_palette_is_seen_in_its_colours():
    image = Image.fromarray(COLOUR).convert("P")
    assert torch.equal(image_of(image), image_of(image.convert("RGB")))


@pytest.mark.parametrize(
    "same",
    [
        COLOUR,
        COLOUR.transpose(2, 0, 1),
        COLOUR[::-1][::-1],
        COLOUR.tolist() and np.asfortranarray(COLOUR),
        torch.from_numpy(COLOUR).permute(2, 0, 1),
        tv_tensors.Image(torch.from_numpy(COLOUR).permute(2, 0, 1)),
        Image.fromarray(COLOUR),
    ],
)
def test_one_image_in_any_container_is_the_same(same):
    found = image_of(same)
    assert type(found) is torch.Tensor and found.is_contiguous() and found.dtype == torch.uint8
    assert torch.equal(found, torch.from_numpy(COLOUR).permute(2, 0, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_are_kept_as_they_are_in_float32(dtype):
    values = torch.randn(3, 4, 4, dtype=torch.float64).to(dtype).requires_grad_()
    assert torch.equal(image_of(values), values.detach().float())
    if dtype != torch.bfloat16:
        assert torch.equal(image_of(values.detach().numpy()), values.detach().float())
    big_endian = np.linspace(0, 1, 16).reshape(4, 4).astype(">f8")
    assert torch.equal(image_of(big_endian)[0], torch.from_numpy(big_endian.astype(np.float32)))


def test_grey_may_lack_its_channel_and_bits_are_black_and_white():
    for image in (GREY, torch.from_numpy(GREY), GREY[..., None], GREY[None]):
        assert torch.equal(image_of(image), torch.from_numpy(GREY)[None])
    bits = GREY > 90
    assert torch.equal(image_of(bits), torch.from_numpy(bits)[None].to(torch.uint8) * 255)
    assert torch.equal(image_of(torch.from_numpy(bits)), image_of(bits))


def test_an_image_is_a_copy():
    given = torch.zeros(1, 4, 4)
    found = image_of(given)
    given += 1
    assert not found.any()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (torch.zeros(3, 8, 10), "is an image of 8 x 10; must be square"),
        (torch.zeros(8, 8, 3), r"is an image of 8 x 3; must be square.*permute\(2, 0, 1\)"),
        (np.zeros((6, 8, 3), np.uint8), "is an image of 6 x 8; must be square"),
        (np.zeros(64), r"shape \(64,\); must be \(channels, height, width\); reshape it"),
        (torch.zeros(2, 3, 8, 8), r"shape \(2, 3, 8, 8\)"),
        (torch.zeros(3, 0, 0), "there is nothing in it"),
        (torch.zeros(8, 8, dtype=torch.int64), "an image of int64, of which white can't be known"),
        (np.zeros((8, 8), np.uint16), "an image of uint16"),
        (np.zeros((8, 8), np.int32), "an image of int32"),
        ([[1, 2], [3, 4]], "an image of int64"),
        (np.array([["a", "b"], ["c", "d"]]), "an image of <U1"),
        ([[1.0, 2.0], [3.0]], "lists of different lengths"),
        (torch.zeros(8, 8, dtype=torch.complex64), "an image of complex64"),
        (torch.zeros(8, 8).to_sparse(), "no dense tensor"),
        (Image.new("I", (8, 8)), "an image of int32"),
        (Image.new("I;16", (8, 8)), "an image of u?int16"),
        (None, r"has nothing \(None\) for an image"),
        ("cat.png", "has a str for an image"),
    ],
)
def test_what_is_no_image_is_refused(image, said):
    with pytest.raises(ItemError, match=said):
        image_of(image)


@pytest.mark.parametrize(
    "label",
    [
        *(3, [3], 3.0, np.int32(3), np.uint8(3), np.float16(3), np.array([3]), np.array(3, dtype=">i2")),
        *(torch.tensor(3), torch.tensor([3]), torch.tensor(3.0), torch.tensor(3, dtype=torch.bfloat16)),
    ],
)
def test_a_class_is_a_whole_number_in_any_type(label):
    found = label_of(label)
    assert (found.dtype, found.shape, int(found)) == (torch.int64, (), 3)


def test_truth_is_a_class_too():
    assert [int(label_of(value)) for value in (True, np.False_, torch.tensor(True))] == [1, 0, 1]


@pytest.mark.parametrize(
    "maps",
    [
        GREY,
        torch.from_numpy(GREY),
        torch.from_numpy(GREY)[None].long(),
        tv_tensors.Mask(torch.from_numpy(GREY)),
        Image.fromarray(GREY),
        GREY.astype(float),
        GREY.astype(np.uint16),
        GREY.tolist(),
    ],
)
def test_a_class_for_each_pixel(maps):
    _, label = image_and_label((COLOUR, maps))
    assert label.dtype == torch.int64 and torch.equal(label, torch.from_numpy(GREY).long())


def test_a_palettes_numbers_are_the_classes():
    image = Image.fromarray(GREY).convert("P")
    assert torch.equal(label_of(image), torch.from_numpy(np.array(image)).long())


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("cat", "has the label 'cat'; must be the number"),
        (b"cat", "has the label b'cat'"),
        (-1, "has the label -1"),
        (1.5, r"has the label 1\.5"),
        (float("nan"), "has the label nan"),
        (torch.tensor(float("inf")), "has the label inf"),
        (2**40, "has the label 1099511627776"),
        (None, r"has nothing \(None\) for a label"),
        ({"boxes": []}, "has a dict for a label"),
        (torch.eye(4)[1], r"label of shape \(4,\).*argmax"),
        (torch.zeros(3, 8, 8), r"label of shape \(3, 8, 8\)"),
        (np.array(["cat"]), "has a label of <U3"),
        (1j, "has a complex for a label"),
        (np.full((8, 8), -1), "has the label -1"),
    ],
)
def test_what_is_no_label_is_refused(label, said):
    with pytest.raises(ItemError, match=said):
        label_of(label)


def test_items_are_pairs_or_mappings_with_both():
    for item in ((GREY, 1), [GREY, 1], {"image": GREY, "label": 1}, {"img": GREY, "target": 1, "id": 7}):
        image, label = image_and_label(item)
        assert (image.shape, int(label)) == ((1, 8, 8), 1)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ((GREY, 1, 2), r"is a tuple of 3; must be a pair, \(image, label\)"),
        ((GREY,), "is a tuple of 1"),
        (torch.from_numpy(GREY), "is a Tensor without a label"),
        (None, r"is nothing \(None\) without a label"),
        ({"picture": GREY, "label": 1}, r"has no image \(its keys: picture, label\)"),
        ({"image": GREY}, "has no label"),
        ({}, r"has no image \(its keys: nothing\)"),
        ({"image": GREY, "label": 1, "mask": GREY}, "has both label and mask"),
        ((COLOUR, GREY[:4]), "has 4 x 8 classes for an image of 8 x 8"),
    ],
)
def test_what_is_no_pair_is_refused(item, said):
    with pytest.raises(ItemError, match=said):
        image_and_label(item)
