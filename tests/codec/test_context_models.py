"""That writer and reader of the context coder know the same of a value, whatever the layer is like."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.codec import context_models as models

SEEDED = settings(deadline=None, derandomize=True, max_examples=60)


def written(values, geometry, limits, n_bytes=100_000):
    data = np.zeros(n_bytes, np.uint8)
    end = models.code_values(values.copy(), geometry, limits, data, 0, n_bytes, decodes=False)
    return data[: max(end, 0)].copy(), end


def read(data, geometry, limits):
    values = np.zeros(geometry[0] * geometry[1], np.int32)
    return values, models.code_values(values, geometry, limits, data, 0, len(data), decodes=True)


geometries = st.sampled_from(
    [
        (60, 1, 1, 1),
        (1, 60, 1, 1),
        (6, 10, 1, 1),
        (5, 12, 3, 6),
        (4, 18, 3, 9),
        (3, 16, 4, 16),
        (40, 9, 3, 9),
        (2, 1, 1, 1),
    ]
)
all_limits = st.sampled_from([(0, 1), (-1, 0), (-1, 1), (-7, 8), (-3, 0), (0, 255), (-255, 0), (-128, 127)])


@SEEDED
@given(geometries, all_limits, st.floats(0.05, 1), st.integers(0, 2**32 - 1))
def test_values_come_back_in_every_geometry(geometry, limits, density, seed):
    rng = np.random.default_rng(seed)
    n_values = geometry[0] * geometry[1]
    values = np.where(rng.random(n_values) < density, rng.integers(limits[0], limits[1] + 1, n_values), 0)
    data, end = written(values.astype(np.int32), geometry, limits)
    again, stopped = read(data, geometry, limits)
    assert stopped == end == len(data)
    assert np.array_equal(again, values)


def test_more_rows_than_are_looked_at_come_back():
    values = np.random.default_rng(0).integers(-2, 3, 1500 * 8).astype(np.int32)
    data, _ = written(values, (1500, 8, 1, 1), (-2, 2))
    assert np.array_equal(read(data, (1500, 8, 1, 1), (-2, 2))[0], values)


def test_too_few_bytes_are_told():
    values = np.random.default_rng(0).integers(-7, 8, 600).astype(np.int32)
    assert written(values, (6, 100, 1, 1), (-7, 7), 50)[1] == -1
    data, end = written(values, (6, 100, 1, 1), (-7, 7))
    assert read(data[: end // 2], (6, 100, 1, 1), (-7, 7))[1] == -1


def test_a_value_beyond_the_limits_is_told():
    """Seven of eight magnitudes are possible, but three bits hold eight."""
    rng = np.random.default_rng(0)
    ends = [read(rng.integers(0, 256, 200).astype(np.uint8), (20, 30, 1, 1), (-5, 5))[1] for _ in range(30)]
    assert -1 in ends


def test_rows_that_resemble_rows_before_are_worth_much_less():
    """As the classes of a classifier do: each row is a mixture of four patterns, and noise."""
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 2, (200, 4)) @ rng.normal(0, 2, (4, 256)) + rng.normal(0, 0.6, (200, 256))
    values = np.clip(np.round(rows), -15, 15).astype(np.int32)
    together = len(written(values.reshape(-1), (200, 256, 1, 1), (-15, 15))[0])
    alone = len(written(rng.permuted(values, axis=1).reshape(-1), (200, 256, 1, 1), (-15, 15))[0])
    assert together < 0.75 * alone


@pytest.mark.parametrize("of", ["rows", "columns"])
def test_rows_and_columns_of_their_own_size_are_seen(of):
    rng = np.random.default_rng(0)
    sizes = rng.choice([0.3, 1, 3], (300, 1) if of == "rows" else (1, 200))
    values = np.clip(np.round(rng.normal(0, 2, (300, 200)) * sizes), -20, 20).astype(np.int32)
    shuffled = rng.permutation(values.reshape(-1))
    ordered = len(written(values.reshape(-1), (300, 200, 1, 1), (-20, 20))[0])
    assert ordered < 0.9 * len(written(shuffled, (300, 200, 1, 1), (-20, 20))[0])


@pytest.mark.extended
def test_another_process_with_other_threads_reads_the_same(tmp_path):
    """Whole numbers alone: no sum depends on its order, none on the processor (encodec#95)."""
    rng = np.random.default_rng(0)
    values = np.clip(np.round(rng.normal(0, 3, (90, 70)).cumsum(0)), -90, 90).astype(np.int32).reshape(-1)
    data, _ = written(values, (90, 70, 1, 1), (-90, 90))
    np.save(tmp_path / "data.npy", data)
    np.save(tmp_path / "values.npy", values)
    script = (
        "import numpy as np; from effbench.codec import context_models as m; d = np.load('data.npy');"
        "v = np.zeros(6300, np.int32); m.code_values(v, (90, 70, 1, 1), (-90, 90), d, 0, len(d), decodes=True);"
        "assert np.array_equal(v, np.load('values.npy'))"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True, timeout=120)
