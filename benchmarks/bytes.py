"""Bytes of the context coder at equal values, beside the peers.

Question: of the same integers, and of the same floats, who writes the smallest file, and how long does it take?

Command: python benchmarks/bytes.py [--weights mobilenet_v2.pth] [--nncodec PYTHON]     Cost: two minutes on two cores.
Without --weights torchvision fetches MobileNetV2's of ImageNet. NNCodec (the reference software of ISO/IEC 15938-17)
and ZipNN want a virtual environment of their own (numpy < 2): `pip install nncodec==2.1.3 zipnn==0.5.4 zstandard`, and
its interpreter as --nncodec. What is not installed is skipped, and said.

Expected: of integers 0.95 to 0.97 of NNCodec's bytes, most of it by predicting the classifier's rows from each other;
of float32 0.993, of bfloat16 0.982 of ZipNN's, which takes a hundredth of the time; zstd -19 is 12 to 18 % larger.
Writing on one core: 0.1 to 0.4 microseconds an integer. All sizes but NNCodec's are of files that were read back here;
NNCodec's are read back in its own process.
"""

from __future__ import annotations

import argparse
import lzma
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from parts.peers import Stream, stream_of
from torch import Tensor, nn

from effbench.codec import decode, encode

Integers = dict[str, NDArray[np.int64]]
EXACT: dict[str, object] = {"qp": 0, "nonweight_qp": 0, "use_dq": False}
"""NNCodec's steps of one: integers come back as they are."""


def mobilenet(path: Path | None) -> nn.Module:
    """Return torchvision's MobileNetV2 with its ImageNet weights."""
    import torchvision

    if path is None:
        return torchvision.models.mobilenet_v2(weights="IMAGENET1K_V1")
    network = torchvision.models.mobilenet_v2(weights=None)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network


def integers_of(network: nn.Module, bits: int, sparsity: float) -> Integers:
    """Return each layer's weights, pruned by magnitude, in steps of its largest one over 2**(bits - 1) - 1."""
    layers: Integers = {}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = layer.weight.detach()
            smallest = weight.abs().flatten().kthvalue(max(1, int(sparsity * weight.numel()))).values
            kept = weight if sparsity == 0 else torch.where(weight.abs() > smallest, weight, 0.0)
            layers[name] = (kept / (weight.abs().max() / (2 ** (bits - 1) - 1))).round().to(torch.int64).numpy()
    return layers


def holder(tensors: dict[str, Tensor]) -> nn.Module:
    """Return a module that has tensors and nothing else."""
    module = nn.Module()
    for name, tensor in tensors.items():
        module.register_buffer(name.replace(".", "_"), tensor)
    return module


def timed_file(module: nn.Module) -> tuple[int, float, float]:
    """Return the bytes of the file, the seconds to write and to read it; what was read is the same to the bit."""
    start = time.perf_counter()
    data = encode(module, coder="context")
    middle = time.perf_counter()
    state = decode(data, module).state_dict()
    end = time.perf_counter()
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    return len(data), middle - start, end - middle


def peers(
    interpreter: str | None, arrays: dict[str, NDArray[np.generic]], named: dict[str, tuple[str, dict[str, object]]]
) -> dict[str, Stream]:
    """Return what the peers make of arrays, by what they are shown as; nothing where they are not installed."""
    found = {}
    for shown, (name, options) in named.items() if interpreter is not None else ():
        try:
            found[shown] = stream_of(interpreter or "", name, arrays, **options)
        except RuntimeError as error:
            print(f"  skipped: {error}")
    return found


def show(name: str, n_values: int, n_bytes: float, write: float, read: float, beside: float | None) -> None:
    """Print a row."""
    share = f"{beside / n_bytes:>9.3f}" if beside else " " * 9
    speeds = f"{write / n_values * 1e9:>10.0f}{read / n_values * 1e9:>10.0f}"
    print(f"  {name:<20}{n_bytes:>12,.0f}{8 * n_bytes / n_values:>9.3f}{speeds}{share}")


def compare_integers(network: nn.Module, interpreter: str | None) -> None:
    """Print the bytes of the same integers."""
    for bits, sparsity in ((8, 0.0), (5, 0.0), (4, 0.0), (4, 0.5), (5, 0.8)):
        layers = integers_of(network, bits, sparsity)
        n_values = sum(values.size for values in layers.values())
        print(f"MobileNetV2, {bits} bits a layer, {sparsity:.0%} zeros")
        counts = [np.unique(values, return_counts=True)[1] for values in layers.values()]
        n_bits = sum(float(count @ np.log2(count.sum() / count)) for count in counts)
        show("(entropy a layer)", n_values, n_bits / 8, 0, 0, None)
        ours = timed_file(holder({name: torch.from_numpy(values) for name, values in layers.items()}))
        show("effbench context", n_values, *ours, None)
        floats = {name.replace(".", "_"): values.astype(np.float32) for name, values in layers.items()}
        for name, peer in peers(interpreter, floats, {"NNCodec": ("nncodec", EXACT)}).items():
            assert all(np.array_equal(peer.back[key], array) for key, array in floats.items())
            show(name, n_values, peer.n_bytes, peer.write_seconds, peer.read_seconds, ours[0])


def compare_floats(network: nn.Module, interpreter: str | None) -> None:
    """Print the bytes of the same floats."""
    tensors = {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    for dtype, name, words in ((torch.float32, "float32", torch.int32), (torch.bfloat16, "bfloat16", torch.int16)):
        cast = {key: tensor.to(dtype).contiguous() for key, tensor in tensors.items()}
        raw = b"".join(tensor.view(words).numpy().tobytes() for tensor in cast.values())
        n_values = sum(tensor.numel() for tensor in cast.values())
        print(f"MobileNetV2, {name}, {len(raw):,} bytes")
        ours = timed_file(holder(cast))
        show("effbench context", n_values, *ours, None)
        start = time.perf_counter()
        packed = lzma.compress(raw)
        middle = time.perf_counter()
        assert lzma.decompress(packed) == raw
        show("xz", n_values, len(packed), middle - start, time.perf_counter() - middle, ours[0])
        arrays: dict[str, NDArray[np.generic]] = {"raw": np.frombuffer(raw, np.uint8)}
        lossless = {"zstd -19": ("zstd", {}), "ZipNN": ("zipnn", {"bytearray_dtype": name})}
        for peer_name, peer in peers(interpreter, arrays, lossless).items():
            show(peer_name, n_values, peer.n_bytes, peer.write_seconds, peer.read_seconds, ours[0])


def main() -> None:
    """Compare integers, then floats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="MobileNetV2's state dict")
    parser.add_argument("--nncodec", metavar="PYTHON", help="an interpreter that has NNCodec, ZipNN and zstandard")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encode(nn.Linear(40, 40), coder="context")  # what is compiled at first use is not timed
    try:
        network = mobilenet(arguments.weights)
    except OSError as error:
        print(f"skipped: no weights of MobileNetV2 ({error}); give their file as --weights")
        return
    if arguments.nncodec is None:
        print("NNCodec, ZipNN, zstd: skipped (no --nncodec)")
    print(f"{'':<22}{'bytes':>12}{'bits':>9}{'write ns':>10}{'read ns':>10}{'ours/it':>9}")
    compare_integers(network, arguments.nncodec)
    compare_floats(network, arguments.nncodec)


if __name__ == "__main__":
    main()
