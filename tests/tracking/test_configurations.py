"""Columns from the runs' configurations: the value that is there, of any form, and quickly."""

import time

import pandas as pd
import pytest
import yaml

from effbench.tracking.configurations import ABSENT, leaves, value_at, with_columns

CONFIG = {
    "task": {"_target_": "effbench.tasks.classification.Classification", "model": "small_cnn"},
    "prune": 0.5,
    "it's": {"a b": 1},
    "train": {"epochs": 3, "lr": 1e-05, "optimizer": None, "ema": {"decay": 0.9}, "note": "one\n\n  two: 3\n# four\n"},
    "trainer": {"epochs": 9},
    "stage": {"prune": {"layers": {"features.*": 0.2, "classifier": "skip", 3: "int"}, "ladder": [], "flag": True}},
    "model": {"channels": [4, 4], "kernel": 3},
    "empty": {},
    "last": "größe: ü",
}


def texts_of(config):
    """Return the forms that one configuration may be written in."""
    plain = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return {
        "blocks": plain,
        "no end of line": plain.rstrip("\n"),
        "sorted": yaml.safe_dump(config, sort_keys=True),
        "indented lists": yaml.safe_dump(config, sort_keys=False, indent=4),
        "one line": yaml.safe_dump(config, default_flow_style=True, width=10**6),
        "quoted": yaml.safe_dump(config, default_style='"', sort_keys=False),
        "with a remark": f"# a remark\n\n{plain}",
    }


@pytest.mark.parametrize("form", list(texts_of(CONFIG)))
def test_every_key_has_the_value_that_is_there(form):
    text = texts_of(CONFIG)[form]
    whole = yaml.safe_load(text)
    for first, node in whole.items():
        assert value_at(text, first) == node
        for key, value in leaves(first, node):
            assert str(value_at(text, key)) == value, key
    for key in ("no", "train.no", "train.epochs.no", "epochs", "tra", "stage.prune.layers.features", "4"):
        assert value_at(text, key) is ABSENT


def test_a_section_that_refers_to_another_is_read_with_it():
    text = "base: &base\n  lr: 0.1\ntrain:\n  <<: *base\n  epochs: 2\n"
    assert value_at(text, "train.lr") == 0.1


class Files:
    """Configurations by run, which counts how many are read."""

    def __init__(self, texts):
        self.by_run, self.n_read = texts, 0

    def texts(self, runs, name):
        assert name == "config.yaml"
        self.n_read += len(runs)
        return [self.by_run.get(run) for run in runs]


@pytest.fixture
def files():
    text = yaml.safe_dump(CONFIG)
    return Files({"a": text, "b": text.replace("epochs: 3", "epochs: 7"), "c": "prune: 1\n"})


@pytest.fixture
def frame():
    made = pd.DataFrame({"run_id": list("abc"), "prune": [0.5, 0.5, 0.9]})
    made.attrs["axes"] = ["prune"]
    return made


def test_columns_are_filled_and_what_is_there_stays(frame, files):
    found = with_columns(frame, ["train.epochs", "prune", "model.channels"], files)
    assert list(found.columns) == ["run_id", "prune", "train.epochs", "model.channels"]
    assert found["train.epochs"].tolist()[:2] == [3, 7] and pd.isna(found["train.epochs"][2])
    assert found["model.channels"].tolist()[:2] == ["[4, 4]"] * 2
    assert found["prune"].tolist() == [0.5, 0.5, 0.9] and found.attrs == frame.attrs
    assert "train.epochs" not in frame


def test_a_key_that_holds_others_brings_all_of_them(frame, files):
    found = with_columns(frame, ["train"], files)
    assert [name for name in found if name.startswith("train")] == [
        *("train.ema.decay", "train.epochs", "train.lr", "train.note", "train.optimizer"),
    ]


def test_runs_that_logged_it_are_not_read(frame, files):
    frame["train.epochs"] = [5.0, 6.0, float("nan")]
    files.by_run["c"] = "train: {epochs: 8}\n"
    assert with_columns(frame, ["train.epochs"], files)["train.epochs"].tolist() == [5, 6, 8]
    assert files.n_read == 1
    frame["train.epochs"] = [5, 6, 7]
    assert with_columns(frame, ["train.epochs"], files)["train.epochs"].tolist() == [5, 6, 7]
    assert files.n_read == 1


@pytest.mark.parametrize(
    ("name", "near"),
    [("train.epoch", "train.epochs"), ("finetune.lr", "train.lr"), ("prun", "prune"), ("~", "of none")],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(frame, files, name, near):
    with pytest.raises(ValueError, match=f"^columns={name}: no run has a key of that name; the nearest are .*{near}"):
        with_columns(frame, ["train.epochs", name], files)


def test_what_cannot_be_read_is_said(frame, files, caplog):
    del files.by_run["b"]
    found = with_columns(frame, ["train.epochs"], files)
    assert found["train.epochs"].isna().tolist() == [False, True, True]
    assert "config.yaml of 1 of 3 runs can't be read" in caplog.text
    with pytest.raises(ValueError, match=r"^columns=train.epochs: config.yaml can't be read of any of the 3 runs"):
        with_columns(frame, ["train.epochs"], Files({}))
    assert with_columns(frame.iloc[:0], ["train.epochs"], Files({})).empty


def test_thousands_of_runs_take_no_time():
    texts = {str(n): yaml.safe_dump({"prune": n / 5000, **CONFIG | {"seed": n}}) for n in range(200)}
    many = {str(n): texts[str(n % 200)] for n in range(5000)}
    frame = pd.DataFrame({"run_id": list(many)})
    began = time.process_time()
    found = with_columns(frame, ["train.ema.decay", "stage.prune.flag"], Files(many))
    assert found["train.ema.decay"].tolist() == [0.9] * 5000
    assert time.process_time() - began < 2
