"""What a profile is of: a network by itself, a point of a sweep, a tracked run."""

import pytest

import effbench
from effbench.run.outcomes import RunError
from effbench.sweep import profiling
from effbench.sweep.profiling import subject_of_command, subject_of_run

pytestmark = pytest.mark.filterwarnings("ignore")

TINY = ("model=small_cnn", "model.channels=[4,8]", "data.side=8", "train.epochs=0", "finetune.epochs=0")


def n_parameters(subject):
    return sum(parameter.numel() for parameter in subject.network.parameters())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_an_axis_it_is_the_fresh_network_and_nothing_is_written(folder):
    subject = subject_of_command(["model=mobilenet_v1", "train.epochs=7"], side=160)
    assert (subject.title, subject.input_size) == ("mobilenet_v1 at 3×160×160", (3, 160, 160))
    assert next(subject.network.parameters()).is_meta
    assert subject_of_command(TINY, side=None).title == "small_cnn at 1×8×8, as for digits"
    assert not list(folder.iterdir())


@pytest.mark.extended
def test_with_an_axis_it_is_the_point_of_a_sweep_and_is_kept(folder, monkeypatch):
    arguments = [*TINY, "+prune_channels=0.5"]
    subject = subject_of_command(arguments, side=None)
    assert subject.input_size == (1, 8, 8) and not subject.network.training
    assert subject.title == "small_cnn at 1×8×8, digits: prune_channels=0.5, seed=0"
    assert subject.network.features.conv1.out_channels == 2
    assert [path.name for path in folder.iterdir()] == [".effbench"]  # nothing is tracked
    monkeypatch.setattr("effbench.run.one._computed", lambda *_, **__: pytest.fail("it is kept"))
    assert n_parameters(subject_of_command(arguments, side=None)) == n_parameters(subject)


@pytest.mark.extended
def test_what_only_builds_the_network_otherwise_is_not_trained(folder, monkeypatch):
    monkeypatch.setattr(profiling, "run_here", lambda *_: pytest.fail("nothing is to be run"))
    tiny = [argument for argument in TINY if argument != "data.side=8"]
    subject = subject_of_command([*tiny, "+alpha=0.5", "+rho=0.5"], side=16)
    assert subject.input_size == (1, 8, 8) and subject.network.features.conv2.out_channels == 4
    assert n_parameters(subject_of_command([*TINY, "+prune=0"], side=None)) == 4 * 9 + 8 + 8 * 36 + 16 + 90


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=small_cnn,lenet_5"], "model=small_cnn,lenet_5: a profile is of one network; give one value"),
        ([*TINY, "+prune=0.5,0.9"], "prune=0.5,0.9: a profile is of one network"),
        ([*TINY, "seed=0,1"], "seed=0,1: a profile is of one network"),
        ([*TINY, "+prune=0.5", "dry_run=true"], "dry_run=true: effbench sweep says what would run"),
        (["model=vgg61"], "model=vgg61: there is no such choice; did you mean model=vgg1"),
        (["sotr=macs"], "sotr: there is no such key"),
        ([*TINY, "+prune=2"], "prune=2: must be a number"),
    ],
)
def test_what_fits_not_is_refused(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        subject_of_command(arguments, side=None)
    assert not list(folder.iterdir())


def test_two_sides_are_one_too_many(folder):
    with pytest.raises(ValueError, match=r"side=16: data.side is given as well; give one of the two"):
        subject_of_command(TINY, side=16)


def test_a_run_that_fails_says_so(folder, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no luck")

    monkeypatch.setattr("effbench.run.one._computed", fail)
    with pytest.raises(RunError, match="no luck"):
        subject_of_command([*TINY, "+prune=0.5"], side=None)


def test_a_tracked_run_is_read_from_its_file(uri, row):
    subject = subject_of_run(row["run_key"][:12], side=None, tracking_uri=uri)
    assert subject.input_size == (1, 28, 28)
    assert subject.title.startswith("lenet_300_100 at 1×28×28, digits: prune=0.9, bits=4, seed=1 (run ")
    layers = effbench.profile_layers(subject.network, subject.input_size)
    assert layers["params_nonzero"].sum() == row["params_nonzero"] and layers["macs"].sum() == row["macs"]
    assert layers["macs_effective"].sum() == row["macs_effective"]
    with pytest.raises(ValueError, match="run=zzz: experiment effbench has no finished run"):
        subject_of_run("zzz", side=None, tracking_uri=uri)
