"""A folder of the user's from the command line to the plan: what is in it is used, and named where it is wrong."""

import sys

import pytest

from effbench.config.help import help_page
from effbench.config.read import read_sweep

pytestmark = pytest.mark.usefixtures("own_code")
STAGE = "_target_: users_kit.Mine\n"
NET = "_target_: users_kit.network\n"


@pytest.mark.extended
def test_all_of_it_is_in_the_plan_and_nothing_of_it_in_the_next_one(own_folder, axis_yaml, tmp_path):
    units = {"reads": "network", "target": "units", "type": "int", "neutral": 4, "phase": None, "example": 8}
    own_folder(
        {
            "stage/mine.yaml": STAGE,
            "axis/amount.yaml": axis_yaml(phase="mine", order=2),
            "axis/units.yaml": axis_yaml(**units, moves="[macs]", realised="{macs: removed}"),
            "model/net.yaml": NET,
            "task/likewise.yaml": "_target_: users_kit.Likewise\nmodel: net\ndata: digits\nlike: classification\n",
            "engine/mine.yaml": "_target_: effbench.measure.engines.eager.EagerEngine\ndevice: cpu\n",
            "recipe/mine_first.yaml": "steps: [train, [mine, prune, finetune]]\nrounds: 1\n",
            "hydra/launcher/two.yaml": "defaults: [joblib]\nn_jobs: 2\n",
        }
    )
    command = "--config-dir conf_mine task=likewise recipe=mine_first engine=eager,mine +amount=1 +units=8 +prune=0.5"
    sweep = read_sweep([*command.split(), "hydra/launcher=two"])
    reference, point = sweep.plan.points
    assert [step.name for step in point.chain.plain_steps] == ["train", "mine", "prune", "finetune"]
    assert (point.network_name, point.chain.network.options) == ("network", {"units": 8})
    assert reference.config["recipe"]["name"] == "mine_first"
    assert set(sweep.engines) == {"eager", "mine"}
    assert sweep.axes["units"].realised == {"macs": "removed"}
    assert sweep.config_folders == (str(tmp_path / "conf_mine"),)
    like = ["-cd", "conf_mine", "task=likewise"]
    assert read_sweep([*like, "model=lenet_300_100"]).plan.points  # what is for the task that it is like is for it
    with pytest.raises(ValueError, match=r"is for task=segmentation, not for task=likewise, which can take .*lenet_5"):
        read_sweep([*like, "model=small_segmenter"])
    plain = read_sweep(["+prune=0.5"])
    assert plain.config_folders == ()
    for argument in ("+amount=1", "task=likewise", "hydra/launcher=two"):
        with pytest.raises(ValueError, match="there is no such"):
            read_sweep([argument])


WRONG = {
    "stage/mine.yaml|_target_: no_kit.Mine": "can't be imported (No module named 'no_kit') (see conf_mine/stage/mine.",
    "stage/mine.yaml|_target_: users_kit.Mien": "no attribute 'Mien') (see conf_mine/stage/mine.yaml)",
    "stage/mine.yaml|_target_: users_kit.network": "a class derived from Stage (see conf_mine/stage/mine.yaml)",
    "stage/mine.yaml|_target_: users_kit.Mine": "stage.mine.amount: must be given, or be the target of an axis, as in "
    "target: mine.amount (see conf_mine/stage/mine.yaml)",
    "stage/mine.yaml|_target_: users_kit.Mine\namuont: 1": "did you mean stage.mine.amount? (see conf_mine/stage/mine",
    "stage/mine.yaml|_target_: users_kit.Mine\namount: 3": "stage.mine.amount=3: must be a number in [0, 2] (see conf_",
    "stage/mine.yaml|_target_: users_kit.Mine\namount: ${nope}": "stage.mine.amount: Interpolation key 'nope'",
    "model/net.yaml|_target_: no_kit.net": "can't be imported (No module named 'no_kit') (see conf_mine/model/net",
    "model/net.yaml|_target_: users_kit.network\nuntis: 3": "users_kit.network takes no option 'untis'",
    "data/net.yaml|_target_: users_kit.nope": "no attribute 'nope') (see conf_mine/data/net.yaml)",
    "task/net.yaml|_target_: users_kit.Mine\nmodel: small_cnn\ndata: digits": "(see conf_mine/task/net.yaml)",
    "engine/net.yaml|_target_: users_kit.nope": "no attribute 'nope') (see conf_mine/engine/net.yaml)",
    "engine/net.yaml|_target_: effbench.measure.engines.eager.EagerEngine\nfast: 1": "engine.net: effbench.measure.",
}


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("case", WRONG)
def test_what_can_not_be_used_is_told_with_its_file(own_folder, case):
    name, _, text = case.partition("|")
    group = name.partition("/")[0]
    own_folder({name: text})
    with pytest.raises(ValueError) as caught:
        read_sweep(["-cd", "conf_mine", "prune=0.5" if group == "stage" else f"{group}=net"])
    assert WRONG[case] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.extended
def test_a_neutral_value_is_what_the_network_is_where_nothing_is_given(own_folder, axis_yaml, tmp_path):
    units = {"reads": "network", "target": "units", "type": "int", "phase": None, "example": 8, "moves": "[macs]"}
    own_folder({"model/net.yaml": NET, "axis/units.yaml": axis_yaml(**units, neutral=16)})
    command = ["-cd", "conf_mine", "model=net", "+units=8"]
    with pytest.raises(ValueError, match=r"units=8: units is declared to do nothing at 16, but \S+ has units=4 "):
        read_sweep(command)
    reference, _ = read_sweep([*command, "model.units=16"]).plan.points
    assert reference.chain.network.options == {"units": 16}
    (tmp_path / "users_kit.py").write_text((tmp_path / "users_kit.py").read_text().replace("units=4", "units"))
    sys.modules.pop("users_kit")
    reference, point = read_sweep(command).plan.points  # required: it is given at the neutral value, too
    assert (reference.chain.network.options, point.chain.network.options) == ({"units": 16}, {"units": 8})


def test_a_target_of_the_command_line_is_not_blamed_on_the_file(own_folder):
    own_folder({"model/net.yaml": NET})
    with pytest.raises(ValueError, match=r"can't be imported \(No module named 'no_kit'\)$"):
        read_sweep(["-cd", "conf_mine", "model=net", "model._target_=no_kit.net"])


def test_the_help_page_lists_it(own_folder, axis_yaml):
    own_folder({"stage/mine.yaml": STAGE, "axis/amount.yaml": axis_yaml(), "model/users_net.yaml": NET})
    page = help_page(["+prune=0.5", "-cd", "conf_mine", "--help"])
    assert "  amount=0.5,1              what is small is taken away\n" in page
    assert "moves size_bytes (conf_mine/axis/amount.yaml)" in page
    assert "users_net" in page
    assert "users_net" not in help_page()
    with pytest.raises(ValueError, match="there is no such folder"):
        help_page(["-cd", "nope", "-h"])
