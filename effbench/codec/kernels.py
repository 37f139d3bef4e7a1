"""The loops over symbols, compiled by numba. Import it where a loop is needed: numba takes half a second to load.

A code is given by tables. To write: `entries`, (256,) uint32, holds ``code << 8 | length`` for each symbol. To read:
`table`, (2**width,) uint16, holds ``symbol << 8 | length`` for each pattern of the next `width` bits. Codes are at most
15 bits long and written from the highest bit down. Fixed-width packing is the code whose lengths are all the same.

Bit buffers are uint64 throughout: numba makes a float of an int64 beside a uint64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from effbench.compression.jit import compiled


@compiled
def _bit_length(number: int) -> int:
    n_bits = 0
    while number:
        number >>= 1
        n_bits += 1
    return n_bits


@compiled
def histogram(symbols: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count each symbol: (n,) -> (256,)."""
    # Four tables: with one, a run of equal symbols waits for its own last increment.
    counts = np.zeros((4, 256), np.int64)
    n_quads = len(symbols) // 4 * 4
    for i in range(0, n_quads, 4):
        counts[0, symbols[i]] += 1
        counts[1, symbols[i + 1]] += 1
        counts[2, symbols[i + 2]] += 1
        counts[3, symbols[i + 3]] += 1
    for i in range(n_quads, len(symbols)):
        counts[0, symbols[i]] += 1
    total: NDArray[np.int64] = counts[0] + counts[1] + counts[2] + counts[3]
    return total


@compiled
def rounded(counts: NDArray[np.int64], n_mantissa: int) -> NDArray[np.int64]:
    """Round each count to its leading one and so many bits below, what is in the middle upwards: (256,)."""
    found = np.zeros_like(counts)
    for symbol in range(len(counts)):
        n_dropped = _bit_length(counts[symbol]) - 1 - n_mantissa
        if n_dropped > 0:
            found[symbol] = (counts[symbol] + (1 << n_dropped >> 1)) >> n_dropped << n_dropped
        else:
            found[symbol] = counts[symbol]
    return found


@compiled
def shares(counts: NDArray[np.int64], whole: int) -> NDArray[np.int64]:
    """Return whole numbers that add up to `whole`, (256,), in proportion to the counts, where positive at least 1."""
    n_used = total = largest = 0
    for symbol in range(len(counts)):
        n_used += counts[symbol] > 0
        total += counts[symbol]
        if counts[symbol] > counts[largest]:
            largest = symbol
    found, left = np.zeros_like(counts), whole
    for symbol in range(len(counts)):
        if counts[symbol] > 0:
            found[symbol] = 1 + counts[symbol] * (whole - n_used) // total
            left -= found[symbol]
    found[largest] += left
    return found


@compiled
def table_bits(rounded_counts: NDArray[np.int64], n_mantissa: int, last: int) -> int:
    """Return the bits that `ans.write_table` gives counts that are rounded already; last: the first step is from it."""
    n_bits = n_unused = 0
    for symbol in range(len(rounded_counts)):
        if rounded_counts[symbol] == 0:
            n_unused += 1
            continue
        exponent = _bit_length(rounded_counts[symbol]) - 1
        if n_unused:
            n_bits += 3 + 2 * _bit_length(n_unused) - 1
        step = abs(exponent - last)
        n_bits += 1 if step == 0 else 3 if step == 1 else 8
        n_bits += min(exponent, n_mantissa)
        last, n_unused = exponent, 0
    return n_bits


@compiled
def package_merge(weights: NDArray[np.int64], limit: int) -> NDArray[np.uint8]:
    """Return the code lengths, at most `limit`, of symbols of ascending weights: (n,) -> (n,); n is 2 to 2**limit.

    Each level merges the symbols with the pairs of the level below; of the cheapest items of each it is enough to know
    how many are symbols.
    """
    n = len(weights)
    is_symbol = np.zeros((limit, 2 * n), np.bool_)
    items, packages, n_packages = np.zeros(2 * n, np.int64), np.zeros(n, np.int64), 0
    for level in range(limit):
        symbol = package = 0
        for at in range(n + n_packages):
            if symbol < n and (package >= n_packages or weights[symbol] <= packages[package]):
                items[at] = weights[symbol]
                is_symbol[level, at] = True
                symbol += 1
            else:
                items[at] = packages[package]
                package += 1
        n_packages = (n + n_packages) // 2
        for at in range(n_packages):
            packages[at] = items[2 * at] + items[2 * at + 1]
    lengths, n_taken = np.zeros(n, np.uint8), 2 * n - 2
    for level in range(limit - 1, -1, -1):
        n_symbols = 0
        for at in range(n_taken):
            n_symbols += is_symbol[level, at]
        for at in range(n_symbols):
            lengths[at] += 1
        n_taken = 2 * (n_taken - n_symbols)
    return lengths


@compiled
def pack(symbols: NDArray[np.uint8], entries: NDArray[np.uint32], words: NDArray[np.uint32]) -> None:
    """Write the codes of `symbols` into `words` (n_bits // 32 + 1 of them, zeros), highest bit first."""
    low, word = uint64(255), uint64(32)
    buffer, n_bits, at = uint64(0), uint64(0), 0
    n_pairs = len(symbols) // 2 * 2
    for i in range(0, n_pairs, 2):
        first, second = uint64(entries[symbols[i]]), uint64(entries[symbols[i + 1]])
        n_second = second & low
        n_both = (first & low) + n_second
        buffer = (buffer << n_both) | ((first >> uint64(8)) << n_second) | (second >> uint64(8))
        n_bits += n_both
        if n_bits >= word:
            n_bits -= word
            words[at] = np.uint32((buffer >> n_bits) & uint64(0xFFFFFFFF))
            at += 1
    for i in range(n_pairs, len(symbols)):
        last = uint64(entries[symbols[i]])
        buffer = (buffer << (last & low)) | (last >> uint64(8))
        n_bits += last & low
        if n_bits >= word:
            n_bits -= word
            words[at] = np.uint32((buffer >> n_bits) & uint64(0xFFFFFFFF))
            at += 1
    if n_bits > uint64(0):
        words[at] = np.uint32((buffer << (word - n_bits)) & uint64(0xFFFFFFFF))


@compiled
def _next_word(data: NDArray[np.uint8], at: Any) -> Any:
    """Return the four bytes from `at` on as one number; beyond the end of `data` are zeros."""
    n_bytes = uint64(len(data))
    if at + uint64(4) <= n_bytes:
        high = (uint64(data[at]) << uint64(24)) | (uint64(data[at + uint64(1)]) << uint64(16))
        return high | (uint64(data[at + uint64(2)]) << uint64(8)) | uint64(data[at + uint64(3)])
    value = uint64(0)
    for i in range(4):
        value <<= uint64(8)
        if at + uint64(i) < n_bytes:
            value |= uint64(data[at + uint64(i)])
    return value


@compiled
def unpack(
    data: NDArray[np.uint8], start: int, table: NDArray[np.uint16], width: int, symbols: NDArray[np.uint8]
) -> np.int64:
    """Fill `symbols` from the bits at byte `start` on; return the bit at which it stopped, maybe beyond the end."""
    word, skip = uint64(32), uint64(64 - width)
    buffer, n_bits, at = uint64(0), uint64(0), uint64(start)
    for i in range(len(symbols)):
        if n_bits < word:
            buffer |= _next_word(data, at) << (word - n_bits)
            n_bits += word
            at += uint64(4)
        entry = table[buffer >> skip]
        symbols[i] = entry >> 8
        buffer <<= uint64(entry & 255)
        n_bits -= uint64(entry & 255)
    return np.int64(at * uint64(8) - n_bits)


@compiled
def unpack_lanes(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    table: NDArray[np.uint16],
    width: int,
    symbols: NDArray[np.uint8],
    n_lane: int,
) -> NDArray[np.int64]:
    """Fill `symbols` from four lanes of `n_lane` symbols (even; the last lane has what is left over as well).

    The lanes don't wait for each other, so the processor works on four at once (as Huff0 does, RFC 8878, section
    4.2.2). Returns the bit at which each lane stopped, (4,), maybe beyond the end.
    """
    word, skip, low, four = uint64(32), uint64(64 - width), uint64(255), uint64(4)
    a, b, c, d = uint64(0), uint64(0), uint64(0), uint64(0)
    n_a, n_b, n_c, n_d = uint64(0), uint64(0), uint64(0), uint64(0)
    at_a, at_b, at_c, at_d = uint64(starts[0]), uint64(starts[1]), uint64(starts[2]), uint64(starts[3])
    for pair in range(n_lane // 2):
        if n_a < word:
            a, n_a, at_a = a | (_next_word(data, at_a) << (word - n_a)), n_a + word, at_a + four
        if n_b < word:
            b, n_b, at_b = b | (_next_word(data, at_b) << (word - n_b)), n_b + word, at_b + four
        if n_c < word:
            c, n_c, at_c = c | (_next_word(data, at_c) << (word - n_c)), n_c + word, at_c + four
        if n_d < word:
            d, n_d, at_d = d | (_next_word(data, at_d) << (word - n_d)), n_d + word, at_d + four
        # 32 bits are enough for two codes of at most 15 bits.
        for i in range(2 * pair, 2 * pair + 2):
            entry = uint64(table[a >> skip])
            symbols[i], a, n_a = entry >> uint64(8), a << (entry & low), n_a - (entry & low)
            entry = uint64(table[b >> skip])
            symbols[n_lane + i], b, n_b = entry >> uint64(8), b << (entry & low), n_b - (entry & low)
            entry = uint64(table[c >> skip])
            symbols[2 * n_lane + i], c, n_c = entry >> uint64(8), c << (entry & low), n_c - (entry & low)
            entry = uint64(table[d >> skip])
            symbols[3 * n_lane + i], d, n_d = entry >> uint64(8), d << (entry & low), n_d - (entry & low)
    for i in range(4 * n_lane, len(symbols)):
        if n_d < word:
            d, n_d, at_d = d | (_next_word(data, at_d) << (word - n_d)), n_d + word, at_d + four
        entry = uint64(table[d >> skip])
        symbols[i], d, n_d = entry >> uint64(8), d << (entry & low), n_d - (entry & low)
    ends = np.empty(4, np.int64)
    for i, (at, n_bits) in enumerate(((at_a, n_a), (at_b, n_b), (at_c, n_c), (at_d, n_d))):
        ends[i] = np.int64(at * uint64(8) - n_bits)
    return ends
