"""The work of a sweep: what is refused before it, what stops it, and what is left behind then."""

import errno
import shutil

import pytest

from effbench.config.read import read_sweep
from effbench.sweep import work as module
from effbench.sweep.work import Refused, Stopped, place_of, work
from effbench.tracking.tracker import TrackingError

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def sweep(tmp_path, monkeypatch, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return read_sweep(["train.epochs=0", "sweep.jobs=1", "measure.seconds=0.01"])


def test_a_store_or_tracker_that_can_not_be_used_is_refused(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "why_refused", lambda *given: "tracking.uri=x: is not there")
    with pytest.raises(Refused, match="is not there"), place_of(sweep):
        raise AssertionError("it never begins")
    assert not (tmp_path / ".effbench" / "entries" / "sweeps").exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TrackingError("the server is gone"), "the server is gone; what was finished is kept"),
        (OSError(errno.ENOSPC, "No space left on device"), "can't be written (No space left on device); what was"),
    ],
)
def test_what_stops_it_is_told_in_a_line(sweep, error, message):
    with pytest.raises(Stopped) as caught, place_of(sweep):
        raise error
    assert message in str(caught.value)


def test_an_error_of_effbench_itself_stays_what_it_is(sweep):
    with pytest.raises(ValueError, match="ours") as caught, place_of(sweep):
        raise ValueError("ours")
    assert not isinstance(caught.value, Refused)


def test_runs_are_ended_though_the_tracker_can_not_be_opened(sweep, display, monkeypatch):
    ended = []

    def begun(points, store, device, observer):
        try:
            yield  # they are under way
            yield from ()
        finally:
            ended.append(True)

    def execute(points, store, device, observer):
        runs = begun(points, store, device, observer)
        next(runs)
        return runs

    def refuse(*given, **options):
        raise ImportError("no such package")

    display.__class__.__enter__ = lambda self: self
    display.__class__.__exit__ = lambda self, *error: None
    monkeypatch.setattr(module, "_executor", lambda *given: execute)
    monkeypatch.setattr("effbench.tracking.write.MlflowTracker", refuse)
    kept = []
    with pytest.raises(ImportError) as caught, place_of(sweep) as (use, uri):
        kept.append(work(sweep, use, uri, display, shows=False))
    assert ended == [True] and caught.value.__traceback__ is not None


@pytest.mark.extended
@pytest.mark.parametrize("shows", [False, True])
def test_it_prints_where_that_is_wanted(sweep, display, capsys, shows):
    display.__class__.__enter__ = lambda self: self
    display.__class__.__exit__ = lambda self, *error: None
    with place_of(sweep) as (use, uri):
        worked = work(sweep, use, uri, display, shows=shows)
    assert worked.is_whole and len(worked.outcome.frame) == 1 and display.ended == [("reference, seed=0", False)]
    assert bool(capsys.readouterr().out) == shows and worked.printout.text()


class Abandoned:
    """A tracker that remembers whether it was told to give up, and may fail at that, too."""

    def __init__(self, error=None):
        self.error, self.n_abandoned = error, 0

    def abandon_sweep(self):
        self.n_abandoned += 1
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [None, TrackingError("gone")])
def test_a_sweep_that_does_not_come_to_its_end_says_so_even_if_the_tracker_is_gone(error):
    tracker = Abandoned(error)
    with module._abandoned_on_error(tracker):
        pass
    assert tracker.n_abandoned == 0
    with pytest.raises(KeyboardInterrupt), module._abandoned_on_error(tracker):
        raise KeyboardInterrupt
    assert tracker.n_abandoned == 1
