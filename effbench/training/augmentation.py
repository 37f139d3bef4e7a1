"""A user's transform of training images: one draw for each image, the same whatever else is in its batch.

Transforms of torchvision (v2) are meant for pixels, 0 to 1 or whole numbers to 255: images are given back their mean
and deviation before, and lose them again afterwards, where the data set says what these are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from effbench.checks.errors import first_line, kind_and_line
from effbench.data import ImageData
from effbench.training.options import Component
from effbench.training.seeds import random_states_kept, seed_all, seed_for

N_TRIED = 8
"""Draws of a transform that are tried before anything starts, of each form of an image."""
Form = Literal["float", "uint8"]
_PURPOSE = 0


class Augmentation:
    """Transforms the images of a batch, each by random numbers that its example and the epoch decide.

    ValueError, of `augment`, where the transform can't be made, or gives images of another kind.
    """

    def __init__(self, component: Component, data: ImageData, side: int, base: int = 0) -> None:
        self.base, self.n_channels, self.side = base, data.channels, side
        self.statistics = pixel_statistics(data)
        where = f"augment: {_name_of(component)}"
        try:
            self._transform: Callable[..., Any] = component.build(within=True, size=[side, side])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        except Exception as error:  # whatever a class makes of its options
            raise ValueError(f"{where}: {kind_and_line(error)}") from None
        self._refuse_normalising(where)
        images, labels = next(iter(data.batches("train", side=side, batch_size=2)))
        self.form: Form = self._suited_form(images, labels, where)

    def __call__(self, images: Tensor, labels: Tensor, numbers: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return a batch, (n, channels, side, side), augmented, and its labels: maps of classes go with the images."""
        with random_states_kept():
            seeds = [seed_for(self.base, _PURPOSE, epoch, number) for number in numbers.tolist()]
            done = [self._one(*example) for example in zip(self._pixels(images, self.form), labels, seeds, strict=True)]
        augmented, maps = torch.stack([image for image, _ in done]), [label for _, label in done]
        return self._normalised(augmented), torch.stack(maps) if labels.ndim > 1 else labels

    def _one(self, image: Tensor, label: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        seed_all(seed)
        if label.ndim:
            from torchvision import tv_tensors

            outcome = self._transform(tv_tensors.Image(image), tv_tensors.Mask(label))
            if not isinstance(outcome, tuple | list) or len(outcome) != 2:
                raise ValueError("must give an image and its map of classes")
            return self._checked(outcome[0]), outcome[1].as_subclass(Tensor).long()
        return self._checked(self._transform(image)), label

    def _checked(self, image: object) -> Tensor:
        """Return a transformed image as float32, (channels, side, side)."""
        if not isinstance(image, Tensor):
            raise ValueError(f"must give an image as a tensor, but gives a {type(image).__name__}")
        wanted = (self.n_channels, self.side, self.side)
        if tuple(image.shape) != wanted:
            raise ValueError(f"must give images of shape {wanted}, but gives {tuple(image.shape)}")
        plain = image.as_subclass(Tensor)
        if plain.dtype == torch.uint8:
            return plain.float() / 255
        if not plain.is_floating_point():
            raise ValueError(f"must give images of floating numbers or bytes, but gives {plain.dtype}")
        return plain.float()

    def _pixels(self, images: Tensor, form: Form) -> Tensor:
        if self.statistics is None:
            return images
        mean, deviation = self.statistics
        pixels = (images * deviation + mean).clamp(0, 1)
        return pixels if form == "float" else (255 * pixels).round().to(torch.uint8)

    def _normalised(self, pixels: Tensor) -> Tensor:
        if self.statistics is None:
            return pixels
        mean, deviation = self.statistics
        return (pixels - mean) / deviation

    def _suited_form(self, images: Tensor, labels: Tensor, where: str) -> Form:
        """Return the form of images that the transform takes: 0 to 1 before bytes."""
        forms: tuple[Form, ...] = ("float",) if self.statistics is None else ("float", "uint8")
        problems = [self._problem(images, labels, form) for form in forms]
        for form, problem in zip(forms, problems, strict=True):
            if problem is None:
                return form
        raise ValueError(f"{where}: {problems[0]}")

    def _problem(self, images: Tensor, labels: Tensor, form: Form) -> str | None:
        """Return why the transform can't be applied to images of a form; None where it can."""
        try:
            with random_states_kept(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for seed in range(N_TRIED):
                    for image, label in zip(self._pixels(images, form), labels, strict=True):
                        self._one(image, label, seed)
        except ValueError as error:
            return first_line(error)
        except Exception as error:  # whatever a transform raises
            return kind_and_line(error)
        return None

    def _refuse_normalising(self, where: str) -> None:
        from torchvision.transforms import v2

        inside = getattr(self._transform, "transforms", [self._transform])
        if any(isinstance(part, v2.Normalize) for part in inside):
            raise ValueError(f"{where}: leave Normalize out: the data set normalises the images afterwards")
        for part in inside:
            if isinstance(part, v2.MixUp | v2.CutMix):
                key = type(part).__name__.lower()
                raise ValueError(f"{where}: {type(part).__name__} blends a whole batch: give train.{key}=1.0 instead")


def _name_of(component: Component) -> str:
    inside = component.options.get("transforms")
    return component.target if not isinstance(inside, list) else ", ".join(str(part) for part in inside)


def pixel_statistics(data: ImageData, /) -> tuple[Tensor, Tensor] | None:
    """Return the mean and deviation that images are normalised by, (channels, 1, 1) each; None where unknown."""
    source = getattr(data, "data", data)  # a pool is of another data set
    mean, deviation = getattr(source, "mean", None), getattr(source, "std", None)
    if not all(isinstance(values, tuple | list) and len(values) == data.channels for values in (mean, deviation)):
        return None
    return torch.tensor(mean).view(-1, 1, 1), torch.tensor(deviation).view(-1, 1, 1)
