"""What a command line becomes: axis values, seeds, swept keys, configurations, the help page."""

import pytest

from effbench.config.axis import Axis
from effbench.config.command_line import conf_folder, declared_axes, read_command_line
from effbench.config.help import help_page
from effbench.config.overrides import parse, single_lines, values_of
from effbench.config.typed import typed, unknown_name
from effbench.sweep.__main__ import main
from effbench.training.loop import TrainingOptions


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_an_axis_needs_no_plus_and_bears_any(prefix):
    command = read_command_line([f"{prefix}prune=0.1,0.5,0.1"])
    assert command.axis_values == {"prune": (0.1, 0.5)}
    assert len(command.configurations) == 1


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_so_do_the_other_keys(prefix):
    (composed,) = read_command_line([f"{prefix}train.epochs=3", f"{prefix}model.kernel=5"]).configurations
    assert composed.node["train"]["epochs"] == 3
    assert composed.node["model"]["kernel"] == 5
    assert composed.swept == {}


@pytest.mark.parametrize("text", ["seed=0,1,2", "+seed=0,1,2", "seed=[0,1,2]", "seed=range(3)", "seed=2,0,1,0"])
def test_every_way_to_write_seeds(text):
    assert sorted(read_command_line([text]).seeds) == [0, 1, 2]


def test_a_range_gives_the_numbers_that_one_would_write():
    assert read_command_line(["prune=range(0.1,0.5,0.1)"]).axis_values == {"prune": (0.1, 0.2, 0.3, 0.4)}


def test_keys_beside_the_axes_multiply_the_configurations():
    command = read_command_line(["model=lenet_5,small_cnn", "train.lr=0.001,0.002", "prune=0.5"])
    swept = [composed.swept for composed in command.configurations]
    assert swept == [
        {"model": model, "train.lr": lr} for model in ("lenet_5", "small_cnn") for lr in ("0.001", "0.002")
    ]


def test_measured_lists_multiply_nothing():
    (composed,) = read_command_line(["measure.batch=1,8", "measure.threads=[1,2]"]).configurations
    assert composed.node["measure"]["batch"] == [1, 8]
    assert composed.node["measure"]["threads"] == [1, 2]


def test_the_networks_options_give_way_to_a_target_of_the_users_own():
    (composed,) = read_command_line(["model._target_=a.b", "model.width=3"]).configurations
    assert composed.node["model"] == {"_target_": "a.b", "width": 3}


WRONG = {
    "~prune": "can't be taken away",
    "prune=0.1 +prune=0.2": "given already",
    "prune=interval(0,1)": "write the values out",
    "prune=glob(*)": "write the values out",
    "prune=[0.1,0.2]": "must be a number",
    "prune=null": "prune=null",
    "prune=true": "must be a number",
    "seed=[]": "at least one",
    "seed=null": "seed=null",
    "seed=1.5": "whole number",
    "measure.batch=[]": "at least one",
    "tolerance=0.01,0.02": "one value",
    "device=cpu,cuda": "one value",
    "tracking.experiment=a,b": "one value",
    "store.root=a,b": "one value",
    "hydra/launcher=nope": "joblib",
    "hydra/launcher=joblib hydra.launcher.nope=2": "hydra.launcher.nope: there is no such key",
    "model@there=lenet_5": "key=value",
    "=3": "key=value",
    "--multirun": "see --help",
    "train={epochs: 3}": "there is no such choice",
    "train={}": "there is no such choice",
    "measure={}": "measure: there is no such key",
    "stage.prune.critereon=random": "did you mean stage.prune.criterion",
    "hydra.run.dir=x": "there is no such key",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_command_is_refused(text):
    arguments = text.split(" ") if "{" not in text else [text]
    with pytest.raises(ValueError) as caught:
        read_command_line(arguments)
    message = str(caught.value)
    assert WRONG[text] in message
    assert len(message.splitlines()) == 1


PLANNING = {
    "data=image_folder": "data.root: must be given",
    "data.root=/x": "no option 'root'",
    "data.side=abc": "data.side=abc: must be a whole number",
    "data.split_seed=-1": "data.split_seed=-1",
    "model.foo=1": "no option 'foo'",
    "model.channels=8": "can't be built",
    "model._target_=os.getcwd": "not a torch.nn.Module",
    "model=lenet_5 rho_eval=0.5": "rho_eval=0.5: effbench.models.lenet_5 can't take images of 14 x 14",
    "rho=0.1": "rho=0.1",
    "model=lenet_300_100 pooling=early,late": "pooling=early,late: the network",
    "recipe.steps=[train] bits=4": "bits=4: the recipe has no step",
    "recipe.steps=[train,nope]": "nope",
    "stage.quantize.scheme=odd": "stage.quantize.scheme=odd: must be 'symmetric', ",
    "train.batch_size=0": "train.batch_size=0",
    "train.epochs=true": "must be a number",
    "train.threads=0": "train.threads=0",
    "measure.seconds=nan": "measure.seconds=nan",
    "measure.threads=x": "measure.threads=x: must be a whole number",
    "dry_run=maybe": "dry_run=maybe: must be true or false",
    "tracking.experiment=": "tracking.experiment=: must be a name",
    "tracking.uri=/some/folder dry_run=false": "tracking.uri=/some/folder: must be a server",
    "train.lr=0.1,nan prune=0.5": "train.lr=nan",
}


@pytest.mark.parametrize("text", PLANNING)
def test_what_can_not_be_run_is_refused_before_anything_starts(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(text.split()) == 2
    printed = capsys.readouterr()
    assert PLANNING[text] in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert printed.out == ""
    assert not (tmp_path / "mlflow.db").exists()


def test_a_network_that_raises_is_named_with_the_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken_networks.py").write_text("def net(*, num_classes=10):\n    raise KeyError('lost')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["model._target_=broken_networks.net"]) == 2
    error = capsys.readouterr().err
    assert "KeyError" in error
    assert "broken_networks.py, line 2" in error


def test_a_network_of_other_classes_is_refused(tmp_path, monkeypatch, capsys):
    source = "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 7))\n"
    (tmp_path / "seven_networks.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["model._target_=seven_networks.net"]) == 2
    assert "must give (1, 10) scores for one image, but gives shape (1, 7)" in capsys.readouterr().err


def test_the_help_page_names_every_axis_and_every_choice(capsys):
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    for axis in declared_axes().values():
        assert f"  {axis.name}={axis.example}" in page
        assert axis.help in page
        assert axis.allowed() in page
    for group in ("model", "data", "recipe", "engine"):
        for path in (conf_folder() / group).glob("*.yaml"):
            assert path.stem in page
    assert page.strip() == help_page().strip()


NUMBER = Axis(
    name="knob", help="", type="float", neutral=1, above=0, maximum=2, reads="network", target="knob", example="0.5"
)
WIDTH = Axis(
    name="bits", help="", type="int", neutral=32, minimum=1, maximum=16, reads="stage", target="q.bits", example="8"
)
PLACE = Axis(
    name="place",
    help="",
    type="str",
    neutral="even",
    choices=("even", "late"),
    pattern=r"\d+(-\d+)*",
    reads="network",
    target="place",
    example="late",
)


@pytest.mark.parametrize(
    ("axis", "value", "checked"),
    [
        (NUMBER, 0.5, 0.5),
        (NUMBER, 2, 2.0),
        (NUMBER, 0.1 + 0.2, 0.3),
        (WIDTH, 8, 8),
        (WIDTH, 8.0, 8),
        (WIDTH, 32, 32),
        (PLACE, "late", "late"),
        (PLACE, "1-3", "1-3"),
        (PLACE, [1, 3], "1-3"),
        (PLACE, 2, "2"),
    ],
)
def test_an_axis_takes_what_it_declares(axis, value, checked):
    found = axis.check(value)
    assert found == checked
    assert type(found) is type(checked)


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        *((NUMBER, value) for value in (0, -1, 2.1, float("nan"), float("inf"), "x", True, None, [0.5])),
        *((WIDTH, value) for value in (0, 17, 31, 3.5, float("nan"), "8", False)),
        *((PLACE, value) for value in ("early", "1-", "-1", "a-b", [], "")),
    ],
)
def test_an_axis_refuses_the_rest_and_says_what_it_takes(axis, value):
    with pytest.raises(ValueError, match="must be") as caught:
        axis.check(value)
    assert axis.allowed() in str(caught.value)
    assert f"for example {axis.name}={axis.example}" in str(caught.value)


def test_the_neutral_value_is_said_where_the_range_leaves_it_out():
    assert WIDTH.allowed() == "a whole number, at least 1, at most 16; or 32 for none"
    assert NUMBER.allowed() == "a number, above 0, at most 2"
    assert WIDTH.is_neutral(32)
    assert not WIDTH.is_neutral(16)


@pytest.mark.parametrize(
    ("text", "values", "lines"),
    [
        ("x=1,2", [1, 2], ["++x=1", "++x=2"]),
        ("x='q r'", ["q r"], ["++x='q r'"]),
        ("x=[1,2]", [[1, 2]], ["++x=[1,2]"]),
        ("x=choice(a,b)", ["a", "b"], ["++x=a", "++x=b"]),
        ("+x=null", [None], ["++x=null"]),
    ],
)
def test_overrides_as_values_and_as_lines(text, values, lines):
    (override,) = parse([text])
    assert list(values_of(override)) == values
    assert list(single_lines(override, "++")) == lines


def test_typed_names_key_value_and_what_is_allowed():
    good = {"epochs": 3, "lr": 1}
    assert typed(TrainingOptions, good, where="train").lr == 1.0
    wrong = {
        "epochs": [("x", "train.epochs=x: must be a whole number"), (1.5, "whole"), (True, "number"), (None, "null")],
        "lr": [("x", "train.lr=x: must be a number"), (-1, "train.lr=-1.0: must be a positive number")],
        "layout": [("rows", "train.layout=rows: must be 'channels_last' or 'contiguous'")],
        "epoch": [(3, "train.epoch: there is no such key; did you mean train.epochs?")],
    }
    for name, cases in wrong.items():
        for value, message in cases:
            with pytest.raises(ValueError) as caught:
                typed(TrainingOptions, {**good, name: value}, where="train")
            assert message in str(caught.value)
    with pytest.raises(ValueError, match=r"train\.lr: must be given"):
        typed(TrainingOptions, {"epochs": 3}, where="train")


def test_a_name_that_is_near_none_gets_the_list():
    assert unknown_name("prnue", ["prune", "bits"], "key") == "prnue: there is no such key; did you mean prune?"
    assert unknown_name("x", ["prune", "bits"], "key") == "x: there is no such key; known: bits, prune"
    assert unknown_name("x", ["prune", "bits"], "key", shown=["b"]).endswith("known: b")
