"""A network with what was found on its way, put together."""

from torch import nn

from effbench.plan.findings import Findings
from effbench.run.made import Made


def test_what_both_took_is_put_together():
    before = Made(
        model=nn.Identity(),
        findings=Findings(metrics={"a": 1.0, "b": 1.0}, peaks={"p": 3.0}),
        seconds=2.0,
        cached=("train",),
    )
    later = Made(
        model=nn.ReLU(),
        findings=Findings(metrics={"b": 2.0}, peaks={"p": 1.0}, tables={"t": []}),
        seconds=0.5,
        cached=("prune",),
    )
    both = before.followed_by(later)
    assert both.model is later.model
    assert both.seconds == 2.5
    assert both.cached == ("train", "prune")
    assert both.findings == Findings(metrics={"a": 1.0, "b": 2.0}, peaks={"p": 3.0}, tables={"t": []})


def test_neither_is_changed_by_it():
    before, later = (Made(model=nn.Identity(), findings=Findings(metrics={"a": x})) for x in (1.0, 2.0))
    before.followed_by(later).findings.note("a", 3.0)
    assert (before.findings.metrics, later.findings.metrics) == ({"a": 1.0}, {"a": 2.0})
