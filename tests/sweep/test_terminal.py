"""The table of points as it is shown: in words and figures that can be read."""

import io
import itertools

import pandas as pd
import pytest
from rich.console import Console

from effbench.analysis import Quality
from effbench.sweep.terminal import UNLIMITED, print_line, print_table, terminal_console

ACCURACY = Quality(name="accuracy", kind="ratio", unit="points", direction="higher")


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=240)


def printed(console):
    return console.file.getvalue()


class TestTable:
    TABLE = pd.DataFrame(
        {
            "prune": [0.0, 0.5],
            "n_seeds": [1, 1],
            "accuracy": [0.987, 0.5],
            "accuracy_std": [float("nan")] * 2,
            "accuracy_val": [0.98, 0.51],
            "accuracy_top5": [0.999, 0.9],
            "calibration_error": [0.01, 0.02],
            "size_bytes": [65_345.0, 999.0],
            "size_ratio": [1.0, 4.125],
            "macs": [3_671_234.0, 2.5e9],
            "latency_ms/eager": [1.2345, 0.01234],
            "latency_ms_p90/eager": [2.0, 2.0],
            "speedup/eager": [1.0, 1.5],
        }
    )

    def test_a_row_per_point_in_units_that_can_be_read(self, console):
        print_table(self.TABLE, ACCURACY, (), console)
        rows = [line.split() for line in printed(console).splitlines()][-2:]
        assert rows[0] == ["0", "98.7", "%", "98.0", "%", "65.3", "K", "1.00×", "3.67", "M", "1.23", "1.00×"]
        assert rows[1] == ["0.5", "50.0", "%", "51.0", "%", "999", "4.12×", "2.50", "G", "0.0123", "1.50×"]

    def test_what_tells_nothing_or_is_a_detail_is_left_to_the_file(self, console):
        print_table(self.TABLE, ACCURACY, (), console)
        heading = printed(console).splitlines()[:2]
        for word in ("seeds", "±", "top5", "calibration", "p90"):
            assert word not in " ".join(heading)
        assert "test" in heading[0] and "acc." in heading[1]
        more = self.TABLE.assign(n_seeds=[2, 3], accuracy_std=[0.001, 0.002])
        print_table(more, ACCURACY, (), console)
        assert "seeds" in printed(console) and "±" in printed(console)

    def test_another_quality_has_its_own_words_and_no_percent_where_it_is_no_share(self, console):
        perplexity = Quality(name="perplexity", kind="exp_of_ratio", unit="", direction="lower")
        print_table(pd.DataFrame({"perplexity": [23.456], "perplexity_val": [101.0]}), perplexity, (), console)
        lines = printed(console).splitlines()
        assert lines[0].split() == ["test", "val."]
        assert lines[1].split() == ["perplexity", "perplexity"]
        assert lines[2].split() == ["23.46", "101"]

    def test_other_qualities_are_shares_as_well(self, console):
        table = pd.DataFrame({"miou": [0.5], "boundary_iou": [0.25]})
        miou = Quality(name="miou", kind="mean_of_ratios", unit="points", direction="higher")
        print_table(table, miou, ("boundary_iou",), console)
        assert printed(console).splitlines()[-1].split() == ["50.0", "%", "25.0", "%"]
        assert "boundary" in printed(console)

    def test_brackets_of_a_value_are_no_markup(self, console):
        print_table(pd.DataFrame({"recipe.steps": ["[train,finetune]"], "accuracy": [0.5]}), ACCURACY, (), console)
        assert "[train,finetune]" in printed(console)


HOSTILE = "[/bold]\x1b[31m\r\n\u202e[red]http://me:hunter2@there"
SHOWN = "[/bold]\\x1b[31m\\r\\n\\u202e[red]http://me:***@there"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_names_of_others_do_nothing_to_a_table_or_a_line(is_terminal):
    console = Console(file=io.StringIO(), width=240, force_terminal=is_terminal, color_system=None)
    table = pd.DataFrame({HOSTILE: [HOSTILE], "accuracy": [0.5], f"latency_ms/{HOSTILE}": [1.0]})
    print_table(table, ACCURACY, [], console)
    print_line(HOSTILE, console)
    shown = printed(console)
    assert "\r" not in shown and "\u202e" not in shown and "\x1b[31m" not in shown and "hunter2" not in shown
    assert f"\n{SHOWN}\n" in shown
    assert all("[/bold]" in line for line in shown.splitlines() if "50.0 %" in line)


MANY = TestTable.TABLE.assign(
    **{
        "model": "torchvision_mobilenet_v3_large",
        "bits": 8,
        **{f"{kind}/{engine}": 1.25 for engine in ("onnxruntime", "openvino") for kind in ("latency_ms", "speedup")},
        "n_seeds": 20,
    }
)[["model", "prune", "bits", *[name for name in TestTable.TABLE if name != "prune"], "latency_ms/openvino"]]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_at_any_width_cells_are_whole_and_what_is_missing_is_named(width):
    whole = Console(file=io.StringIO(), width=1000)
    print_table(MANY, ACCURACY, (), whole)
    cells = {cell for line in printed(whole).splitlines() for cell in line.split("  ") if cell.strip()}
    console = Console(file=io.StringIO(), width=width)
    print_table(MANY, ACCURACY, (), console)
    lines = printed(console).splitlines()
    rows = list(itertools.takewhile(lambda line: not line.startswith(("not shown", "1:")), lines))
    if any(line.startswith("1:") for line in lines):
        assert printed(console).count("model=torchvision_mobilenet_v3_large,") == 2
    assert all(len(line) <= width for line in rows)
    shown = {cell.strip() for line in rows for cell in line.split("  ") if cell.strip()}
    assert shown - {"1", "2"} <= {cell.strip() for cell in cells}
    said = [line for line in printed(console).splitlines() if line.startswith("not shown at")]
    assert len(said) == (printed(console) != printed(whole))
    if said:
        assert said[0].startswith(f"not shown at {width} columns: ")
        assert said[0].endswith("; --format=csv, or a wider terminal, shows all")


@pytest.mark.parametrize(
    ("variables", "width", "has_colour"),
    [
        ({}, UNLIMITED, False),
        ({"COLUMNS": "60"}, 60, False),
        ({"COLUMNS": ""}, UNLIMITED, False),
        ({"FORCE_COLOR": "1"}, UNLIMITED, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, UNLIMITED, None),
        ({"TERM": "dumb"}, UNLIMITED, False),
    ],
)
def test_a_pipe_is_as_wide_as_needed_and_plain(variables, width, has_colour, monkeypatch):
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    console = terminal_console(stream)
    print_table(MANY, ACCURACY, (), console)
    assert console.width == width
    if has_colour is not None:
        assert ("\x1b[" in stream.getvalue()) == has_colour
    assert has_colour is not None or "\x1b[3" not in stream.getvalue()


def test_groups_are_set_apart():
    table = pd.DataFrame({"model": ["a", "a", "b"], "prune": [0, 0.5, 0], "accuracy": [0.9, 0.8, 0.7]})
    console = Console(file=io.StringIO(), width=100)
    print_table(table, ACCURACY, (), console)
    assert [line.split()[:1] for line in printed(console).splitlines()[-4:]] == [["a"], ["a"], [], ["b"]]
