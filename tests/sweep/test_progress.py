"""What a sweep shows of itself: counts that are right at every moment, and a time left that can be believed."""

import io
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from effbench.sweep.progress import Forecast, ProgressDisplay


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Point(SimpleNamespace):
    def __str__(self):
        return self.key


@pytest.fixture
def clock():
    return Clock()


def shown(n_runs, clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    display = ProgressDisplay(SimpleNamespace(points=range(n_runs)), console=console, clock=clock)

    def text():
        before = console.file.tell()
        console.print(display._progress.get_renderable())
        return console.file.getvalue()[before:]

    return display, text


def go_through(forecast, clock, key, seconds):
    forecast.run_started(key)
    forecast.run_worked(key)
    clock.now += seconds
    forecast.run_computed(key)


def test_nothing_is_foretold_before_a_run_is_computed(clock):
    forecast = Forecast(3, clock)
    assert forecast.seconds_left() is None
    forecast.run_started("a")
    clock.now = 100
    assert forecast.seconds_left() is None


def test_runs_one_after_the_other(clock):
    forecast = Forecast(4, clock)
    go_through(forecast, clock, "a", 10)
    assert forecast.seconds_left() == 30
    forecast.run_started("b")
    clock.now += 4
    assert forecast.seconds_left() == 26
    clock.now += 20  # longer than it should
    assert forecast.seconds_left() == 20


def test_two_at_once_take_half_the_time(clock):
    forecast = Forecast(6, clock)
    for key in "ab":
        forecast.run_started(key)
        forecast.run_worked(key)
    clock.now = 8
    for key in "ab":
        forecast.run_computed(key)
    for key in "cd":
        forecast.run_started(key)
    assert forecast.seconds_left() == (2 * 8 + 2 * 8) / 2
    for key in "cd":
        forecast.run_computed(key)
    go_through(forecast, clock, "e", 8)
    go_through(forecast, clock, "f", 8)
    assert forecast.seconds_left() == 0


def test_what_the_store_had_says_nothing_of_what_is_to_be_computed(clock):
    forecast = Forecast(12, clock)
    for number in range(10):
        forecast.run_started(f"kept {number}")
        clock.now += 0.01
        forecast.run_computed(f"kept {number}")
    assert forecast.seconds_left() is None
    go_through(forecast, clock, "new", 7)
    assert forecast.seconds_left() == 7


def test_long_first_runs_are_forgotten(clock):
    forecast = Forecast(100, clock)
    go_through(forecast, clock, "reference", 1000)
    for number in range(20):
        go_through(forecast, clock, str(number), 2)
    assert forecast.seconds_left() == 2 * 79


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=30), st.integers(0, 20))
def test_the_time_left_is_bounded_by_the_longest_run(durations, n_more):
    clock = Clock()
    forecast = Forecast(len(durations) + n_more, clock)
    for number, seconds in enumerate(durations):
        go_through(forecast, clock, str(number), seconds)
    left = forecast.seconds_left()
    assert 0 <= left <= n_more * max(durations) * (1 + 1e-9) + 1e-6  # of a clock that counts to 1e7


def test_a_run_that_waits_to_be_logged_is_neither_running_nor_done(clock):
    display, text = shown(3, clock)
    one, other = Point(key="prune=0.5"), Point(key="prune=0.9")
    display.run_started(one)
    display.step(one, "train", 3, 10)
    assert "runs, 1 running" in text() and "prune=0.5: train" in text() and "3/10" in text()
    clock.now = 90
    display.run_computed(one)
    display.run_started(other)
    assert "runs, 1 running" in text() and "0/3" in text() and "prune=0.5" not in text()
    assert "0:03:00" in text()
    display.run_ended(one, failed=False)
    assert "1/3" in text()
    display.run_computed(other)
    display.run_ended(other, failed=True)
    assert "runs, 1 failed" in text() and "2/3" in text()


def test_the_latency_pass_has_a_bar_of_its_own(clock):
    display, text = shown(1, clock)
    display.measuring(1, 4)
    display.measuring(2, 4)
    assert "latency" in text() and "2/4" in text()


def test_where_nobody_looks_nothing_is_written(clock):
    console = Console(file=io.StringIO(), force_terminal=False)
    with ProgressDisplay(SimpleNamespace(points=range(1)), console=console, clock=clock) as display:
        point = Point(key="reference")
        display.run_started(point)
        display.step(point, "train", 1, 2)
        display.run_computed(point)
        display.run_ended(point, failed=False)
    assert console.file.getvalue() == ""


def test_names_do_nothing_to_the_bars(clock):
    point = Point(key="[/bold]\x1b[31m\n")
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=200)
    with ProgressDisplay(SimpleNamespace(points=[point]), console=console, clock=clock) as display:
        display.run_started(point)
        display.step(point, "[/red]", 1, 2)
        display._progress.refresh()
    shown = console.file.getvalue()
    assert "[/bold]\\x1b[31m\\n: [/red]" in shown and "\x1b[31m" not in shown


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize(
    "name", ["prune=0.5, seed=0", "model=torchvision_mobilenet_v3_large, alpha=0.25, rho=0.5, seed=12"]
)
def test_no_line_is_wider_than_the_terminal_and_no_count_or_time_is_cut(width, name):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    display = ProgressDisplay(SimpleNamespace(points=range(1200)), console=console, clock=Clock())
    point = Point(key=name)
    display.run_started(point)
    display.step(point, "finetune 3/12", 3, 12_000)
    display.measuring(3, 10)
    console.print(display.bars())
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 3 and all(len(line) <= width for line in lines)
    for line, count in zip(lines, ("0/1200", "3/12000", "3/10"), strict=True):
        assert count in line and "-:--:--" in line
    assert lines[1].startswith(name[:6]) and "3/12 " in lines[1]


def test_what_is_no_terminal_gets_no_bars_whatever_is_forced(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with ProgressDisplay(SimpleNamespace(points=range(2))) as display:
        display.run_started(Point(key="prune=0.5"))
        display.say("a line")
    assert "a line" in capsys.readouterr().err
    assert capsys.readouterr().err == ""


def test_runs_that_are_added_are_counted(clock):
    forecast = Forecast(1, clock)
    forecast.run_started("a")
    forecast.run_worked("a")
    clock.now = 4.0
    forecast.run_computed("a")
    assert forecast.seconds_left() == 0.0
    forecast.expect(2)
    assert forecast.seconds_left() == 8.0
