import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.codec import arithmetic

SEEDED = settings(deadline=None, derandomize=True, max_examples=60)


@SEEDED
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 65535)), max_size=300))
def test_bits_of_any_probability_come_back(bits):
    data = np.zeros(1000, np.uint8)
    state = arithmetic.start(data, 0, len(data), False)
    for bit, probability in bits:
        assert arithmetic.code_bit(data, state, bit, probability) == bit
    end = arithmetic.finish(data, state)
    data[end:] = 255  # what follows does not matter
    state = arithmetic.start(data, 0, end, True)
    assert [arithmetic.code_bit(data, state, 0, probability) for _, probability in bits] == [bit for bit, _ in bits]
    assert arithmetic.finish(data, state) == end
    ideal = sum(-np.log2((p if bit else 65536 - p) / 65536) for bit, p in bits) / 8
    assert end <= 1.001 * ideal + 3


def test_carries_reach_bytes_that_were_written():
    """Ones that are nearly certain to be zeros push the number up to the next byte, and the next."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        bits = rng.integers(0, 2, 40).tolist()
        probabilities = rng.choice([1, 2, 32768, 65534, 65535], 40).tolist()
        data = np.zeros(200, np.uint8)
        state = arithmetic.start(data, 0, len(data), False)
        for bit, probability in zip(bits, probabilities, strict=True):
            arithmetic.code_bit(data, state, bit, probability)
        end = arithmetic.finish(data, state)
        state = arithmetic.start(data, 0, end, True)
        assert [arithmetic.code_bit(data, state, 0, probability) for probability in probabilities] == bits


def test_the_tables_are_the_logistic_function():
    logits = np.arange(-arithmetic.MAX_LOGIT, arithmetic.MAX_LOGIT + 1) / arithmetic.ONE_LOGIT
    assert np.abs(arithmetic.SQUASH - 65536 / (1 + np.exp(-logits))).max() <= 1
    assert (np.diff(arithmetic.SQUASH) >= 0).all()
    assert arithmetic.SQUASH[0] >= 1
    assert arithmetic.SQUASH[-1] <= 65535
    middles = (np.arange(4096) + 0.5) / 4096
    expected = np.log(middles / (1 - middles)) * arithmetic.ONE_LOGIT
    assert np.abs(arithmetic.STRETCH - expected).max() <= 2
    assert np.abs(arithmetic.STRETCH - expected)[200:-200].max() <= 1.1


def test_what_is_mixed_learns_what_it_is_shown():
    """One of three slots knows the bit, one is noise, one is the same for all: it costs next to nothing."""
    rng = np.random.default_rng(0)
    bits, noise = rng.integers(0, 2, 4000).tolist(), rng.integers(0, 2, 4000).tolist()
    logits, data = np.zeros(3, np.int32), np.zeros(4000, np.uint8)

    def coded(bits, decodes, end):
        slots, weights = arithmetic.fresh_slots(5), arithmetic.fresh_weights(2, 3)
        state = arithmetic.start(data, 0, end, decodes)
        read = []
        for i, known in enumerate(bits_before):
            chosen = np.array([known, 2 + noise[i], 4], np.int32)
            bit = 0 if decodes else bits[i]
            read.append(arithmetic.mix_bit(data, state, bit, slots, chosen, 3, weights, 0, 1, logits))
        return read, arithmetic.finish(data, state)

    bits_before = bits  # the first slot's number is the bit
    _, end = coded(bits, False, len(data))
    assert coded(bits, True, end) == (bits, end)
    assert end < 4000 / 8 * 0.06
