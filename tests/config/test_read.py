"""A command read into a sweep: its settings, its engines, what is known of its axes."""

import pytest
import torch

from effbench.config.read import read_sweep


def test_an_empty_command_is_the_reference_alone():
    sweep = read_sweep([])
    assert [point.label for point in sweep.plan.points] == ["reference"]
    assert sweep.command == "python -m effbench.sweep"
    assert sweep.axes == {}
    assert sweep.launcher == ()
    assert sweep.jobs is None
    assert sweep.tolerance == 0.02
    assert not sweep.dry_run
    assert (sweep.measure.batch, sweep.measure.threads, sweep.measure.seconds) == ((1,), (1,), 1.0)
    assert (sweep.tracking.uri, sweep.tracking.experiment, sweep.store.root) == (None, "effbench", ".effbench")


def test_settings_are_taken_from_their_keys():
    sweep = read_sweep(
        [
            *("tolerance=0", "sweep.jobs=3", "dry_run=true", "store.root=there", "tracking.experiment=mine"),
            *("tracking.uri=sqlite:///x.db", "measure.batch=1,8", "measure.threads=[1,2]", "measure.seconds=2"),
            "hydra/launcher=joblib",
        ]
    )
    assert (sweep.tolerance, sweep.jobs, sweep.dry_run) == (0.0, 3, True)
    assert (sweep.measure.batch, sweep.measure.threads, sweep.measure.seconds) == ((1, 8), (1, 2), 2.0)
    assert (sweep.tracking.uri, sweep.tracking.experiment) == ("sqlite:///x.db", "mine")
    assert sweep.store.root == "there"
    assert sweep.launcher == ("hydra/launcher=joblib",)


def test_the_command_can_be_pasted_into_a_shell():
    arguments = ["prune=0.5", "stage.prune.layers={features.conv1:0.2}"]
    assert read_sweep(arguments).command == (
        "python -m effbench.sweep prune=0.5 'stage.prune.layers={features.conv1:0.2}'"
    )


def test_a_call_is_shown_without_its_passwords():
    call = "effbench.run_sweep(bits=[4], tracking={'uri': 'postgresql://me:secret-word@there/db'})"
    sweep = read_sweep(["+bits=4"], call=call)
    assert sweep.command == call.replace("secret-word", "***")
    assert sweep.name == "bits=[4], tracking={'uri': 'postgresql://me:***@there/db'}"


@pytest.mark.extended
def test_models_are_logged_only_where_that_is_asked_for_and_no_key_knows():
    plain, asked = read_sweep(["+bits=4"]), read_sweep(["+bits=4", "tracking.log_model=true"])
    assert (plain.tracking.log_model, asked.tracking.log_model) == (False, True)
    assert plain.plan.sweep_id == asked.plan.sweep_id
    assert [point.key for point in plain.plan.points] == [point.key for point in asked.plan.points]
    with pytest.raises(ValueError, match=r"tracking\.log_model=maybe"):
        read_sweep(["tracking.log_model=maybe"])


def test_of_every_swept_axis_the_realness_is_known():
    sweep = read_sweep(["prune=0.5", "alpha=0.5,2"])
    assert set(sweep.axes) == {"prune", "alpha"}
    assert sweep.axes["prune"].realised["macs"] == "masked"
    assert sweep.axes["alpha"].realised["macs"] == "removed"


class TestEngines:
    def test_the_device_reaches_the_engine(self):
        assert read_sweep(["device=cpu"]).engines["eager"].options == {"device": "cpu"}
        automatic = read_sweep(["device=auto"])
        assert automatic.engines["eager"].options == {"device": str(automatic.device)}

    def test_an_engine_may_run_elsewhere_than_training(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        sweep = read_sweep(["device=cuda:1", "engine.eager.device=cpu", "train.precision=float32"])
        assert sweep.device == torch.device("cuda:1")
        assert sweep.engines["eager"].options == {"device": "cpu"}
        both = read_sweep(["device=cuda:1", "train.precision=float32"])
        assert both.engines["eager"].options == {"device": "cuda:1"}

    def test_what_an_engine_refuses_is_said_before_anything_starts(self):
        with pytest.raises(ValueError, match=r"^engine\.eager\.device=toaster: must be cpu, cuda, cuda:N or mps$"):
            read_sweep(["engine.eager.device=toaster"])

    def test_where_it_runs_decides_no_run(self):
        one, other = read_sweep(["prune=0.5"]), read_sweep(["prune=0.5", "engine.eager.device=cpu"])
        assert one.plan.sweep_id == other.plan.sweep_id


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("tolerance=1", r"tolerance=1: must be a number in \[0, 1\); a fraction of the quality; 0\.02 is two points"),
        ("tolerance=null", r"tolerance=null: must be a number in \[0, 1\)"),
        ("dry_run=1", "dry_run=1: must be true or false"),
        ("sweep.jobs=many", "sweep.jobs=many: must be auto or a whole number, 1 or more"),
        ("measure.batch=0", "measure.batch=0: must be a whole number, 1 to 65536"),
        ("measure.threads=1,300", "measure.threads=300: must be a whole number, 1 to 256"),
        ("measure.seconds=0", "measure.seconds=0: must be a number above 0"),
        (
            "store.limit=much",
            "store.limit=much: must be a size above 0, such as 20GB, 1.5GiB, 500MB, or a number of bytes",
        ),
        ("store.keep=some", "store.keep=some: must be needed or all"),
        ("store.root=", "store.root=: must be text; a folder, such as .effbench"),
    ],
)
def test_settings_that_can_not_be_are_named_with_their_key(argument, message):
    with pytest.raises(ValueError, match=f"^{message}") as refusal:
        read_sweep([argument])
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["saturation.method=tolerance_bound"], {}),
        (["saturation.method=kneedle", "saturation.cost_axis=log"], {"sensitivity": 1.0, "cost_axis": "log"}),
        (["saturation.method=marginal", "saturation.rate=0.5"], {"rate": 0.5}),
        (["saturation.method=price", "saturation.price=20000"], {"price": {"size_bytes": 20000}}),
        (
            ["saturation.method=price", "saturation.price={size_bytes: 2, macs: 1e6}"],
            {"price": {"size_bytes": 2, "macs": 1e6}},
        ),
    ],
)
def test_definitions_of_the_saturation_point(arguments, options):
    plain, asked = read_sweep(["+prune=0.5"]), read_sweep(["+prune=0.5", *arguments])
    assert asked.saturation.options == options
    assert asked.plan.sweep_id == plain.plan.sweep_id and asked.plan.points[1].key == plain.plan.points[1].key


@pytest.mark.parametrize(
    ("argument", "formats"),
    [
        ("figure.format=png", ("png",)),
        ("figure.format=svg,pdf", ("svg", "pdf")),
        ("figure.format=[pdf,png]", ("pdf", "png")),
        ("figure.format=svg,svg", ("svg",)),
    ],
)
def test_several_formats_of_figures_multiply_no_runs(argument, formats):
    plain, asked = read_sweep(["+prune=0.5"]), read_sweep(["+prune=0.5", argument])
    assert (plain.figure.format, asked.figure.format) == (("png",), formats)
    assert asked.plan.sweep_id == plain.plan.sweep_id and len(asked.plan.points) == 2


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("figure.format=gif", "figure.format=gif: must be png, svg or pdf"),
        ("figure.format=svg,gif", "figure.format=gif: must be png, svg or pdf"),
        ("figure.format=null", "figure.format=null: must be png, svg or pdf"),
        ("figure.format=[]", "figure.format=[]: give at least one value, as in figure.format=svg,pdf"),
        ("figure.formt=svg", "figure.formt: there is no such key; did you mean figure.format?"),
        ("figure=svg", "figure: is a group of keys; give one of them, as in figure.format=…"),
    ],
)
def test_formats_that_there_are_not(argument, message):
    with pytest.raises(ValueError) as refusal:
        read_sweep(["+prune=0.5", argument])
    assert str(refusal.value) == message


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "saturation.method=price",
            r"saturation\.method=price: give saturation\.price=, what a point of quality is worth",
        ),
        (
            "saturation.method=knee",
            "saturation.method=knee: must be tolerance, tolerance_bound, kneedle, marginal or price",
        ),
        ("saturation.method=price,kneedle", "saturation.method=price,kneedle: takes one value, for the whole sweep"),
        ("saturation.rate=0", "saturation.rate=0: must be a number above 0"),
        ("saturation.price=-1", "saturation.price=-1: must be above 0"),
        ("saturation.cost_axis=square", "saturation.cost_axis=square: must be linear or log"),
        ("saturation.methd=price", r"saturation\.methd: there is no such key; did you mean saturation\.method"),
    ],
)
def test_definitions_that_there_are_not(argument, message):
    with pytest.raises(ValueError, match=message):
        read_sweep(["+prune=0.5", argument])
