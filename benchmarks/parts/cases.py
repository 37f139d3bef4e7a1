"""Networks to be compressed, the images by which they may be calibrated, and those on which they are evaluated."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from effbench.config.read import read_sweep
from effbench.run.making import make_model
from effbench.run.store import Store
from parts.fronts import Row

CALIBRATION = 300
TRAINED = {
    "small_cnn": ["data=digits", "train.epochs=30"],
    "lenet_300_100": ["model=lenet_300_100", "data=mnist", "train.epochs=15"],
    "lenet_5": ["model=lenet_5", "model.activation=relu", "data=mnist", "train.epochs=6"],
    "cifar_cnn": [
        "data=image_folder",
        "data.augment=crop_flip",
        "model.channels=[32,32,64,64,128,128]",
        "train.epochs=12",
    ],
}
"""The networks that are trained here, and how."""


def log_chances(network: nn.Module, images: Tensor) -> Tensor:
    """Return the logarithms of the chances that the network gives each class, (n, n_classes)."""
    with torch.inference_mode():
        return torch.cat([network.eval()(some.float()) for some in images.split(50)]).log_softmax(1)


@dataclass
class Case:
    """A network, the images that it may be calibrated by, and those that it is evaluated on."""

    name: str
    network: nn.Module
    known: tuple[Tensor, Tensor]
    unseen: tuple[Tensor, Tensor] | None
    """None: those of `known` that are not drawn."""

    def split(self, seed: int) -> Split:
        """Return what is drawn by a seed."""
        order = torch.randperm(len(self.known[0]), generator=torch.Generator().manual_seed(seed))
        first, rest = order[:CALIBRATION], order[CALIBRATION:]
        unseen = self.unseen or (self.known[0][rest], self.known[1][rest])
        return Split(self.network, (self.known[0][first].float(), self.known[1][first]), unseen)

    def whole(self) -> Split:
        """Return all that may be evaluated, for what looks at nothing."""
        return Split(self.network, (self.known[0][:2].float(), self.known[1][:2]), self.unseen or self.known)


class Split:
    """Images to calibrate by and others to evaluate, and what the float network says of these."""

    def __init__(self, network: nn.Module, known: tuple[Tensor, Tensor], unseen: tuple[Tensor, Tensor]) -> None:
        (self.calibration, self.labels), (self.images, self.classes) = known, unseen
        self.reference = log_chances(network, self.images)
        self.accuracy = self._accuracy(self.reference)

    def _accuracy(self, logs: Tensor) -> float:
        return float((logs.argmax(1) == self.classes).float().mean())

    def data(self) -> tuple[TensorDataset, TensorDataset, TensorDataset]:
        """Return the calibration images as effbench takes data; validation, test and labels are not looked at."""
        labels = torch.arange(len(self.labels)) % 2
        few = TensorDataset(self.calibration[:2], labels[:2])
        return TensorDataset(self.calibration, labels), few, few

    def row(self, n_bytes: int, network: nn.Module) -> Row:
        """Return what a network that was read back is worth."""
        logs = log_chances(network, self.images)
        divergence = (self.reference.exp() * (self.reference - logs)).sum(1).mean()
        return n_bytes / 1e6, float(divergence), self._accuracy(logs)


def mobilenet_v2(given: argparse.Namespace) -> Case:
    """Return torchvision's MobileNetV2 with its ImageNet weights, and images as it wants them, in float16."""
    import torchvision

    network = torchvision.models.mobilenet_v2(weights=None if given.weights else "IMAGENET1K_V1")
    if given.weights:
        network.load_state_dict(torch.load(given.weights, weights_only=True))
    change = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    found = torchvision.datasets.ImageFolder(str(given.images), transform=change)
    if len(found.classes) != 1000:
        raise SystemExit(
            f"{given.images}: has {len(found.classes)} folders; it must have one for each of 1,000 classes"
        )
    images = torch.stack([found[number][0].half() for number in range(len(found))])
    return Case("mobilenet_v2", network.eval(), (images, torch.tensor(found.targets)), None)


def trained_here(name: str, root: Path | None) -> Case:
    """Return a network of `TRAINED`, its training images and its test images."""
    arguments = [*TRAINED[name], *([f"data.root={root}"] if root else []), "recipe.steps=[train]"]
    point = read_sweep([*arguments, "device=cpu"]).plan.points[0]
    with tempfile.TemporaryDirectory() as folder:
        made = make_model(point.chain, Store(Path(folder)), device=torch.device("cpu"))
    data = point.chain.loaded_data()

    def images_of(split: str) -> tuple[Tensor, Tensor]:
        batches = list(data.batches(split, side=point.chain.side, batch_size=1000))  # type: ignore[arg-type]
        return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])

    return Case(name, made.model.eval(), images_of("train"), images_of("test"))
