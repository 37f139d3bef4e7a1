"""Digests of values: equal for equal ones, in every process; different for what differs in any way that counts."""

import collections
import dataclasses
import enum
import functools
import math
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.plan.content import classes_of, content_digest

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def defined(source, name="thing", **extra):
    """Return what a cell of a notebook defines: a module of no file."""
    namespace = {"__name__": "__main__", **extra}
    exec(compile(source, "<cell>", "exec"), namespace)
    return namespace[name]


@given(value=PLAIN)
def test_a_copy_has_the_same_digest(value):
    import copy

    assert content_digest(copy.deepcopy(value)) == content_digest(value)


DIFFERENT = [
    0, 0.0, -0.0, math.nan, False, None, "", b"", (), [], {}, set(), frozenset(), 1, 1.0, True, "1", b"1", 1j,
    [1], (1,), {1}, {1: 1}, [1, [2]], [[1], 2], [1, 2], [2, 1], {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"b": 2, "a": 1},
    range(3), range(0, 6, 2), slice(1, 2), ..., Path("a"), Path("b"), torch.float32, torch.float16,
    torch.device("cpu"), re.compile("a"), re.compile("a", re.I), np.float32(1), np.float64(1), np.int64(1),
    np.zeros(2), np.zeros(2, np.float32), np.zeros((2, 1)), np.ones(2), np.array([None, 1], dtype=object),
    torch.zeros(2), torch.zeros(2, dtype=torch.float16), torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, 1),
    torch.ones(2), torch.zeros(2, requires_grad=True), torch.zeros(0), torch.zeros(0, 1), nn.Parameter(torch.ones(3)),
    math.sqrt, math.sin, np.sin, len, math, np, functools.partial(int, base=2), functools.partial(int, base=3),
    collections.OrderedDict(a=1), collections.Counter("aa"), int, float, nn.ReLU, nn.Linear,
]  # fmt: skip


def test_different_values_have_different_digests():
    digests = [content_digest(value) for value in DIFFERENT]
    assert len(set(digests)) == len(DIFFERENT)


@pytest.mark.extended
def test_it_is_the_same_in_another_process_with_other_hashes():
    program = (
        "import re, torch, numpy as np; from torch import nn; from effbench.plan.content import content_digest as d;"
        "torch.manual_seed(0);"
        "f = lambda x: x in {'a', 'b', 'c'};"
        "print(d([{'a', 'b', 'c'}, frozenset('xyz'), f, nn.Conv2d(1, 2, 3), re.compile('a'), np.arange(3), print]))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1


VERSIONS = {
    "a body": ["def thing(x): return x + 1", "def thing(x): return x + 2"],
    "a name that is called": ["def thing(x): return abs(x)", "def thing(x): return hash(x)"],
    "a default": ["def thing(x=1): return x", "def thing(x=2): return x"],
    "a keyword's default": ["def thing(*, x=1): return x", "def thing(*, x=2): return x"],
    "a constant elsewhere": ["W = 1\ndef thing(): return W", "W = 2\ndef thing(): return W"],
    "a helper": ["def h(): return 1\ndef thing(): return h()", "def h(): return 2\ndef thing(): return h()"],
    "a helper of a helper": [
        f"def g(): return {n}\ndef h(): return g()\ndef thing(): return [h() for _ in '']" for n in (1, 2)
    ],
    "what a lambda holds": [f"def make(n): return lambda: n\nthing = make({n})" for n in (1, 2)],
    "a lambda": ["thing = lambda x: x", "thing = lambda x: -x"],
    "a function within": ["def thing():\n def g(): return 1\n return g", "def thing():\n def g(): return 2\n return g"],
    "a method": ["class thing:\n def f(self): return 1", "class thing:\n def f(self): return 2"],
    "an attribute": ["class thing:\n a = 1", "class thing:\n a = 2"],
    "a property": [f"class thing:\n @property\n def a(self): return {n}" for n in (1, 2)],
    "a static method": [f"class thing:\n @staticmethod\n def a(): return {n}" for n in (1, 2)],
    "a class method": [f"class thing:\n @classmethod\n def a(cls): return {n}" for n in (1, 2)],
    "a base": [f"class B:\n a = {n}\nclass thing(B): pass" for n in (1, 2)],
    "which base": ["class thing(int): pass", "class thing(float): pass"],
    "a base's method by super": [
        f"class B:\n def f(self): return {n}\nclass thing(B):\n def f(self): return super().f()" for n in (1, 2)
    ],
    "a decorator": [
        f"import functools\ndef d(f):\n @functools.wraps(f)\n def g(*a): return f(*a) * {n}\n return g\n"
        "@d\ndef thing(x): return x"
        for n in (1, 2)
    ],
    "a field of a dataclass": [
        f"import dataclasses\n@dataclasses.dataclass\nclass thing:\n a: int = {n}" for n in (1, 2)
    ],
    "a field's type": [f"import dataclasses\n@dataclasses.dataclass\nclass thing:\n a: {t}" for t in ("int", "float")],
    "a member of an enum": [f"import enum\nclass thing(enum.Enum):\n A = {n}" for n in (1, 2)],
    "a tensor elsewhere": [f"import torch\nW = torch.full((2,), {n})\ndef thing(x): return x * W" for n in (1, 2)],
    "an object's state": [f"class C: pass\nthing = C()\nthing.a = {n}" for n in (1, 2)],
    "a partial of a lambda": [f"import functools\nthing = functools.partial(lambda x: x, {n})" for n in (1, 2)],
    "a method that is bound": [
        f"class C:\n def __init__(self, a): self.a = a\n def f(self): return self.a\nthing = C({n}).f" for n in (1, 2)
    ],
    "a module that it is from": ["import math as m\ndef thing(): return m", "import cmath as m\ndef thing(): return m"],
}


@pytest.mark.parametrize("versions", VERSIONS.values(), ids=VERSIONS)
def test_code_of_a_notebook_is_what_it_does(versions):
    first, again, changed = defined(versions[0]), defined(versions[0]), defined(versions[1])
    assert content_digest(first) == content_digest(again) != content_digest(changed)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def thing(): return 1", "# a remark\n\ndef thing(): return 1"),
        ("def thing(x): return x.other", "other = 1\ndef thing(x): return x.other"),
        ("def thing(): return 1", "unused = object()\ndef thing(): return 1"),
        ("class thing:\n def f(self) -> int: return 1", "class thing:\n 'Says more.'\n def f(self): return 1"),
    ],
    ids=["where it stands", "an attribute of that name", "what it does not use", "what it says of itself"],
)
def test_what_changes_nothing_does_not_count(before, after):
    assert content_digest(defined(before)) == content_digest(defined(after))


def test_what_refers_to_itself_has_an_end():
    thing = defined("class thing:\n def f(self): return thing, self.g()\n def g(self): return self.f()")
    loop = []
    loop.append(loop)
    assert content_digest(thing) and content_digest(loop) != content_digest([[]])


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Box:
    content: object


def test_objects_of_modules_count_by_class_and_state():
    assert content_digest(Box(1)) == content_digest(Box(1)) != content_digest(Box(2))
    assert content_digest(Colour.RED) == content_digest(Colour(1))


@pytest.mark.parametrize(
    "value",
    [threading.Lock(), (n for n in [1]), sys.stdout, sys._getframe(), [threading.Lock()]],
    ids=lambda v: type(v).__name__,
)
def test_what_has_no_content_is_refused(value):
    with pytest.raises(ValueError, match="whose content can't be told"):
        content_digest(value)


def test_the_name_of_what_has_no_content_is_told():
    lock = defined("import threading\nlock = threading.Lock()\ndef thing(): return lock")
    with pytest.raises(ValueError, match=r"refers to lock, which is a lock, whose content can't be told"):
        content_digest(lock)


def network(**changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {"kernel_size": 3, "stride": 1, **changes}
        return nn.Sequential(nn.Conv2d(1, 4, **options), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())


def changed(change):
    net = network()
    change(net)
    return net


NETWORKS = {
    "a weight": lambda net: net[0].weight.data[0, 0, 0, 0].add_(1e-3),
    "a buffer": lambda net: net[1].running_mean.add_(1),
    "a bias that is gone": lambda net: setattr(net[0], "bias", None),
    "a share of dropout": lambda net: setattr(net[2], "p", 0.4),
    "a layer more": lambda net: net.append(nn.ReLU()),
    "a stride": lambda net: setattr(net[0], "stride", (2, 2)),
    "a name": lambda net: net.add_module("last", net._modules.pop("3")),
    "an attribute": lambda net: setattr(net, "note", 1),
    "a frozen weight": lambda net: net[0].weight.requires_grad_(False),
    "a weight in double": lambda net: net.double(),
    "a hook": lambda net: net.register_forward_hook(lambda *given: None),
    "a tied weight": lambda net: setattr(net[1], "bias", net[1].weight),
}


@pytest.mark.parametrize("change", NETWORKS.values(), ids=NETWORKS)
def test_a_network_is_its_classes_attributes_and_weights(change):
    assert content_digest(network()) == content_digest(network()) != content_digest(changed(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.eval(),
        lambda net: net(torch.zeros(1, 1, 5, 5)).sum().backward() if net.eval() else None,
        lambda net: net.register_forward_hook(print).remove(),
        lambda net: net.to(memory_format=torch.channels_last),
    ],
    ids=["evaluation mode", "gradients", "a hook that came and went", "another layout"],
)
def test_how_a_network_is_used_does_not_count(change):
    assert content_digest(network()) == content_digest(changed(change))


def test_the_code_of_a_network_is_without_its_numbers():
    one, other = network(), changed(NETWORKS["a weight"])
    assert content_digest(one, with_numbers=False) == content_digest(other, with_numbers=False)
    assert content_digest(one, with_numbers=False) != content_digest(changed(NETWORKS["a stride"]), with_numbers=False)


def test_classes_of_names_what_another_process_imports():
    own = defined("from torch import nn\nclass thing(nn.Module): pass")
    assert classes_of(own()) == [nn.Module, object] and own not in classes_of(own())
