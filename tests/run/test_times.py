"""When a run was at work."""

import json
import pickle
import time

import pytest

from effbench.run.outcomes import RunError
from effbench.run.times import Times, noting_failure, times_of


def test_a_run_ends_now_and_never_before_it_began():
    now = time.time()
    times = Times.since(now - 5)
    assert 5 <= times.ended - times.began < 10
    ahead = Times.since(now + 1000)  # the clock was set back
    assert ahead.ended == ahead.began


def test_they_can_be_kept_as_json():
    times = Times(began=1.25, ended=2.5)
    assert Times.of_plain(json.loads(json.dumps(times.to_plain()))) == times
    assert Times.of_plain(None) is None


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(2), KeyboardInterrupt()])
def test_a_failure_knows_when_its_run_began_also_elsewhere(error):
    began = time.time() - 3
    with pytest.raises(type(error)) as caught, noting_failure(began):
        raise error
    there = pickle.loads(pickle.dumps(RunError.of(caught.value)))
    assert there.times.began == began and 3 <= there.times.ended - began < 10


def test_of_what_failed_before_it_began_nothing_is_known():
    assert times_of(ValueError("x")) is None and RunError.of(ValueError("x")).times is None
