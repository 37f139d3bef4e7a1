"""A class for each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from effbench.analysis.curves.counts import QualityKind
from effbench.analysis.curves.quality import Quality
from effbench.data.base import ImageData
from effbench.tasks.base import Task, shape_of

BOUNDARY_WIDTH = 2
"""Of the boundary region inside a class's contour, in pixels; Cheng et al. take 2 % of the image's diagonal."""


@dataclass(frozen=True, kw_only=True)
class Segmentation(Task):
    """Outputs are scores (logits), (n, n_classes, height, width); targets a class for each pixel, int64 (n, H, W).

    Outputs of another height and width than the targets' are interpolated to theirs (bilinear) before anything is made
    of them. Quality is mIoU: the mean over classes of intersection ÷ union, each summed over all examples. Beside it
    stands `boundary_iou`, the same of the pixels that are within 2 pixels of their class's contour (Cheng et al. 2021,
    arXiv:2103.16562), which tells thin and ragged edges where mIoU sees areas.
    """

    name: ClassVar[str] = "segmentation"
    VERSION: ClassVar[int] = 1

    def quality(self, data: ImageData, /) -> Quality:
        """Return mIoU; chance is what the commonest class everywhere gets.

        ValueError where the data set has no class for each pixel.
        """
        maps = data.labels["val"]
        if maps.ndim != 3:
            raise ValueError(
                f"data={data.name}: must have a class for each pixel with task=segmentation, not for images"
            )
        sizes = torch.bincount(maps.flatten(), minlength=data.n_classes)
        chance = int(sizes.max()) / maps.numel() / int((sizes > 0).sum())
        return Quality(name="miou", kind="mean_of_ratios", unit="mIoU points", direction="higher", chance=chance)

    def kinds(self, data: ImageData, /) -> dict[str, QualityKind]:
        """Return "mean_of_ratios" for miou and boundary_iou."""
        return {"miou": "mean_of_ratios", "boundary_iou": "mean_of_ratios"}

    def check_outputs(self, outputs: object, data: ImageData, /, *, side: int) -> None:
        """Refuse what is not (1, n_classes, height, width)."""
        if not isinstance(outputs, Tensor) or outputs.ndim != 4 or outputs.shape[:2] != (1, data.n_classes):
            raise ValueError(
                f"must give (1, {data.n_classes}, height, width) scores for one image of {side} x {side}, "
                f"but gives {shape_of(outputs)}"
            )

    def loss(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Return the mean cross-entropy of all pixels, in nats."""
        return F.cross_entropy(_resized(outputs, targets), targets)

    def smoothed_loss(self, outputs: Tensor, targets: Tensor, /, *, smoothing: float) -> Tensor:
        """Return the mean cross-entropy of all pixels, each with smoothed labels."""
        return F.cross_entropy(_resized(outputs, targets), targets, label_smoothing=smoothing)

    def comparable(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Return the scores at the height and width of the targets."""
        return _resized(outputs, targets)

    def summed_loss(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Return the sum over examples of the mean cross-entropy of their pixels, in nats."""
        return F.cross_entropy(_resized(outputs, targets), targets, reduction="sum") / targets[0].numel()

    def distillation_loss(self, outputs: Tensor, teacher: Tensor, /, *, temperature: float) -> Tensor:
        """Return T² · KL(teacher_T ‖ student_T), the mean over all pixels of a batch.

        teacher: log-probabilities (n, n_classes, height, width), whose height and width the outputs are brought to.
        """
        student = F.log_softmax(_resized(outputs, teacher) / temperature, dim=1)
        divergence = F.kl_div(student, teacher, log_target=True, reduction="batchmean") / teacher[0, 0].numel()
        return temperature**2 * divergence

    def counts(self, outputs: Tensor, targets: Tensor, /) -> dict[str, Tensor]:
        """Return (n, n_classes, 2): each class's intersection and union in pixels, of areas and of boundary regions."""
        n_classes, predicted = outputs.shape[1], _resized(outputs, targets).argmax(1)
        return {
            "miou": _overlaps(predicted, targets, n_classes),
            "boundary_iou": _overlaps(_boundary_region(predicted), _boundary_region(targets), n_classes),
        }

    def examples(self, outputs: Tensor, targets: Tensor, /) -> dict[str, Tensor]:
        """Return {}: an example has many classes."""
        return {}


def _resized(outputs: Tensor, like: Tensor) -> Tensor:
    """Return scores at the height and width of `like`, which are its last two dimensions."""
    size = like.shape[-2:]
    if outputs.shape[-2:] == size:
        return outputs
    return F.interpolate(outputs, size=size, mode="bilinear", align_corners=False)


def _boundary_region(maps: Tensor) -> Tensor:
    """Return maps of classes (n, H, W) with -1 wherever the contour of the pixel's class is more than 2 pixels away.

    A pixel is away from it where the square of 5 x 5 around it is all of its class: two erosions by 3 x 3. Beyond the
    image there is no class.
    """
    width = BOUNDARY_WIDTH
    padded = F.pad(maps[:, None].float(), [width] * 4, value=-1.0)
    largest = F.max_pool2d(padded, 2 * width + 1, stride=1)
    smallest = -F.max_pool2d(-padded, 2 * width + 1, stride=1)
    return torch.where((largest == smallest)[:, 0], -1, maps)


def _overlaps(maps: Tensor, others: Tensor, n_classes: int) -> Tensor:
    """Return each class's intersection and union in pixels: maps of classes (n, H, W) to int64 (n, n_classes, 2).

    -1 is a pixel of no class.
    """
    common = torch.where(maps == others, maps, -1)
    areas, other_areas, intersections = (_areas(classes, n_classes) for classes in (maps, others, common))
    return torch.stack([intersections, areas + other_areas - intersections], dim=2)


def _areas(maps: Tensor, n_classes: int) -> Tensor:
    """Return how many pixels each class has in each map, int64 (n, n_classes)."""
    n_bins = n_classes + 1
    places = maps.flatten(1) + 1 + n_bins * torch.arange(len(maps), device=maps.device)[:, None]
    return torch.bincount(places.flatten(), minlength=n_bins * len(maps)).view(-1, n_bins)[:, 1:]
