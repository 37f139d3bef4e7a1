"""The configuration that --cfg prints: what runs would have."""

import pytest
import yaml

from effbench.config.shown_config import config_text


def node(text, **options):
    return yaml.safe_load(config_text(text.split(), **{"kind": "job", **options}))


def test_it_is_the_first_configuration_with_the_axes_at_its_top():
    text = config_text("prune=0.1,0.5 bits=4 seed=0,1 model=lenet_5,resnet18 train.lr=1,2".split(), kind="job")
    assert text.startswith(
        "# the first of 4 configurations: model=lenet_5,resnet18 train.lr=1,2\nprune:\n- 0.1\n- 0.5\n"
    )
    found = yaml.safe_load(text)
    assert (found["prune"], found["bits"], found["seed"], found["train"]["lr"]) == ([0.1, 0.5], 4, [0, 1], 1)
    assert "hydra" not in found


def test_short_forms_and_names_are_written_out():
    found = node("model=resnet18 train=sgd_cosine train.optimizer=adam")
    assert (found["model"]["_target_"], found["model"]["name"]) == ("effbench.models.torchvision_model", "resnet18")
    assert found["train"]["optimizer"]["_target_"] == "torch.optim.Adam"


@pytest.mark.extended
def test_references_stay_or_are_resolved_and_one_node_can_be_asked_for():
    assert node("")["finetune"]["batch_size"] == "${train.batch_size}"
    assert node("", resolve=True)["finetune"]["batch_size"] == 64
    text = config_text([], kind="job", package="finetune", resolve=True)
    assert text.startswith("# @package finetune\n")
    assert yaml.safe_load(text)["batch_size"] == 64
    assert config_text([], kind="job", package="train.lr") == "0.003"
    assert config_text([], kind="job", package="train.optimizer") == "null"
    assert node("", package="_global_") == node("")


@pytest.mark.extended
def test_hydras_node_alone_or_beside_it():
    found = node("hydra/launcher=joblib hydra.verbose=true", kind="hydra")
    assert list(found) == ["hydra"]
    assert found["hydra"]["launcher"]["_target_"].endswith("JoblibLauncher")
    assert found["hydra"]["verbose"] is True
    both = node("prune=0.5", kind="all")
    assert both["prune"] == 0.5
    assert both["hydra"]["job"]["config_name"] == "config"
    assert node("", kind="all", package="hydra.job")["config_name"] == "config"
    assert node("", kind="all", resolve=True)["finetune"]["batch_size"] == 64


def test_passwords_are_not_shown():
    assert "hunter2" not in config_text(["tracking.uri=http://me:hunter2@there"], kind="job")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {"package": "trian"}, "--package trian: there is no such node; did you mean train?"),
        ("", {"package": "train.epohs"}, "--package train.epohs: there is no such node; did you mean train.epochs?"),
        ("prne=1", {}, "prne: there is no such key; did you mean prune?"),
        ("train.lr=${nope}", {"resolve": True}, "Interpolation key 'nope' not found"),
    ],
)
def test_what_is_not_there_is_refused_in_a_line(text, options, said):
    with pytest.raises(ValueError) as caught:
        config_text(text.split(), **{"kind": "job", **options})
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
