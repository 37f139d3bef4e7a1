"""Speed and size of the codec's entropy coder, beside zlib and beside the entropy.

Question: is entropy coding fast enough to be always on, and does it get what Huffman coding can give?

Command: python benchmarks/codec.py [--symbols 1000000] [--rounds 3]     Cost: a minute on one core.
Expected: Huffman writes at 250 MB/s and reads at 150 MB/s or more, within 1 % of the Huffman bound; ANS is within 0.1 %
of the entropy, several times slower; context coding (3 to 5 MB/s) gains nothing on these symbols, which are spread
at random, and loses 0.1 % by having to learn that; on the network pruned in blocks it gains. zlib (level 6) is 2 % to
15 % larger than Huffman. A symbol is one byte; speeds count symbols, not coded bytes.
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

from effbench.codec import ans, decode, encode
from effbench.codec import context_coder as context
from effbench.codec.arrangement import Arrangement
from effbench.codec.streams import Coder as Level
from effbench.codec.streams import encoding_of_symbols, read_symbols
from effbench.codec.wire import Reader
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer

Symbols = NDArray[np.uint8]
Coder = tuple[str, Callable[[Symbols], bytes], Callable[[bytes, int], Symbols]]


def write_ans(symbols: Symbols) -> bytes:
    counts = np.bincount(symbols, minlength=256)
    n_mantissa, _ = ans.best_mantissa(counts)
    return bytes([n_mantissa]) + ans.encode_symbols(symbols, counts, n_mantissa)


def read_ans(data: bytes, n_symbols: int) -> Symbols:
    reader = Reader(data)
    return ans.decode_symbols(reader, n_symbols, reader.byte())


def write_context(symbols: Symbols) -> bytes:
    data = context.encode_symbols(symbols, arrangement_of(len(symbols)), at_most=2 * len(symbols))
    assert data is not None
    return data


def arrangement_of(n_symbols: int) -> Arrangement:
    """Return rows of 1000, as of a linear layer, or a line."""
    return Arrangement.of((n_symbols // 1000, 1000), n_symbols)


CODERS: list[Coder] = [
    (
        "packed",
        lambda symbols: encoding_of_symbols(symbols, coder="none").write(),
        lambda data, n: read_symbols(Reader(data), n),
    ),
    (
        "huffman",
        lambda symbols: encoding_of_symbols(symbols, coder="huffman").write(),
        lambda data, n: read_symbols(Reader(data), n),
    ),
    ("ans", write_ans, read_ans),
    ("context", write_context, lambda data, n: context.decode_symbols(Reader(data), arrangement_of(n))),
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
    print(f"{'source':<22}{'coder':<10}{'write MB/s':>11}{'read MB/s':>11}{'bits/symbol':>13}{'of entropy':>12}")
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
            speeds = f"{write_mb:>11.1f}{read_mb:>11.1f}"
            print(f"{name:<22}{coder:<10}{speeds}{bits:>13.4f}{bits / entropy:>12.4f}")
        print(f"{'':<22}{'(Huffman)':<10}{'':>22}{bound:>13.4f}{bound / entropy:>12.4f}")
        print(f"{'':<22}{'(entropy)':<10}{'':>22}{entropy:>13.4f}{1:>12.4f}")


def measure_network() -> None:
    """Print the bytes of LeNet-300-100, pruned and quantised, by coder; the last row is pruned in blocks."""
    coders: tuple[Level, ...] = ("none", "huffman", "ans", "context")
    print(f"\n{'LeNet-300-100':<22}" + "".join(f"{name:>10}" for name in (*coders, "zlib -6")))
    for prune, bits, block in ((0.0, 8, 1), (0.0, 4, 1), (0.9, None, 1), (0.9, 4, 1), (0.95, 2, 1), (0.9, 4, 4)):
        network = make_network(prune, bits, block)
        blobs = [encode(network, coder=coder) for coder in coders]
        state = decode(blobs[-1], network).state_dict()
        plain = b"".join(tensor.numpy().tobytes() for tensor in state.values())
        label = f"prune {prune:g}, bits {bits or 32}" + (f", {block}x{block}" if block > 1 else "")
        print(f"{label:<22}" + "".join(f"{len(blob):>10}" for blob in (*blobs, zlib.compress(plain, 6))))


def make_network(prune: float, bits: int | None, block: int) -> nn.Sequential:
    """Return LeNet-300-100 with normal weights, a share of them (or of square blocks of them) zero, quantised."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    for layer in (network[0], network[2], network[4]):
        layer.weight.data.normal_()
        if prune:
            n_out, n_in = layer.weight.shape
            ranks = torch.rand(-(-n_out // block), -(-n_in // block)).kron(torch.ones(block, block))[:n_out, :n_in]
            if block == 1:
                ranks = layer.weight.abs()
            parametrize.register_parametrization(layer, "weight", Mask(ranks >= ranks.quantile(prune)))
        if bits is not None:
            parametrize.register_parametrization(layer, "weight", UniformQuantizer(bits, granularity="tensor"))
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=10**6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for _, write, read in CODERS:
        warm_up = np.arange(2**16).astype(np.uint8) // 3
        read(write(warm_up), len(warm_up))
    measure_streams(options.symbols, options.rounds)
    measure_network()


if __name__ == "__main__":
    main()
