"""Overrides: Hydra's grammar, without the parts that a sweep has no use for."""

import pytest

from effbench.config.overrides import flat, list_line, parse, single_lines, values_of


@pytest.mark.parametrize(
    ("text", "values", "lines"),
    [
        ("x=1,2", [1, 2], ["++x=1", "++x=2"]),
        ("x='q r'", ["q r"], ["++x='q r'"]),
        ("x=[1,2]", [[1, 2]], ["++x=[1,2]"]),
        ("x=choice(a,b)", ["a", "b"], ["++x=a", "++x=b"]),
        ("x=range(1,4)", [1, 2, 3], ["++x=1", "++x=2", "++x=3"]),
        ("x=shuffle(1,1)", [1, 1], ["++x=1", "++x=1"]),
        ("x=sort(3,1,2)", [1, 2, 3], ["++x=1", "++x=2", "++x=3"]),
        ("x=sort(1,2,reverse=true)", [2, 1], ["++x=2", "++x=1"]),
        ("x=tag(a,choice(1,2))", [1, 2], ["++x=1", "++x=2"]),
        ("x=int(3.2)", [3], ["++x=3"]),
        ("x=float(1,2)", [1.0, 2.0], ["++x=1.0", "++x=2.0"]),
        ("x=str(3)", ["3"], ["++x=3"]),
        ("x=bool(1)", [True], ["++x=True"]),
        ("x={a:1}", [{"a": 1}], ["++x={a:1}"]),
        ("x=???", ["???"], ["++x=???"]),
        ("+x=null", [None], ["++x=null"]),
        ("x=~", ["~"], ['++x="~"']),
        ("x=~/my data", ["~/my data"], ['++x="~/my data"']),
        ("x=/home/josé/猫 #1", ["/home/josé/猫 #1"], ['++x="/home/josé/猫 #1"']),
    ],
)
def test_overrides_as_values_and_as_lines(text, values, lines):
    (override,) = parse([text])
    assert list(values_of(override)) == values
    assert list(single_lines(override, "++")) == lines


def test_several_values_as_one_list():
    (override,) = parse(["measure.batch=1,8"])
    assert list_line(override, "++") == "++measure.batch=[1,8]"


def test_a_list_and_its_elements_mean_the_same():
    assert list(flat([0, [1, 2], "a"])) == [0, 1, 2, "a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune"], "prune: must be key=value, as in +prune=0.1,0.5,0.9 or model=lenet_5; see --help"),
        (["--prune=0.5"], "--prune=0.5: must be key=value"),
        (["=3"], "=3: must be key=value"),
        (
            ["model@there=lenet_5"],
            "model@there=lenet_5: model can't be put elsewhere; it must be key=value",
        ),
        (["~prune"], "~prune: a key can't be taken away; give it another value"),
        (["x=interval(0,1)"], "x=interval(0,1): can't be swept; write the values out, as in x=0.1,0.5"),
        (["x=glob(*)"], "x=glob(*): can't be swept; write the values out"),
        (["x=1", "+x=2"], "+x=2: x is given already (x=1); write several values as x=a,b"),
        (["x={a:"], "x={a:: must be key=value; quote a text with such characters, twice for the shell: 'x=\"{a:\"'"),
        (["model.name=a=b"], "model.name=a=b: must be key=value; quote a text with such characters"),
        (["model.name=my(1)"], "model.name=my(1): must be key=value; quote a text with such characters"),
        (["x=rnge(1,2)"], "x=rnge(1,2): must be key=value; quote a text"),
        (["x=extend_list(1)"], "x=extend_list(1): extend_list() is not in Hydra 1.3; write the whole list"),
        (["x=json_str({a:1})"], "x=json_str({a:1}): json_str() is not in Hydra 1.3; write the value as it is"),
        (["x=range(a,b)"], "x=range(a,b): "),
        (["+x@y.z=3"], "+x@y.z=3: x can't be put elsewhere; it must be key=value, as in x=3"),
        (["x=~/a'b"], "x=~/a'b: must be key=value"),
        (["x y=~/a"], "x y=~/a: must be key=value"),
    ],
)
def test_what_is_none_is_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError) as refusal:
        parse(arguments)
    assert str(refusal.value).startswith(message)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    "value",
    [
        "/a?b#c;d",
        "/a'b",
        '/a"b',
        "/a\\",
        '/a\\"b',
        "/x{y}",
        "(x",
        "/a\nb",
        "~/x",
        "p://u@h/?a=b&c=d",
        "a=b",
        "photos(1)",
        "my (first) try",
    ],
)
@pytest.mark.parametrize("key", ["store.root", "+tracking.uri", "model.weights"])
def test_a_place_is_taken_as_it_stands(key, value):
    (override,) = parse([f"{key}={value}"])
    assert list(values_of(override)) == [value]


@pytest.mark.parametrize("argument", ["model=a?b#c;d", "store.root='open", "+x.y=("])
def test_what_is_no_place_keeps_to_the_grammar(argument):
    with pytest.raises(ValueError, match="must be key=value"):
        parse([argument])
