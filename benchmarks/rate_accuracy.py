"""Bytes at equal accuracy, without retraining: effbench `rate` and `bits` beside NNCodec, ZipNN, zstd and xz.

Question: how many bytes does a trained network need to keep its outputs, when all that may be looked at are 300 images
without labels, or none?

Command: python benchmarks/rate_accuracy.py [--networks mobilenet_v2,…] [--images FOLDER] [--weights mobilenet_v2.pth]
[--cifar FOLDER] [--mnist FOLDER] [--nncodec PYTHON] [--splits 5] [--rates 3,2] [--free-rates 5,4] [--qps=-26,-24]
[--bits 4,5] [--table table.csv]     Cost: on two cores ten minutes a split of MobileNetV2, a minute of the small ones,
and their training: LeNets and small_cnn a minute each, the network on CIFAR-10 fifteen.
--images: ImageNet's validation images, one folder a class, named by their synsets. --cifar: CIFAR-10 as an image
folder; --mnist: where torchvision has or puts it. What is not given is skipped, and said; so is NNCodec (the reference
software of ISO/IEC 15938-17), which with ZipNN and zstandard wants a virtual environment of its own (numpy < 2):
`pip install nncodec==2.1.3 zipnn==0.5.4 zstandard`, and its interpreter as --nncodec.

Each split draws 300 images to calibrate by: of MobileNetV2's images, to be evaluated on the others; else of the
training images, to be evaluated on the test images. NNCodec's batch norms are re-estimated from the same 300. What
looks at no image is evaluated on all. Every row is a file that was read back. Printed are bytes, the Kullback-Leibler
divergence of the outputs from the float network's (mean over images, in nats: smooth where accuracy is not) and
accuracy; then, of each method, bytes at a divergence of 0.13 nats and the hypervolume of (log2 of the size, accuracy).

Expected: MobileNetV2 on five splits of 1,000 images (float 83.2 %): `rate` 1.18 MB at 0.13 nats, NNCodec 1.59 MB; a
hypervolume 1.2 times NNCodec's; without data 82 % in 1.96 MB, NNCodec 2.23 MB.
"""

from __future__ import annotations

import argparse
import csv
import lzma
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from parts.cases import CALIBRATION, TRAINED, Case, Split, mobilenet_v2, trained_here
from parts.fronts import DIVERGENCE, Row, hypervolume, size_at
from parts.peers import stream_of
from torch import Tensor, nn

import effbench
from effbench.training.norms import IMAGES_AT_ONCE, reestimate_norms

CPU = torch.device("cpu")
PEERS: dict[str, dict[str, object]] = {"zstd": {}, "zipnn": {"bytearray_dtype": "float32"}}
Streams = dict[tuple[str, int], tuple[int, dict[str, Tensor]]]
"""Of NNCodec's quantisers and steps: bytes, and the state that comes back."""


def arrays_of(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Return the floats of a network's state."""
    return {name: value.numpy() for name, value in network.state_dict().items() if value.is_floating_point()}


def by_nncodec(interpreter: str, network: nn.Module, qp: int, kind: str) -> tuple[int, dict[str, Tensor]]:
    """Return the bytes of NNCodec's stream, and the state that comes back."""
    options = {"qp": qp, "nonweight_qp": -75, "use_dq": kind == "dependent"}
    stream = stream_of(interpreter, "nncodec", arrays_of(network), **options)
    back = {name: torch.from_numpy(array) for name, array in stream.back.items()}
    return stream.n_bytes, {**network.state_dict(), **back}


class Benchmark:
    """All rows of all networks."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.rows: list[dict[str, object]] = []

    def run(self, case: Case) -> None:
        """Print a row for each file of a network, then what they come to."""
        whole = case.whole()
        n_bytes = sum(4 * value.numel() for value in case.network.state_dict().values() if value.is_floating_point())
        print(case.name, flush=True)
        self._add(case, "all", iter([("float32", "", (n_bytes / 1e6, 0.0, whole.accuracy))]))
        streams = self._streams(case.network)
        self._add(case, "all", self._without_data(case, whole, streams))
        found: dict[str, list[list[Row]]] = defaultdict(list)
        best = []
        for seed in range(self.given.splits):
            split = case.split(seed)
            best.append(split.accuracy)
            print(f"split {seed}: {len(split.images)} images", flush=True)
            self._add(case, str(seed), iter([("float32", "", (n_bytes / 1e6, 0.0, split.accuracy))]))
            for method, rows in self._add(case, str(seed), self._with_data(case, split, streams)).items():
                found[method].append(rows)
        if not found:
            return
        print(f"means over {self.given.splits} splits{'':<14}MB at {DIVERGENCE} nats   hypervolume")
        for method, splits in found.items():
            sizes = [size_at(rows, DIVERGENCE) for rows in splits]
            areas = [hypervolume(rows, float(np.mean(best)), n_bytes / 1e6) for rows in splits]
            print(f"  {method:<34}{np.mean(sizes):>12.4f}{np.mean(areas):>14.4f}", flush=True)

    def _streams(self, network: nn.Module) -> Streams:
        if not self.given.nncodec:
            return {}
        kinds = ("dependent", "uniform")
        return {(k, qp): by_nncodec(self.given.nncodec, network, qp, k) for k in kinds for qp in self.given.qps}

    def _without_data(self, case: Case, split: Split, streams: Streams) -> Iterator[tuple[str, str, Row]]:
        raw = b"".join(value.numpy().tobytes() for value in case.network.state_dict().values())
        packed = lzma.compress(raw)
        assert lzma.decompress(packed) == raw
        yield "xz", "float32", split.row(len(packed), case.network)
        blob = effbench.encode(case.network, coder="context")
        yield "effbench context", "float32", split.row(len(blob), effbench.decode(blob, case.network))
        for name, options in PEERS.items() if self.given.nncodec else ():
            stream = stream_of(self.given.nncodec, name, arrays_of(case.network), **options)
            yield name, "float32", split.row(stream.n_bytes, case.network)
        for rate in self.given.free_rates:
            options = {"rate": rate, "data_free": True}
            yield "rate, no data", f"{rate:g}", self._by_effbench(case, "rate", split, options, reestimated=False)
        for (kind, qp), (n_bytes, state) in streams.items():
            yield f"NNCodec {kind}, no data", f"{qp}", split.row(n_bytes, with_state(case.network, state))

    def _with_data(self, case: Case, split: Split, streams: Streams) -> Iterator[tuple[str, str, Row]]:
        for rate in self.given.rates:
            yield "rate", f"{rate:g}", self._by_effbench(case, "rate", split, {"rate": rate}, reestimated=False)
        for bits in self.given.bits:
            options = {"bits": bits, "range": "mse", "rounding": "feedback", "examples": CALIBRATION}
            row = self._by_effbench(case, "quantize", split, options, reestimated=True)
            yield "bits, feedback, norms", f"{bits}", row
        for (kind, qp), (n_bytes, state) in streams.items():
            if kind == "dependent":
                back = with_state(case.network, state)
                reestimate_norms(back, split.calibration.split(IMAGES_AT_ONCE), device=CPU)
                yield "NNCodec, norms", f"{qp}", split.row(n_bytes, back)

    def _by_effbench(
        self, case: Case, technique: str, split: Split, options: dict[str, object], *, reestimated: bool
    ) -> Row:
        made = effbench.apply(technique, case.network, data=split.data(), **options)
        if reestimated:
            reestimate_norms(made, split.calibration.split(IMAGES_AT_ONCE), device=CPU)
        blob = effbench.encode(made, coder="context")
        return split.row(len(blob), effbench.decode(blob, case.network))

    def _add(self, case: Case, split: str, rows: Iterator[tuple[str, str, Row]]) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        start = time.perf_counter()
        for method, setting, row in rows:
            seconds, start = time.perf_counter() - start, time.perf_counter()
            figures = f"{row[0]:>9.4f} MB{row[1]:>9.4f} nats{row[2]:>8.4f}{seconds:>6.0f} s"
            print(f"  {method:<28}{setting:>8}{figures}", flush=True)
            found[method].append(row)
            named = dict(zip(("megabytes", "divergence", "accuracy"), row, strict=True))
            self.rows.append(
                {
                    "network": case.name,
                    "split": split,
                    "method": method,
                    "setting": setting,
                    **named,
                    "seconds": seconds,
                }
            )
        return found


def with_state(network: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Return a copy of a network with another state."""
    back = effbench.decode(effbench.encode(network, coder="none"), network)
    back.load_state_dict(state)
    return back


def _parts(kind: type[int] | type[float], text: str) -> list[float]:
    return [kind(part) for part in text.split(",")]


def main() -> None:
    """Print rows and summaries; write all rows into a table where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(["mobilenet_v2", *TRAINED]))
    for name in ("images", "weights", "cifar", "mnist", "table"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--nncodec")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--rates", type=partial(_parts, float), default="2.1,2.4,2.65,2.85,3.2,4")
    parser.add_argument("--free-rates", type=partial(_parts, float), default="4,4.2,4.4,4.6,5.5")
    parser.add_argument("--qps", type=partial(_parts, int), default="-32,-29,-27,-26,-25,-24,-23,-22")
    parser.add_argument("--bits", type=partial(_parts, int), default="4,5")
    given = parser.parse_args()
    roots = {"mobilenet_v2": given.images, "cifar_cnn": given.cifar, "small_cnn": None}
    makers: dict[str, Callable[[], Case]] = {
        name: partial(trained_here, name, roots.get(name, given.mnist)) for name in TRAINED
    }
    makers["mobilenet_v2"] = partial(mobilenet_v2, given)
    if not given.nncodec:
        print("NNCodec, ZipNN, zstd: skipped, no --nncodec is given")
    benchmark = Benchmark(given)
    for name in given.networks.split(","):
        if name != "small_cnn" and roots.get(name, given.mnist) is None:
            print(f"{name}: skipped, its images are not given")
            continue
        benchmark.run(makers[name]())
        if given.table:
            with given.table.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(benchmark.rows[0]))
                writer.writeheader()
                writer.writerows(benchmark.rows)


if __name__ == "__main__":
    main()
