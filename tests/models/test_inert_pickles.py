"""Pickles read without calling anything that they name."""

import collections
import os

import pytest
import torch

from effbench.models.inert_pickles import Inert, load_inertly

CALLED = []


class Loud:
    """Says when anything of it is run."""

    def __init__(self, value=0):
        CALLED.append("init")
        self.value = value

    def __setstate__(self, state):
        CALLED.append("setstate")

    def __reduce__(self):
        return type(self), (3,), {"value": 4}


class LoudList(list):
    def __init__(self, *values):
        CALLED.append("init")
        super().__init__(*values)


class Strange:
    def __init__(self, function, *arguments):
        self.how = function, arguments

    def __reduce__(self):
        return self.how


def loaded(tmp_path, content):
    torch.save(content, tmp_path / "file.pt")
    CALLED.clear()
    found = load_inertly(tmp_path / "file.pt")
    assert not CALLED
    return found


def test_tensors_and_plain_data_come_as_they_are(tmp_path):
    content = {"a": torch.arange(3), "b": [1, (2.5, None)], "c": collections.OrderedDict(x="y")}
    found = loaded(tmp_path, content)
    assert torch.equal(found.pop("a"), content.pop("a"))
    assert found == content


def test_objects_are_husks_of_which_nothing_was_run(tmp_path):
    found = loaded(tmp_path, {"a": Loud(), "b": LoudList([Loud()]), "t": torch.ones(1)})
    assert isinstance(found["a"], Inert) and found["a"].kind.endswith("Loud")
    assert isinstance(found["b"][0], Inert)
    assert torch.equal(found["t"], torch.ones(1))


def test_functions_are_not_called(tmp_path):
    target = tmp_path / "made"
    assert isinstance(loaded(tmp_path, [Strange(eval, f"__import__('os').mkdir({str(target)!r})")])[0], Inert)
    assert not target.exists()


def test_what_torch_never_reads_from_is_refused(tmp_path):
    torch.save([Strange(os.mkdir, str(tmp_path / "made"))], tmp_path / "file.pt")
    with pytest.raises(Exception, match="blocked"):
        load_inertly(tmp_path / "file.pt")
    assert not (tmp_path / "made").exists()
