"""The report: all of it is there, nothing in a name is markup, and a browser shows it as it should."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from effbench.analysis import answers
from effbench.analysis.report.page import Grid, Report, report_page, strict_record

HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "<svg/onload=alert(1)>]]>-->",
    "javascript:alert(1)",
    "x" * 400,
    "\u202eright-to-left \u05d0\u05d1",
    "🦉" * 40,
    "null \x00 and escape \x1b[31m",
    "half \ud83e of a letter",  # no frame of pandas holds it, but a file's name may
    "two\nlines\u2028three",
)


def runs_of(labels, n_seeds=1):
    rows = [
        {
            "point": label,
            "reference": number == 0,
            "seed": seed,
            "run_key": f"{number}-{seed}",
            "reference_key": f"0-{seed}",
            "size_bytes": 1000.0 - 1000 * number / (len(labels) + 1),
            "macs_effective": 500.0 - 400 * number / (len(labels) + 1),
            "accuracy_val": 0.9 - 0.001 * number**2 + 0.002 * seed,
            "accuracy": 0.89 - 0.001 * number**2 + 0.002 * seed,
        }
        for number, label in enumerate(labels)
        for seed in range(n_seeds)
    ]
    return pd.DataFrame(rows)


def report_of(runs, **options):
    found = options.pop("found", None)
    return Report(
        **{
            "title": "a sweep",
            "frame": runs,
            "found": answers(runs) if found is None else found,
            "tolerance": 0.02,
            "asked": {"prune": "0.5, 0.9"},
            "table": Grid(headings=["point"], rows=[[label] for label in dict.fromkeys(runs["point"])]),
            "command": "python -m effbench.sweep +prune=0.5,0.9",
            **options,
        }
    )


def hostile_report():
    runs = runs_of(["reference", *(f"conv={text}" for text in HOSTILE if "half" not in text)], n_seeds=2)
    runs["model"] = HOSTILE[0]
    return report_of(
        runs,
        title=HOSTILE[0],
        asked={text: text for text in HOSTILE},
        lines=HOSTILE,
        problems=[f"failed: {text}" for text in HOSTILE],
        environment={text: text for text in HOSTILE},
        command=HOSTILE[0],
        record={"names": list(HOSTILE), "accuracy": [float("nan"), float("inf"), 0.5]},
        page_of=lambda keys: f"http://127.0.0.1:5000/#/runs?a={','.join(keys)}&b=\"'<>",
    )


class Elements(HTMLParser):
    """The elements that a page has."""

    def __init__(self):
        super().__init__()
        self.names, self.attributes, self.addresses = set(), set(), set()

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.addresses |= {value for name, value in attributes if name in ("href", "src")}


def record_in(page):
    (text,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    return json.loads(text, parse_constant=pytest.fail)


def test_the_page_has_its_parts_in_order_and_needs_nothing_beside_it():
    page = report_page(report_of(runs_of(["reference", "prune=0.5", "prune=0.9"])))
    order = [
        "What was asked",
        "The answer",
        "Quality against cost",
        "All points",
        "Nominal against real",
        "How sure is the point?",
        "What a benchmark owes",
        "Do it again",
    ]
    places = [page.index(f"<h2>{title}") for title in order]
    assert places == sorted(places)
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?[a-z]""", page) and "@import" not in page and "url(" not in page
    assert page.count("<script") == 1
    assert 'name="viewport"' in page and "prefers-color-scheme: dark" in page
    for answer in answers(runs_of(["reference", "prune=0.5", "prune=0.9"])):
        assert html.escape(answer.sentence) in page


def test_the_same_report_is_the_same_page():
    runs = runs_of(["reference", "prune=0.5", "prune=0.9"])
    assert report_page(report_of(runs)) == report_page(report_of(runs))


def test_a_click_leads_to_a_points_runs():
    runs = runs_of(["reference", "prune=0.5"], n_seeds=2)
    page = report_page(report_of(runs, page_of=lambda keys: f"https://here/{'+'.join(keys)}"))
    assert {"https://here/1-0+1-1", "https://here/1-0", "https://here/0-1"} <= set(re.findall(r'href="([^"]+)"', page))


def test_no_name_is_markup():
    page = report_page(hostile_report())
    assert page.count("<script") == 1 and page.count("</script>") == 1
    found = Elements()
    found.feed(page)
    assert "img" not in found.names and not [name for name in found.attributes if name.startswith("on")]
    assert all(address.startswith("http://127.0.0.1:5000/#/runs?a=") for address in found.addresses)
    assert "\x00" not in page and "\x1b" not in page
    page.encode("utf-8")  # half a letter would be none
    assert record_in(page)["accuracy"] == [None, None, 0.5]
    assert record_in(page)["names"][0] == HOSTILE[0]


def test_a_frame_without_rows_or_answers_is_a_page():
    page = report_page(report_of(runs_of(["reference"]), found=[], problems=["failed: prune=0.5: OSError: full"]))
    assert "failed: prune=0.5: OSError: full" in page and "No answer" in page
    assert "<figure" not in report_page(report_of(pd.DataFrame({"point": []}), found=[], table=None))


def with_everything(runs):
    """Return a report in which every picture has something to show, under hostile names."""
    for name in ("speedup", "speedup_low", "speedup_high"):
        runs[f"{name}/{HOSTILE[0]}"] = {"speedup": 1.2, "speedup_low": 1.1, "speedup_high": 1.3}[name]
    epochs = pd.DataFrame({"epoch": [1, 2, 3], "loss": [2.0, 1.0, 0.5], "accuracy_val": [0.5, np.nan, 0.7]})
    layers = pd.DataFrame({"layer": HOSTILE[:2], "weights": 9, "bits": 4, "loss_increase": [0.1, 0.0], "chosen": True})
    tables = {HOSTILE[0]: {"curves": epochs, "sensitivity": layers}, HOSTILE[2]: {"curves": epochs}}
    return report_of(runs, tables=tables, n_without_tables=5)


def test_every_picture_has_a_heading_and_is_described(grid_runs):
    page = report_page(with_everything(grid_runs(n_seeds=2, missing=[(0.9, 4)])))
    headings = ["Each axis on its own", "Two axes at once", "Nominal against real", "Which layer bears it?"]
    places = [page.index(f"<h2>{title}") for title in [*headings, "How it was trained"]]
    assert places == sorted(places)
    pictures = re.findall(
        r'<svg viewBox="[^"]+" role="img" aria-labelledby="([^"]+)">\n<desc id="([^"]+)">(.+?)</desc>', page
    )
    assert len(pictures) == page.count("<figure>") == 2 + 1 + 1 + 1 + 1 + 2
    assert all(one == other and len(said) > 20 for one, other, said in pictures)
    assert len({one for one, _, _ in pictures}) == len(pictures)
    assert page.count("<script") == 1 and "NaN" not in page and "5 more are not drawn" in page
    found = Elements()
    found.feed(page)
    assert "img" not in found.names and not [name for name in found.attributes if name.startswith("on")]


def test_pictures_of_which_nothing_is_known_are_left_out():
    page = report_page(report_of(runs_of(["reference", "prune=0.5"])))
    for title in ("Each axis on its own", "Two axes at once", "Which layer bears it?", "How it was trained"):
        assert title not in page
    assert "No latency was measured" in page


def test_times_without_intervals_are_told_from_none():
    runs = runs_of(["reference", "prune=0.5"]).assign(**{"speedup/eager": [1.0, 1.2]})
    page = report_page(report_of(runs))
    busy = r"eager(<[^>]+>)*: the machine was busy while latency was measured there"
    assert re.search(busy, page) and "No latency was measured" not in page
    ends = {"speedup_low/ort": [1.0, 1.1], "speedup/ort": [1.0, 1.2], "speedup_high/ort": [1.0, 1.3]}
    both = report_page(report_of(runs.assign(macs=[2, 1], **ends)))
    assert "How much faster fewer" in both and re.search(busy, both) and both.count("the machine was busy") == 1
    alone = report_page(report_of(runs[:1]))
    assert "No latency was measured" in alone and "the machine was busy" not in alone


def test_a_record_is_strict():
    assert strict_record({1: np.float64("nan"), "a": (True, None, "x", 3)}) == {"1": None, "a": [True, None, "x", 3]}


@pytest.fixture
def browse(tmp_path):
    """Return what shows a page in a frame of a width: browse(page, width, script) -> what it tells, its complaints."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium here to show the page")

    def show(page, width, script):
        frame = f'<iframe id="f" style="width:{width}px;height:900px" srcdoc="{html.escape(page)}"></iframe>'
        told = (
            "<script>const f=document.getElementById('f');f.onload=()=>{const d=f.contentDocument;"
            f"document.title=({script}).join()}}</script>"
        )
        outer = tmp_path / "outer.html"
        outer.write_text(f"<!DOCTYPE html><meta charset=utf-8><title></title>{frame}{told}", encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        options += ["--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,1000"]
        command = [browser, *options, "--dump-dom", str(outer)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        (title,) = re.findall(r"<title>([\d,]+)</title>", done.stdout)
        return [*map(int, title.split(","))], [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return show


@pytest.mark.extended
@pytest.mark.parametrize("width", [375, 1200])
def test_a_browser_shows_every_row_within_the_width_and_runs_nothing(browse, width):
    page = report_page(hostile_report())
    counts = ("tbody tr", "g.mark")
    script = ",".join(f"d.querySelectorAll('{name}').length" for name in counts)
    (scrolled, rows, marks), complaints = browse(page, width, f"[d.documentElement.scrollWidth,{script}]")
    assert scrolled <= width
    assert rows >= len(HOSTILE) + 1 and rows == page.count("<tr>") - page.count("<thead><tr>")
    assert marks == page.count('<g class="mark')
    assert not complaints


TOUCHING = """[...d.querySelectorAll('figure > svg')].flatMap(s => {
  const all = [...s.querySelectorAll('text')].map(t => t.getBoundingClientRect()), n = s.getBoundingClientRect();
  const pairs = all.flatMap((a, i) => all.slice(i + 1).filter(b =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2));
  return [pairs.length, all.filter(a => a.left < n.left - 2 || a.right > n.right + 9).length]})"""
"""For each picture: how many pairs of texts lie over each other, and how many texts leave it."""


@pytest.mark.parametrize("width", [375, 1200])
def test_no_text_of_a_picture_touches_another_with_sixty_points(browse, grid_runs, width):
    prunes = [0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9]
    page = report_page(with_everything(grid_runs(prunes, (32, 8, 6, 5, 4, 2), n_seeds=2)))
    told, complaints = browse(page, width, TOUCHING)
    assert told == [0] * 2 * page.count("<figure>") and not complaints
