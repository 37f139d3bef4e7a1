import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from effbench.analysis.curves.counts import quality_from_sums
from effbench.tasks.segmentation import Segmentation

TASK = Segmentation()


def maps_data(make_toy_data, val):
    """A data set of classes for each pixel, whose validation maps are given, (61, 8, 8)."""
    zeros = {split: torch.zeros(n, 8, 8, dtype=torch.uint8) for split, n in (("train", 203), ("test", 62))}
    return make_toy_data(labels={**zeros, "val": val})


def scores_of(maps, n_classes):
    """Scores whose highest are a map's classes: (n, n_classes, height, width)."""
    return F.one_hot(maps, n_classes).permute(0, 3, 1, 2).float()


def random_maps(n, n_classes, height=9, width=9, seed=0):
    """Maps of blocks, which have interiors as well as contours."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, n_classes, (n, 1, -(-height // 4), -(-width // 4)), generator=generator)
    return coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)[:, 0, :height, :width].contiguous()


def boundary_by_hand(mask, distance=2):
    """The pixels of a mask with a pixel beyond it, or the image's edge, at most `distance` rows and columns away."""
    region = np.zeros_like(mask)
    height, width = mask.shape
    for row, column in zip(*np.nonzero(mask), strict=True):
        around = [
            (row + down, column + right)
            for down in range(-distance, distance + 1)
            for right in range(-distance, distance + 1)
        ]
        inside = all(0 <= r < height and 0 <= c < width and mask[r, c] for r, c in around)
        region[row, column] = not inside
    return region


class TestCounts:
    @given(st.integers(1, 5), st.integers(2, 12), st.integers(0, 1000))
    def test_summed_they_are_those_of_a_confusion_matrix(self, n, n_classes, seed):
        predicted, targets = (random_maps(n, n_classes, seed=2 * seed + k) for k in (0, 1))
        confusion = np.zeros((n_classes, n_classes), dtype=int)
        np.add.at(confusion, (targets.numpy().ravel(), predicted.numpy().ravel()), 1)
        unions = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
        sums = TASK.counts(scores_of(predicted, n_classes), targets)["miou"].sum(0)
        assert sums.tolist() == np.stack([np.diag(confusion), unions], 1).tolist()

    @given(st.integers(1, 3), st.integers(2, 4), st.integers(0, 1000))
    def test_of_boundaries_are_those_of_masks(self, n, n_classes, seed):
        predicted, targets = (random_maps(n, n_classes, height=13, width=11, seed=2 * seed + k) for k in (0, 1))
        counts = TASK.counts(scores_of(predicted, n_classes), targets)["boundary_iou"]
        for example in range(n):
            for label in range(n_classes):
                regions = [boundary_by_hand((maps[example] == label).numpy()) for maps in (predicted, targets)]
                by_hand = [(regions[0] & regions[1]).sum(), (regions[0] | regions[1]).sum()]
                assert counts[example, label].tolist() == by_hand

    @pytest.mark.parametrize("batch_size", [1, 3, 8])
    def test_do_not_depend_on_the_batch_size(self, batch_size):
        outputs, targets = (
            torch.randn(8, 5, 16, 16, generator=torch.Generator().manual_seed(0)),
            random_maps(8, 5, 16, 16),
        )
        parts = list(zip(outputs.split(batch_size), targets.split(batch_size), strict=True))
        for name, counts in TASK.counts(outputs, targets).items():
            assert counts.dtype == torch.int64
            assert counts.shape == (8, 5, 2)
            assert torch.equal(torch.cat([TASK.counts(*part)[name] for part in parts]), counts)
        summed = sum(TASK.summed_loss(*part).item() for part in parts)
        assert summed == pytest.approx(8 * TASK.loss(outputs, targets).item(), rel=1e-5)

    def test_a_perfect_prediction_has_every_pixel(self):
        targets = random_maps(4, 3)
        for name, counts in TASK.counts(scores_of(targets, 3), targets).items():
            assert torch.equal(counts[..., 0], counts[..., 1])
            assert float(quality_from_sums(counts.sum(0).numpy(), "mean_of_ratios")) == 1, name

    def test_smaller_outputs_are_compared_at_full_resolution(self):
        small = random_maps(2, 3, 8, 8)
        targets = F.interpolate(scores_of(small, 3), size=(16, 16), mode="bilinear").argmax(1)
        counts = TASK.counts(scores_of(small, 3), targets)["miou"]
        assert counts[..., 1].sum(1).tolist() == [256, 256]
        assert torch.equal(counts[..., 0], counts[..., 1])

    def test_kinds_name_what_is_counted(self, toy_data):
        counts = TASK.counts(torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 8, dtype=torch.int64))
        assert list(TASK.kinds(toy_data)) == list(counts)
        assert set(TASK.kinds(toy_data).values()) == {"mean_of_ratios"}


class TestBoundaryByHand:
    def test_a_square_that_is_one_pixel_off(self):
        targets, predicted = torch.zeros(2, 1, 16, 16, dtype=torch.int64)
        targets[0, 4:12, 4:12] = 1  # 8 x 8: a ring 2 wide has 64 - 16 pixels
        predicted[0, 4:12, 5:13] = 1
        counts = TASK.counts(scores_of(predicted, 2), targets)["boundary_iou"][0]
        # In the 4 rows above and below 7 columns are common; in the 4 between, 1 column on either side.
        assert counts[1].tolist() == [4 * 7 + 4 * 2, 48 + 48 - 36]

    def test_thin_classes_are_boundary_through_and_through(self):
        targets = torch.zeros(1, 12, 12, dtype=torch.int64)
        targets[0, 5:9, 3:9] = 1  # 4 pixels wide
        counts = TASK.counts(scores_of(targets, 2), targets)
        assert counts["boundary_iou"][0, 1].tolist() == counts["miou"][0, 1].tolist() == [24, 24]

    def test_where_the_image_ends_there_is_a_contour(self):
        targets = torch.zeros(1, 12, 12, dtype=torch.int64)
        assert TASK.counts(scores_of(targets, 2), targets)["boundary_iou"][0, 0].tolist() == [144 - 64] * 2


class TestLosses:
    def test_are_means_over_pixels_in_nats(self):
        outputs, targets = torch.zeros(3, 4, 5, 6), torch.zeros(3, 5, 6, dtype=torch.int64)
        assert TASK.loss(outputs, targets).item() == pytest.approx(math.log(4))
        assert TASK.summed_loss(outputs, targets).item() == pytest.approx(3 * math.log(4))

    def test_smaller_outputs_learn_from_the_full_map(self):
        outputs = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        targets = random_maps(2, 3, 8, 8)
        loss = TASK.loss(outputs, targets)
        loss.backward()
        enlarged = F.interpolate(outputs, size=(8, 8), mode="bilinear")
        assert loss.item() == pytest.approx(F.cross_entropy(enlarged, targets).item())
        assert (outputs.grad != 0).all()

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
    def test_distillation_by_hand(self, temperature):
        outputs, teacher = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        p, q = (torch.softmax(logits.double() / temperature, 1) for logits in (teacher, outputs))
        by_hand = temperature**2 * (p * (p / q).log()).sum(1).mean()
        loss = TASK.distillation_loss(outputs, F.log_softmax(teacher / temperature, 1), temperature=temperature)
        assert loss.item() == pytest.approx(by_hand.item(), rel=1e-4)


class TestQuality:
    def test_chance_is_the_commonest_class_everywhere(self, make_toy_data):
        val = random_maps(61, 3, 8, 8)
        data = maps_data(make_toy_data, val.byte())
        commonest = int(torch.bincount(val.flatten()).argmax())
        sums = TASK.counts(scores_of(torch.full_like(val, commonest), data.n_classes), val)["miou"].sum(0)
        assert TASK.quality(data).chance == float(quality_from_sums(sums.numpy(), "mean_of_ratios"))
        assert TASK.quality(data).name == next(iter(TASK.kinds(data)))

    def test_classes_of_images_are_refused(self, toy_data):
        with pytest.raises(ValueError, match="data=toy: must have a class for each pixel with task=segmentation"):
            TASK.quality(toy_data)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (torch.zeros(1, 4), r"shape \(1, 4\)"),
        (torch.zeros(1, 5, 8, 8), r"shape \(1, 5, 8, 8\)"),
        ({"out": torch.zeros(1, 4, 8, 8)}, "a dict"),
    ],
)
def test_outputs_of_another_shape_are_refused(toy_data, outputs, words):
    for side in (8, 4):
        TASK.check_outputs(torch.zeros(1, 4, side, side), toy_data, side=8)
    with pytest.raises(
        ValueError, match=rf"^must give \(1, 4, height, width\) scores for one image of 8 x 8, but gives {words}$"
    ):
        TASK.check_outputs(outputs, toy_data, side=8)


def test_nothing_more_is_known_of_an_example():
    assert TASK.examples(torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 8, dtype=torch.int64)) == {}
