"""The plan of a sweep, printed, with what is kept."""

import dataclasses
import json

import pytest

import effbench
from effbench.config.read import read_sweep
from effbench.run.results import keep_result
from effbench.sweep.__main__ import main
from effbench.sweep.dry_run import print_plan

BEST = "best of 0 to 1 × (finetune)".split()


def test_runs_steps_and_what_would_be_measured(store, capsys):
    print_plan(read_sweep(["prune=0.5", "measure.batch=1,8", "measure.threads=1,2"]), store)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "seed", "status", "steps", "(kept", "ones", "in", "brackets)"]
    assert lines[1].split() == ["reference", "0", "to", "run", "train", "→", *BEST]
    assert lines[2].split() == ["prune=0.5", "0", "to", "run", "train", "→", "prune", "→", "finetune"]
    assert lines[3].endswith(": 2 runs, 0 kept, 2 to run")
    assert lines[4] == "latency: eager; batch 1, 8, 1, 2 threads, 1 s a model"


def test_what_is_kept_stands_in_brackets(store, capsys, result_of, toy_network):
    sweep = read_sweep(["prune=0.5,0.9"])
    reference, half, tenth = sweep.plan.points
    keep_result(reference.key, result_of(reference), store)
    store.put_model(half.chain.prefix_keys[2], toy_network())
    print_plan(sweep, store)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[2:] == ["kept", "(train)", "→", "(best", *BEST[1:-1], "(finetune))"]
    assert lines[2].split()[2:] == ["to", "run", "(train)", "→", "(prune)", "→", "finetune"]
    assert lines[3].split()[2:] == ["to", "run", "train", "→", "prune", "→", "finetune"]
    assert lines[4].endswith(": 3 runs, 1 kept, 2 to run")
    assert tenth.label in lines[3]


def test_brackets_of_a_value_are_no_markup(store, capsys):
    print_plan(read_sweep(["recipe.steps=[train],[train,finetune]"]), store)
    assert "recipe.steps=[train,finetune], reference" in capsys.readouterr().out


def test_names_are_shown_as_they_are_and_do_nothing_to_the_terminal(store, capsys):
    sweep = read_sweep(["prune=0.5"])
    hostile = "[/bold]\x1b[31m\r\n\u202e[red]"
    points = tuple(dataclasses.replace(point, label=hostile) for point in sweep.plan.points)
    print_plan(dataclasses.replace(sweep, plan=dataclasses.replace(sweep.plan, points=points)), store)
    out = capsys.readouterr().out
    assert "[/bold]\\x1b[31m\\r\\n\\u202e[red]" in out and "\x1b" not in out


def test_what_refining_may_add_is_said(store, capsys):
    print_plan(read_sweep(["prune=0.5,0.9", "bits=8", "seed=0,1", "sweep.refine=3"]), store)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "then up to 12 more: 3 for each of prune, bits and each seed, where the results ask for them"


@pytest.mark.parametrize("form", ["json", "markdown", "csv", "table"])
def test_every_form_says_what_refining_may_add(form, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["prune=0.5,0.9", "dry_run=true", f"--format={form}", "sweep.refine=3"]) == 0
    out = capsys.readouterr().out
    if form == "json":
        assert json.loads(out)["most_runs_more"] == 3
    else:
        assert ("then up to 3 more: 3 for each of prune, where the results ask for them" in out) == (form != "csv")


def test_a_plan_in_python_says_it_too():
    plan = effbench.plan_sweep(prune=[0.5], seed=[0, 1], sweep={"refine": 3})
    said = "then up to 6 more: 3 for each of prune and each seed"
    assert plan.most_runs_more == 6 and said in repr(plan) and said in plan._repr_html_() and len(plan) == 4
    plain = effbench.plan_sweep(prune=[0.5])
    assert plain.most_runs_more == 0 and "more" not in repr(plain) + plain._repr_html_()
