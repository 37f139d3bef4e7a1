"""Speed and size of the codec's entropy coder, beside zlib and beside the entropy.

Question: is entropy coding fast enough to be always on, and does it get what Huffman coding can give?

Command: python benchmarks/codec.py [--symbols 10000000] [--rounds 5]     Cost: half a minute on one core.
Expected: Huffman writes at 250 MB/s and reads at 150 MB/s or more, within 1 % of the Huffman bound; zlib (level 6)
writes ten times slower and 2 % to 15 % larger. A symbol is one byte; speeds count symbols, not coded bytes.
"""

from __future__ import annotations

import argparse
import heapq
import statistics
import time
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parametrize

from effbench.codec import decode, encode
from effbench.codec.streams import plan_symbols, read_symbols
from effbench.codec.wire import Reader
from effbench.constraints import Mask, UniformQuantizer

Symbols = NDArray[np.uint8]
Coder = tuple[str, Callable[[Symbols], bytes], Callable[[bytes, int], Symbols]]

CODERS: list[Coder] = [
    (
        "huffman",
        lambda symbols: plan_symbols(symbols, coder="huffman").write(),
        lambda data, n: read_symbols(Reader(data), n),
    ),
    (
        "packed",
        lambda symbols: plan_symbols(symbols, coder="none").write(),
        lambda data, n: read_symbols(Reader(data), n),
    ),
    (
        "zlib -6",
        lambda symbols: zlib.compress(symbols, 6),
        lambda data, n: np.frombuffer(zlib.decompress(data), np.uint8),
    ),
]


def sources(n_symbols: int) -> Iterator[tuple[str, Symbols]]:
    """Yield what quantised weights look like: (name, symbols of shape (n_symbols,))."""
    rng = np.random.default_rng(0)
    laplace = np.clip(np.round(rng.laplace(0, 12, n_symbols)) + 128, 0, 255)
    yield "8-bit codes, Laplace", laplace.astype(np.uint8)
    yield "4-bit codes, normal", np.clip(np.round(rng.normal(0, 2.3, n_symbols)) + 7, 0, 14).astype(np.uint8)
    yield "gaps at 90 % zeros", np.minimum(rng.geometric(0.1, n_symbols) - 1, 255).astype(np.uint8)


def entropy_bits(symbols: Symbols) -> float:
    """Return the empirical entropy of a symbol in bits."""
    shares = np.bincount(symbols) / len(symbols)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def huffman_bound_bits(symbols: Symbols) -> float:
    """Return the mean length of an unlimited Huffman code in bits, without its table (Huffman 1952)."""
    heap = [int(count) for count in np.bincount(symbols) if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total / len(symbols)


def measure_streams(n_symbols: int, n_rounds: int) -> None:
    """Print speed and size of each coder on each source; the coders take turns, so that noise meets all alike."""
    print(f"{n_symbols:,} symbols, median of {n_rounds} interleaved rounds\n")
    print(f"{'source':<22}{'coder':<10}{'write MB/s':>11}{'read MB/s':>11}{'bits/symbol':>13}{'of bound':>10}")
    for name, symbols in sources(n_symbols):
        bound, entropy = huffman_bound_bits(symbols), entropy_bits(symbols)
        seconds: dict[str, list[tuple[float, float]]] = {coder: [] for coder, _, _ in CODERS}
        sizes: dict[str, int] = {}
        for _ in range(n_rounds):
            for coder, write, read in CODERS:
                start = time.perf_counter()
                data = write(symbols)
                middle = time.perf_counter()
                restored = read(data, len(symbols))
                seconds[coder].append((middle - start, time.perf_counter() - middle))
                sizes[coder] = len(data)
                assert np.array_equal(restored, symbols)
        for coder, _, _ in CODERS:
            write_mb, read_mb = (len(symbols) / 1e6 / statistics.median(s) for s in zip(*seconds[coder], strict=True))
            bits = 8 * sizes[coder] / len(symbols)
            print(f"{name:<22}{coder:<10}{write_mb:>11.0f}{read_mb:>11.0f}{bits:>13.4f}{bits / bound:>10.4f}")
        print(f"{'':<22}{'(bound)':<10}{'':>22}{bound:>13.4f}{1:>10.4f}")
        print(f"{'':<22}{'(entropy)':<10}{'':>22}{entropy:>13.4f}{entropy / bound:>10.4f}")


def measure_network() -> None:
    """Print the bytes of LeNet-300-100, pruned and quantised, beside zlib, and float32 bytes over the file's."""
    print(f"\n{'LeNet-300-100':<22}{'none':>10}{'huffman':>10}{'zlib -6':>10}{'ratio':>8}")
    for prune, bits in ((0.0, None), (0.0, 8), (0.0, 4), (0.9, None), (0.9, 8), (0.9, 4), (0.95, 2)):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
        for layer in (network[0], network[2], network[4]):
            layer.weight.data.normal_()
            if prune:
                mask = layer.weight.abs() >= layer.weight.abs().quantile(prune)
                parametrize.register_parametrization(layer, "weight", Mask(mask))
            if bits is not None:
                parametrize.register_parametrization(layer, "weight", UniformQuantizer(bits, granularity="tensor"))
        blob = encode(network)
        state = decode(blob, network).state_dict()
        plain = b"".join(tensor.numpy().tobytes() for tensor in state.values())
        sizes = (len(encode(network, coder="none")), len(blob), len(zlib.compress(plain, 6)))
        label = f"prune {prune:g}, bits {bits or 32}"
        print(f"{label:<22}" + "".join(f"{size:>10}" for size in sizes) + f"{len(plain) / len(blob):>8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=10**7)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for _, write, read in CODERS:
        warm_up = np.arange(2**16).astype(np.uint8) // 3
        read(write(warm_up), len(warm_up))
    measure_streams(options.symbols, options.rounds)
    measure_network()


if __name__ == "__main__":
    main()
