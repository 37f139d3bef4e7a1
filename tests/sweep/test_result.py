"""What a sweep gave: its table, answers, figures and networks."""

import pytest
from matplotlib.figure import Figure

import effbench

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.extended
def test_answers_are_those_of_the_frame(swept):
    result = swept
    for cost in (None, "size_bytes", "macs_effective"):
        found = result.saturation(cost)
        same = effbench.saturation_point(result.runs, cost=cost, counts=result.counts, tolerance=0.05)
        assert (found.reason, found.interval) == (same.reason, same.interval)
        assert result.front(cost).equals(effbench.pareto_front(result.runs, cost=cost))
    assert result.saturation("size_bytes", tolerance=0.9).reason != result.saturation("size_bytes").reason
    assert result.saturation("size_bytes", method="kneedle").method == "kneedle"


def test_a_plot_goes_where_it_is_asked_to(swept):
    ax = Figure().add_subplot()
    assert swept.plot("size_bytes", ax=ax) is ax
    assert {"reference", "points"} <= {artist.get_gid() for artist in ax.get_children()}


@pytest.mark.parametrize(
    ("where", "label"),
    [
        ({"prune": 0.9, "seed": 1}, "prune=0.9, seed=1"),
        ({"prune": 0.9, "bits": 4, "seed": 0}, "prune=0.9, bits=4, seed=0"),
        ({"bits": 4, "seed": 0}, "bits=4, seed=0"),
        ({"seed": 1, "reference": True}, "reference, seed=1"),
        ({"seed": 1}, "reference, seed=1"),
        ({"prune": 0.90, "seed": 0, "model": "lenet_300_100"}, "prune=0.9, seed=0"),
    ],
)
def test_a_network_is_found_by_what_tells_it_from_others(swept, where, label):
    reference = where.pop("reference", False)
    assert str(swept._point(reference, where)) == label
    network = swept.model(reference=reference, **where)
    share = float((network.fc2.weight == 0).float().mean())
    assert not network.training and (share > 0.5) == ("prune=0.9" in label)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"prune": 0.9}, "2 runs are meant by prune=0.9: give what tells them apart; there are prune=0.9, seed=0; "),
        ({"prune": 0.7, "seed": 0}, "no run is meant by prune=0.7, seed=0"),
        ({"alpha": 0.5}, "alpha=0.5: the sweep has seed, model, data, prune, bits"),
        ({}, "2 runs are meant by nothing"),
    ],
)
def test_what_means_no_single_run_is_refused(swept, where, message):
    with pytest.raises(ValueError) as caught:
        swept.model(**where)
    assert message in str(caught.value)


def test_it_shows_itself_as_text_markdown_and_html(swept):
    text, report, page = str(swept), swept.report(), swept._repr_html_()
    sentence = next(line for line in text.splitlines() if line.startswith("size_bytes:"))
    assert f"- {sentence}" in report and report.startswith("`effbench.run_sweep(model='lenet_300_100', prune=[0, 0.9]")
    rows = [line for line in report.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4 and len({row.count("|") for row in rows}) == 1
    assert "data:image/png;base64," in page and "<table" in page
    assert page.count("<tr>") == 1 + 4 and "<th>test<br>acc.</th>" in page and " K</td>" in page
    assert repr(swept) == f"SweepResult({swept.sweep_id}: 8 runs)"


def test_hostile_names_are_shown_and_not_obeyed(swept):
    import dataclasses

    hostile = dataclasses.replace(swept, failures={"<script>alert(1)</script>\x1b[2J": "a|b</pre>"})
    assert "<script>" not in hostile._repr_html_() and "\x1b" not in hostile._repr_html_() + hostile.report()
