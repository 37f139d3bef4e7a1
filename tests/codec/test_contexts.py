"""What is known of a value before it is coded."""

import numpy as np
import pytest

from effbench.codec import contexts

N = 60
AT, ACROSS, PLANE = 30, 3, 9


def lines(**seen):
    """Return the three lines, zeros but for `here=[(distance, value)]` and the like, from the place of the value on."""
    made = {name: np.zeros(N, np.int32) for name in ("here", "above", "before")}
    for name, values in seen.items():
        for distance, value in values:
            made[name][AT + distance] = value
    return made["here"], made["above"], made["before"]


@pytest.mark.parametrize(
    ("share", "level"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 5), (8, 6), (11, 6), (12, 7), (10**6, 15)]
)
def test_levels_are_half_steps_of_the_logarithm(share, level):
    assert contexts.level(share) == level


def test_fine_levels_are_thirds_of_octaves():
    levels = [contexts.fine_level(number) for number in range(5000)]
    assert levels[:5] == [0, 1, 2, 3, 4]
    assert (np.diff(levels) >= 0).all()
    for octave in (8, 16, 64, 256):
        assert levels[2 * octave] - levels[octave] == 3
    assert levels[-1] == 31


def test_signs_are_told_apart():
    here, _, _ = lines(here=[(-1, -3), (-2, 3)])
    assert [contexts.sign_of(here, at) for at in (AT, AT - 1, AT - 2)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("line", "distance", "slot", "bit"),
    [
        *[("here", -distance, 1, bit) for bit, distance in enumerate((1, 2, 3, 4))],
        *[("here", -distance, 1, bit) for distance, bit in ((6, 5), (9, 6), (18, 7))],
        *[("above", shift, 2, bit) for bit, shift in enumerate((0, -1, 1, -3, 3))],
        ("before", 0, 2, 5),
    ],
)
def test_a_pattern_has_a_bit_for_each_neighbour(line, distance, slot, bit):
    chosen, known = np.zeros(7, np.int32), np.zeros(contexts.N_KNOWN, np.int64)
    levels = (0, 0, 0, 0, 0)
    contexts.choose_for_flag(lines(), AT, ACROSS, PLANE, known, levels, chosen)
    nothing = chosen.copy()
    contexts.choose_for_flag(lines(**{line: [(distance, -5)]}), AT, ACROSS, PLANE, known, levels, chosen)
    assert (chosen[slot] - nothing[slot]) & 1 << bit


@pytest.mark.extended
def test_slots_of_one_question_never_meet_those_of_another():
    """Over all that can be known, the numbers of the seven slots lie in ranges of their own."""
    rng = np.random.default_rng(0)
    chosen, known = np.zeros(7, np.int32), np.zeros(contexts.N_KNOWN, np.int64)
    lowest, highest = np.full(7, 10**6), np.zeros(7, np.int64)
    for _ in range(3000):
        values = [np.where(rng.random(N) < rng.random(), rng.integers(-255, 256, N), 0) for _ in range(3)]
        some = tuple(line.astype(np.int32) for line in values)
        levels = tuple(int(rng.choice([0, top, rng.integers(0, top)])) for top in (31, 31, 15, 15, 15))
        known[:] = rng.integers(0, 40, contexts.N_KNOWN)
        assert 0 <= contexts.choose_for_flag(some, AT, ACROSS, PLANE, known, levels, chosen) < 10
        lowest, highest = np.minimum(lowest, chosen), np.maximum(highest, chosen)
        signs = np.zeros(4, np.int32)
        expected, less = int(rng.integers(0, 16)), int(rng.integers(0, 2))
        assert 0 <= contexts.choose_for_sign(some, AT, ACROSS, PLANE, expected, less, signs) < 9
        assert [bool(low <= slot < high) for slot, (low, high) in zip(signs, SIGN_RANGES, strict=True)] == [True] * 4
    assert (highest[:-1] < lowest[1:]).all()
    assert highest[-1] < contexts.N_FLAG_SLOTS


SIGN_RANGES = [(0, 27), (27, 54), (54, 70), (70, contexts.N_SIGN_SLOTS)]


def test_a_mean_begins_with_that_of_all_and_comes_to_its_own():
    known, sums = np.zeros(contexts.N_KNOWN, np.int64), np.zeros(100, np.int64)
    inverse = (1 << contexts.INVERSE_BITS) // (np.arange(100) + contexts.PRIOR)
    known[contexts.MEAN] = 32  # two
    of_row, of_both = contexts.means(known, sums, 0, 0, inverse, 1)
    assert abs(of_row - 32) <= 1 and abs(of_both - 32) <= 1
    known[contexts.ROW_SUM] = 99 * 8
    of_row, _ = contexts.means(known, sums, 99, 0, inverse, 1)
    assert 16 * 7 < of_row < 16 * 8
