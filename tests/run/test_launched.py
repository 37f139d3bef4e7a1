"""Jobs followed through the store, whatever runs them: order, results, what they tell, what is left behind."""

import contextlib
import threading

import pytest
import torch

from effbench.checks.owner import Owner
from effbench.run import launched
from effbench.run.launched import clear_away, run_by
from effbench.run.one import run_point
from effbench.run.outcomes import CannotBegin, RunError
from effbench.run.store import Store

CPU = torch.device("cpu")


class InThreads:
    """A backend that runs its jobs here, one after the other, and may lose some."""

    def __init__(self, lost=(), untold=()):
        self.lost, self.untold, self.returned, self.closed, self.jobs = lost, untold, [], 0, []

    def start(self, jobs, parcel, folder):
        self.jobs, self.folder = list(jobs), folder
        self.thread = threading.Thread(target=self.run, args=(parcel,), daemon=True)
        self.thread.start()

    def run(self, parcel):
        for job in self.jobs:
            if job.name in self.lost:
                self.returned.append((job.key, RunError("its machine is gone", "")))
            else:
                ended = job(parcel)
                if job.name in self.untold:
                    job.letters.unlink()
                self.returned.append((job.key, ended))

    def ended(self):
        while self.returned:
            yield self.returned.pop(0)

    def close(self):
        self.closed += 1


def test_results_are_those_of_this_process_and_what_is_kept_is_no_job(tmp_path, tiny_points, recorder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    points = tiny_points("prune=0.3,0.5,0.7")
    store, backend = Store(tmp_path / "store"), InThreads(untold=[str(points[1])], lost=[str(points[2])])
    run_point(points[3], store, device=CPU)
    outcomes = {p.label: outcome for p, outcome in run_by(backend, points, store, CPU, recorder)}
    assert [job.key for job in backend.jobs] == [point.key for point in points[:3]]
    assert {label: outcome.was_kept for label, outcome in outcomes.items() if not isinstance(outcome, RunError)} == {
        "reference": False,
        "prune=0.3": False,
        "prune=0.7": True,
    }
    assert outcomes["prune=0.5"].summary == "its machine is gone"
    here = run_point(points[0], Store(tmp_path / "here"), device=CPU)
    assert outcomes["reference"].blob == here.blob
    measured = ({n: v for n, v in r.metrics.items() if "seconds" not in n} for r in (outcomes["reference"], here))
    assert next(measured) == next(measured)
    assert sorted(recorder.told) == sorted((what, p.label) for p in points for what in ("started", "computed"))
    assert len(recorder.epochs) == len(set(recorder.epochs)) and ("reference", "train", 1) in recorder.epochs
    assert backend.closed == 1 and not (store.root / "launcher").exists()
    assert {p.label for p, _ in run_by(InThreads(), points[:2], store, CPU, recorder)} == {"reference", "prune=0.3"}


def test_one_that_can_not_begin_and_one_that_is_left_leave_nothing(tmp_path, tiny_points, recorder):
    class Refuses(InThreads):
        def start(self, jobs, parcel, folder):
            raise CannotBegin("no machine")

    points, store = tiny_points("prune=0.5"), Store(tmp_path / "store")
    backend = Refuses()
    with pytest.raises(CannotBegin, match="no machine"):
        run_by(backend, points, store, CPU, recorder)
    assert (backend.closed, recorder.told) == (1, [])
    assert not (store.root / "launcher").exists()
    backend = InThreads()
    with contextlib.closing(run_by(backend, points, store, CPU, recorder)) as runs:
        assert backend.folder.is_dir()
        next(runs)
    backend.thread.join(60)
    assert backend.closed == 1


def test_a_result_that_another_machine_has_put_elsewhere_is_said_to_be_missing(
    tmp_path, tiny_points, recorder, monkeypatch
):
    monkeypatch.setattr(launched, "LAG_SECONDS", 0.2)
    monkeypatch.setattr(launched.Job, "__call__", lambda self, parcel: False)
    ((_, outcome),) = run_by(InThreads(), tiny_points("prune=0.5")[:1], Store(tmp_path / "s"), CPU, recorder)
    assert "is store.root the same folder on all of the launcher's machines?" in outcome.summary


def test_folders_of_commands_that_were_killed_are_cleared_away(tmp_path):
    here = Owner.here()
    owners = {"dead-1": Owner(here.host, here.process, "another start"), "alive-1": here, "far-1": Owner("far", 1, "x")}
    for name, owner in owners.items():
        (tmp_path / "launcher" / name).mkdir(parents=True)
        (tmp_path / "launcher" / name / "owner").write_text(str(owner))
    (tmp_path / "launcher" / "users-own").mkdir()
    clear_away(tmp_path)
    assert sorted(path.name for path in (tmp_path / "launcher").iterdir()) == ["alive-1", "far-1", "users-own"]
