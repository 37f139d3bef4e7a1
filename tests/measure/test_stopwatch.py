"""Timing single calls: synchronised on both sides, for so long or so often, in a quiet process."""

import gc

import pytest
import torch

from effbench.measure.engine import Prepared
from effbench.measure.stopwatch import call_for, quiet, timed


class Device:
    """An engine whose calls take their time where they are waited for, and a clock that sees that."""

    def __init__(self):
        self.now, self.pending = 10.0, 0.0

    def start(self):
        self.pending += 2.0

    def synchronise(self):
        self.now += self.pending
        self.pending = 0.0

    def clock(self):
        return self.now


def test_a_call_takes_until_it_is_done_and_not_what_was_started_before():
    device = Device()
    call = timed(device.start, device, device.clock)
    device.start()
    assert call() == 2.0
    assert device.now == 14.0
    assert device.pending == 0.0


def test_what_has_a_clock_of_its_own_is_asked_for_its_seconds():
    device = Device()
    prepared = Prepared(run=device.start, outputs=lambda values: values, seconds=lambda: 0.5)
    assert timed(prepared, device, device.clock)() == 0.5
    assert device.now == 10.0
    assert timed(Prepared(run=device.start, outputs=lambda values: values), device, device.clock)() == 2.0


@pytest.mark.parametrize(
    ("seconds", "at_least", "expected"),
    [(0.0, 3, 3), (1.0, 1, 4), (1.01, 1, 5), (0.1, 1, 1), (0.6, 10, 10)],
)
def test_calls_go_on_for_so_long_and_at_least_so_often(seconds, at_least, expected):
    assert call_for(lambda: 0.25, seconds, at_least=at_least) == [0.25] * expected


def test_the_time_of_every_call_is_kept():
    times = iter([0.1, 5.0, 0.2])
    assert call_for(lambda: next(times), 5.2, at_least=1) == [0.1, 5.0, 0.2]


@pytest.mark.parametrize("collecting", [True, False])
def test_threads_and_collector_are_held_and_set_back_after_an_error_too(collecting):
    before = torch.get_num_threads()
    if not collecting:
        gc.disable()
    try:
        with pytest.raises(RuntimeError), quiet(before + 1):
            assert torch.get_num_threads() == before + 1
            assert not gc.isenabled()
            raise RuntimeError
        assert (torch.get_num_threads(), gc.isenabled()) == (before, collecting)
    finally:
        gc.enable()
