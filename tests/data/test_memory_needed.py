"""Memory is said before it is taken, and refused where it is not there."""

import logging
from types import SimpleNamespace

import pytest

from effbench.data import memory_needed
from effbench.data.memory_needed import KEPT_BYTES, check_holding, suited_cache, take_memory
from effbench.data.paths import remark


@pytest.fixture
def free(monkeypatch):
    """Return what sets how much memory is free."""

    def set_free(n_bytes):
        monkeypatch.setattr(memory_needed.psutil, "virtual_memory", lambda: SimpleNamespace(available=n_bytes))

    return set_free


def test_what_is_taken_is_said_with_number_shape_and_size(free, caplog):
    free(10**9)
    remark.cache_clear()
    with caplog.at_level(logging.WARNING):
        take_memory("1,234 images of 3 x 64 x 64", 15_163_392)
    assert caplog.messages == [
        "data: 1,234 images of 3 x 64 x 64 take 15.2 MB of memory, in each process that trains or evaluates"
    ]


def test_more_than_is_free_is_refused_in_a_line(free):
    free(10**7)
    take_memory("images", 10**7)
    with pytest.raises(
        ValueError, match=r"^data\.cache=memory: images take 11\.0 MB of memory, and 10\.0 MB are free; "
    ):
        take_memory("images", 11 * 10**6)


def test_what_suits_depends_on_the_size_and_on_what_is_free(free):
    free(100 * KEPT_BYTES)
    assert (suited_cache(KEPT_BYTES), suited_cache(KEPT_BYTES + 1)) == ("memory", "none")
    free(1000)
    assert (suited_cache(500), suited_cache(501)) == ("memory", "none")


@pytest.mark.parametrize(
    ("cache", "workers", "named"),
    [("ram", 0, "data.cache=ram"), (True, 0, "data.cache=True"), (None, -1, "data.workers=-1")]
    + [(None, wrong, f"data.workers={wrong}") for wrong in (1.5, "2", True, None)],
)
def test_ways_that_there_are_not(cache, workers, named):
    with pytest.raises(ValueError, match=named):
        check_holding(cache, workers)
