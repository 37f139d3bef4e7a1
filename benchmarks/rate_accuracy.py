"""MobileNetV2's bytes at equal accuracy, without retraining: effbench `rate` and `bits` beside NNCodec.

Question: how many bytes does a trained network need to keep its outputs, when all that may be looked at are 300 images
without labels?

Command: python benchmarks/rate_accuracy.py IMAGES [--weights mobilenet_v2.pth] [--nncodec PYTHON] [--splits 5]
[--rates 2.4,2.65,2.85,3.2] [--qps=-26,-25,-24,-23] [--bits 4,5]     Cost: ten minutes a split on two cores.
IMAGES: a folder of ImageNet's validation images, one folder a class, named by their synsets (all thousand, or each
class with as many images as there are). NNCodec (the reference software of ISO/IEC 15938-17) wants a virtual
environment of its own (numpy < 2): `pip install nncodec==2.1.3`, and its interpreter as --nncodec; without, it is
skipped, and said.

Each split draws 300 images to calibrate by and leaves the others to evaluate; NNCodec's batch norms are re-estimated
from the same 300. Every row is a file that was read back. Printed are bytes, the Kullback-Leibler divergence of the
outputs from the float network's (mean over images, in nats: smooth where accuracy is not) and accuracy; then, of each
method, bytes at a divergence of 0.13 nats and the hypervolume of (log2 of the size, accuracy).

Expected: on the first split of 1,000 images (float 83.3 %) `rate` 1.16 MB at 0.13 nats, NNCodec 1.58 MB; `rate=3.2` has
1.39 MB and 83.4 %, five bits with feedback 2.16 MB and 83.0 %.
"""

from __future__ import annotations

import argparse
import itertools
import math
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import effbench
from effbench.training.norms import IMAGES_AT_ONCE, reestimate_norms

CALIBRATION = 300
CORNER_MB, CORNER_ACCURACY, LEAST_MB = 3.5, 0.6, 1.0
DIVERGENCE = 0.13

PEER = """
import contextlib, io, sys
import numpy as np
from nncodec import nnc
arrays = dict(np.load(sys.argv[1]))
with contextlib.redirect_stdout(io.StringIO()):
    data = nnc.compress(dict(arrays), bitstream_path=None, qp=int(sys.argv[2]), nonweight_qp=-75, use_dq=True,
                        opt_qp=False, return_bitstream=True, verbose=False)
    back = nnc.decompress(data)
np.savez(sys.argv[3], **{name: np.asarray(back[name]).reshape(arrays[name].shape) for name in arrays})
print(len(data))
"""

Row = tuple[float, float, float]
"""Megabytes, divergence, accuracy."""


def mobilenet(path: Path | None) -> nn.Module:
    """Return torchvision's MobileNetV2 with its ImageNet weights, in evaluation mode."""
    import torchvision

    network = torchvision.models.mobilenet_v2(weights="IMAGENET1K_V1" if path is None else None)
    if path is not None:
        network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def images_of(folder: Path) -> tuple[Tensor, Tensor]:
    """Return all images as the network wants them, float16 (n, 3, 224, 224), and their classes."""
    import torchvision

    change = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    found = torchvision.datasets.ImageFolder(str(folder), transform=change)
    if len(found.classes) != 1000:
        raise SystemExit(f"{folder}: has {len(found.classes)} folders; it must have one for each of ImageNet's 1,000")
    return torch.stack([found[number][0].half() for number in range(len(found))]), torch.tensor(found.targets)


def log_chances(network: nn.Module, images: Tensor) -> Tensor:
    """Return the logarithms of the chances that the network gives each class, (n, 1000)."""
    with torch.inference_mode():
        return torch.cat([network.eval()(some.float()) for some in images.split(50)]).log_softmax(1)


class Split:
    """Images to calibrate by and others to evaluate, and what the float network says of these."""

    def __init__(self, images: Tensor, classes: Tensor, seed: int, network: nn.Module) -> None:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        first, rest = order[:CALIBRATION], order[CALIBRATION:]
        self.calibration, self.labels = images[first].float(), classes[first]
        self.images, self.classes = images[rest], classes[rest]
        self.reference = log_chances(network, self.images)
        self.accuracy = self._accuracy(self.reference)

    def _accuracy(self, logs: Tensor) -> float:
        return float((logs.argmax(1) == self.classes).float().mean())

    def data(self) -> tuple[TensorDataset, TensorDataset, TensorDataset]:
        """Return the calibration images as effbench takes data; validation and test are not looked at."""
        few = TensorDataset(self.calibration[:2], self.labels[:2])
        return TensorDataset(self.calibration, self.labels), few, few

    def row(self, n_bytes: int, network: nn.Module) -> Row:
        """Return what a network that was read back is worth."""
        logs = log_chances(network, self.images)
        divergence = (self.reference.exp() * (self.reference - logs)).sum(1).mean()
        return n_bytes / 1e6, float(divergence), self._accuracy(logs)


def by_effbench(
    technique: str, network: nn.Module, split: Split, options: dict[str, object], *, reestimated: bool
) -> Row:
    """Return the row of one technique of effbench, its file read back."""
    made = effbench.apply(technique, network, data=split.data(), **options)
    if reestimated:
        reestimate_norms(made, split.calibration.split(IMAGES_AT_ONCE), device=torch.device("cpu"))
    blob = effbench.encode(made, coder="context")
    return split.row(len(blob), effbench.decode(blob, network))


def by_nncodec(interpreter: str, network: nn.Module, qp: int) -> tuple[int, dict[str, Tensor]]:
    """Return the bytes of NNCodec's stream with dependent quantisation, and the state that comes back."""
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/in.npz", **state)
        command = [interpreter, "-W", "ignore", "-c", PEER, f"{folder}/in.npz", str(qp), f"{folder}/out.npz"]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise SystemExit(f"NNCodec: {ended.stderr.strip().splitlines()[-1]}")
        back = {name: torch.from_numpy(array) for name, array in np.load(f"{folder}/out.npz").items()}
    return int(ended.stdout.split()[-1]), {**network.state_dict(), **back}


def size_at(rows: list[Row], divergence: float) -> float:
    """Return the megabytes at a divergence, between the rows on either side of it; NaN beyond them."""
    ordered = sorted(rows, key=lambda row: -row[1])
    for (larger, above, _), (smaller, below, _) in itertools.pairwise(ordered):
        if below <= divergence <= above:
            share = (math.log(divergence) - math.log(above)) / (math.log(below) - math.log(above))
            return larger + share * (smaller - larger)
    return math.nan


def hypervolume(rows: list[Row], most: float) -> float:
    """Return the area between the front and the corner, accuracy capped at the float network's."""
    front: list[tuple[float, float]] = []
    for size, _, accuracy in sorted(rows):
        if size <= CORNER_MB and (not front or accuracy > front[-1][1]):
            front.append((max(math.log2(size), math.log2(LEAST_MB)), min(accuracy, most)))
    ends = [place for place, _ in front[1:]] + [math.log2(CORNER_MB)]
    return sum(
        max(0.0, accuracy - CORNER_ACCURACY) * (end - place) for (place, accuracy), end in zip(front, ends, strict=True)
    )


def methods(
    network: nn.Module, split: Split, given: argparse.Namespace, streams: dict[int, tuple[int, dict[str, Tensor]]]
) -> Iterator[tuple[str, str, Row]]:
    """Yield method, setting and row of each file."""
    for rate in given.rates:
        yield "rate", f"{rate:g}", by_effbench("rate", network, split, {"rate": rate}, reestimated=False)
    for bits in given.bits:
        options = {"bits": bits, "range": "mse", "rounding": "feedback", "examples": CALIBRATION}
        yield "bits, feedback, norms", f"{bits}", by_effbench("quantize", network, split, options, reestimated=True)
    for qp, (n_bytes, state) in streams.items():
        back = mobilenet(given.weights)
        back.load_state_dict(state)
        reestimate_norms(back, split.calibration.split(IMAGES_AT_ONCE), device=torch.device("cpu"))
        yield "NNCodec, norms", f"{qp}", split.row(n_bytes, back)


def _parts(kind: type[int] | type[float], text: str) -> list[float]:
    return [kind(part) for part in text.split(",")]


def main() -> None:
    """Print a row for each file, then a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--nncodec")
    parser.add_argument("--splits", type=int, default=5)
    for name, kind, default in (
        ("rates", float, "2.4,2.65,2.85,3.2"), ("qps", int, "-26,-25,-24,-23"), ("bits", int, "4,5"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=partial(_parts, kind), default=default)
    given = parser.parse_args()
    network = mobilenet(given.weights)
    images, classes = images_of(given.images)
    streams = {qp: by_nncodec(given.nncodec, network, qp) for qp in given.qps} if given.nncodec else {}
    if not streams:
        print("NNCodec: skipped, no --nncodec is given")
    rows: dict[str, list[list[Row]]] = defaultdict(list)
    best = []
    for seed in range(given.splits):
        split = Split(images, classes, seed, network)
        best.append(split.accuracy)
        print(f"split {seed}: {len(split.images)} images, float {split.accuracy:.4f}", flush=True)
        found: dict[str, list[Row]] = defaultdict(list)
        start = time.perf_counter()
        for method, setting, row in methods(network, split, given, streams):
            found[method].append(row)
            seconds, start = time.perf_counter() - start, time.perf_counter()
            figures = f"{row[0]:>9.3f} MB{row[1]:>9.4f} nats{row[2]:>8.4f}{seconds:>6.0f} s"
            print(f"  {method:<24}{setting:>6}{figures}", flush=True)
        for method, of_split in found.items():
            rows[method].append(of_split)
    print(f"means over {given.splits} splits{'':<14}MB at {DIVERGENCE} nats   hypervolume")
    for method, splits in rows.items():
        sizes = [size_at(of_split, DIVERGENCE) for of_split in splits]
        areas = [hypervolume(of_split, most=float(np.mean(best))) for of_split in splits]
        print(f"  {method:<34}{np.mean(sizes):>12.3f}{np.mean(areas):>14.4f}")


if __name__ == "__main__":
    main()
